"""Loader of shipped models; needs no torch.

A model is a folder of ``encoder.onnx``, ``decoder.onnx``, ``entropy.safetensors`` and ``model.json``, and of
``qualities.safetensors`` if its decoder has a spectral-envelope post-filter.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from native_dsp.filters.envelope_network import EnvelopeWeights, envelope_weight_shapes, no_envelope_weights
from streamcodec.errors import ModelError
from streamcodec.models.config import NeuralConfig

DEFAULT_MODEL = "speech-24k"
ENVELOPE_WEIGHTS_FILE = "levels.safetensors"
ROUNDING_BITS = 5.0
"""What the end of a payload costs on average over its information: the coder's ending, rounded up to a byte."""


@dataclass(frozen=True)
class ShippedModel:
    """A model as it lies on disk: configuration, integer entropy tables, paths of the two step graphs."""

    name: str
    config: NeuralConfig
    facts: dict[str, Any]
    entropy: dict[str, NDArray[np.generic]]
    encoder_path: Path
    decoder_path: Path

    @property
    def size_bytes(self) -> int:
        """Bytes of the files that make up the model."""
        return sum(p.stat().st_size for p in self.encoder_path.parent.iterdir() if p.is_file())

    @cached_property
    def fingerprint(self) -> str:
        """Eight characters that differ where payloads cannot be read: of the configuration and the entropy tables."""
        seen = hashlib.sha256(self.config.to_json().encode())
        for name in sorted(self.entropy):
            seen.update(name.encode())
            seen.update(np.ascontiguousarray(self.entropy[name]).tobytes())
        return seen.hexdigest()[:8]

    @cached_property
    def pitch_strengths(self) -> tuple[float, ...]:
        """Strength of the decoder's pitch filter at each level, coarsest first; none where the model says nothing."""
        strengths = self.facts.get("pitch_strengths", [0.0] * self.config.qualities)
        return tuple(float(strength) for strength in strengths)

    @cached_property
    def envelope_weights(self) -> EnvelopeWeights:
        """The network of the decoder's spectral-envelope post-filter, one without units if the model has none; raises ModelError."""
        path = self.encoder_path.parent / ENVELOPE_WEIGHTS_FILE
        if not path.exists():
            return no_envelope_weights()
        try:
            found = {name: np.asarray(values, np.float32) for name, values in load_file(path).items()}
            weights = EnvelopeWeights(**found)
            shapes = [values.shape for values in weights]
            wanted = envelope_weight_shapes(weights.hidden_bias.size, weights.packet_hidden_bias.size)
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{path} holds no spectral-envelope post-filter ({error}); export the model again"
            ) from error
        if shapes != wanted:
            raise ModelError(
                f"{path} is a spectral-envelope post-filter of another version, with shapes {shapes}; fit it again"
            )
        return weights

    def kbps_by_quality(self, mode: str) -> tuple[float, ...]:
        """Mean payload rate of each level on speech in a packet mode, coarsest first, measured at export."""
        return tuple(float(v) for v in self.facts["kbps_by_level"][mode])

    def kbps_of_packets(self, mode: str, frames: int) -> tuple[float, ...]:
        """The same for packets of several frames, from the measured rates of single ones.

        All but the first frame of a packet are coded as in a stream, and only one in ``frames`` ends on a whole byte.
        """
        alone, inter_coded = self.kbps_by_quality(mode), self.kbps_by_quality("stream")
        saved_kbps = ROUNDING_BITS * self.config.packets_per_second / 1000.0
        share = (frames - 1) / frames
        mixed = ((1 - share) * a + share * (b - saved_kbps) for a, b in zip(alone, inter_coded, strict=True))
        return tuple(max(kbps, 0.1 + 0.01 * quality_index) for quality_index, kbps in enumerate(mixed))


def model_names() -> list[str]:
    """Names of the models in the box."""
    root = Path(str(resources.files("streamcodec.models") / "shipped"))
    return sorted(p.parent.name for p in root.glob("*/model.json"))


@lru_cache(maxsize=8)
def load_model(name_or_folder: str = DEFAULT_MODEL) -> ShippedModel:
    """Load a model by its shipped name, or from a folder that holds one; raises ModelError."""
    folder = Path(str(resources.files("streamcodec.models") / "shipped" / name_or_folder))
    if not (folder / "model.json").is_file():
        folder = Path(name_or_folder)
    try:
        facts = json.loads((folder / "model.json").read_text())
        config = NeuralConfig.from_json(json.dumps(facts.pop("config")))
        entropy = load_file(folder / "entropy.safetensors")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"no usable model {name_or_folder!r} ({error}); shipped models: {', '.join(model_names()) or 'none'}"
        ) from error
    return ShippedModel(folder.name, config, facts, entropy, folder / "encoder.onnx", folder / "decoder.onnx")
