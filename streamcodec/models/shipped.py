"""Loader of models; needs no torch.

A model is a folder of ``model.json`` (configuration, measured facts, and a SHA-256 of every other file),
``model.safetensors`` (the networks, :mod:`~streamcodec.models.weights`), ``entropy.safetensors`` (integer tables),
``post_filter.safetensors`` (:mod:`~streamcodec.models.post_filter_file`), and ``encoder.onnx`` and ``decoder.onnx``,
the graphs alone, whose weights onnxruntime is given when it loads them. All of it is checked before anything is run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from native_dsp.filters.post_filter import PostFilterParameters
from native_dsp.transforms.companding import POWER
from streamcodec.errors import ModelError
from streamcodec.models.config import DEFAULT_MODEL as DEFAULT_MODEL
from streamcodec.models.config import NeuralConfig
from streamcodec.models.post_filter_file import POST_FILTER_FILE, read_post_filter
from streamcodec.models.weights import Array, Weight, decoder_shapes, encoder_shapes, read_tensors, read_weights

DESCRIPTION = "model.json"
WEIGHTS_FILE = "model.safetensors"
ENTROPY_FILE = "entropy.safetensors"
ENCODER_GRAPH, DECODER_GRAPH = "encoder.onnx", "decoder.onnx"
MODEL_FILES = (WEIGHTS_FILE, ENTROPY_FILE, POST_FILTER_FILE, ENCODER_GRAPH, DECODER_GRAPH)
FORMAT = 2
ROUNDING_BITS = 5.0
"""What the end of a payload costs on average over its information: the coder's ending, rounded up to a byte."""
HIGHEST_KBPS = 10_000.0


@dataclass(frozen=True)
class ShippedModel:
    """A model as it lies on disk: configuration, measured facts, entropy tables, parameters of the post-filter.

    ``multiplies_in_8_bits`` says of onnxruntime's graphs that they round what large matrices are multiplied by to 8
    bits as well.
    """

    name: str
    folder: Path
    config: NeuralConfig
    facts: dict[str, Any]
    entropy: dict[str, Array]
    post_filter: PostFilterParameters
    multiplies_in_8_bits: bool

    @property
    def encoder_path(self) -> Path:
        """The encoder's graph, without weights."""
        return self.folder / ENCODER_GRAPH

    @property
    def decoder_path(self) -> Path:
        """The decoder's graph, without weights."""
        return self.folder / DECODER_GRAPH

    @property
    def size_bytes(self) -> int:
        """Bytes of the files that make up the model."""
        return sum((self.folder / name).stat().st_size for name in (DESCRIPTION, *MODEL_FILES))

    def load_weights(self) -> dict[str, Weight]:
        """Weights of both networks by name, as they are stored, read anew at each call; raises ModelError."""
        return read_weights(self.folder / WEIGHTS_FILE, encoder_shapes(self.config) | decoder_shapes(self.config))

    @cached_property
    def fingerprint(self) -> str:
        """Eight characters that differ where payloads cannot be read: of the configuration and the entropy tables."""
        seen = hashlib.sha256(self.config.identity_text().encode())
        for name in sorted(self.entropy):
            seen.update(name.encode())
            seen.update(np.ascontiguousarray(self.entropy[name]).tobytes())
        return seen.hexdigest()[:8]

    def kbps_by_quality(self, mode: str) -> tuple[float, ...]:
        """Mean payload rate at each quality index on speech in a packet mode, coarsest first, measured at export."""
        return tuple(float(v) for v in self.facts["kbps_by_quality"][mode])

    def kbps_of_packets(self, mode: str, frames: int) -> tuple[float, ...]:
        """The same for packets of several frames, from the measured rates of single ones.

        All but the first frame of a packet are coded as in a stream, and only one in ``frames`` ends on a whole byte.
        """
        alone, inter_coded = self.kbps_by_quality(mode), self.kbps_by_quality("stream")
        saved_kbps = ROUNDING_BITS * self.config.frames_per_second / 1000.0
        share = (frames - 1) / frames
        mixed = ((1 - share) * a + share * (b - saved_kbps) for a, b in zip(alone, inter_coded, strict=True))
        return tuple(max(kbps, 0.1 + 0.01 * quality_index) for quality_index, kbps in enumerate(mixed))


def shipped_folder() -> Path:
    """Where the shipped models lie."""
    return Path(str(resources.files("streamcodec.models") / "shipped"))


def model_names() -> list[str]:
    """Names of the shipped models."""
    return sorted(p.parent.name for p in shipped_folder().glob(f"*/{DESCRIPTION}"))


def load_shipped(name: str) -> ShippedModel:
    """A shipped model, and no other: for names that come from a file or a peer. Raises ModelError."""
    if name not in model_names():
        raise ModelError(
            f"there is no shipped model {name[:80]!r} (there are: {', '.join(model_names()) or 'none'}); "
            "if you have it as a folder, name that folder yourself"
        )
    return load_model(name)


@lru_cache(maxsize=8)
def load_model(name_or_folder: str = DEFAULT_MODEL) -> ShippedModel:
    """A shipped model by its name, or one from a folder that the user named, read once; raises ModelError."""
    shipped = name_or_folder in model_names()
    return read_model(shipped_folder() / name_or_folder if shipped else Path(name_or_folder))


def read_model(folder: Path) -> ShippedModel:
    """Read a model from its folder and check all of it; raises ModelError."""
    facts = _read_description(folder)
    try:
        config = NeuralConfig.from_json(json.dumps(facts.pop("config")))
        files, in_8_bits = facts.pop("files"), facts.pop("multiplies_in_8_bits")
        if facts.pop("format") != FORMAT or not isinstance(files, dict) or not isinstance(in_8_bits, bool):
            raise ModelError(f"{folder} is a model of another version; export it again")
        if config.compand_power != POWER:
            raise ModelError(f"compand_power must be {POWER:g} in a model, got {config.compand_power:g}")
        if not config.envelope_latents or not config.envelope_groups:
            raise ModelError("envelope_latents and envelope_groups must be at least 1 in a model")
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / DESCRIPTION} does not describe a model ({error}); export it again") from error
    _check_rates(facts, config, folder / DESCRIPTION)
    _check_hashes(folder, files)
    return ShippedModel(
        name=folder.resolve().name,
        folder=folder,
        config=config,
        facts=facts,
        entropy=read_tensors(folder / ENTROPY_FILE),
        post_filter=read_post_filter(config, folder / POST_FILTER_FILE),
        multiplies_in_8_bits=in_8_bits,
    )


def write_description(folder: Path, config: NeuralConfig, in_8_bits: bool, facts: dict[str, Any]) -> None:
    """Write ``model.json`` over the other files of a model, which must be there."""
    described = {
        "format": FORMAT,
        "files": {name: _sha256(folder / name) for name in MODEL_FILES},
        "config": json.loads(config.to_json()),
        "multiplies_in_8_bits": in_8_bits,
        **facts,
    }
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=1) + "\n")


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"no usable model {str(folder)!r}: it has no {DESCRIPTION}; "
            f"shipped models: {', '.join(model_names()) or 'none'}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged ({error}); install or export the model again") from error
    if not isinstance(facts, dict):
        raise ModelError(f"{path} is damaged: it must hold an object; install or export the model again")
    return facts


def _check_rates(facts: dict[str, Any], config: NeuralConfig, path: Path) -> None:
    """Rate control steers by these."""
    rates = facts.get("kbps_by_quality")
    for mode in ("independent", "stream"):
        found = rates.get(mode) if isinstance(rates, dict) else None
        if not isinstance(found, list) or len(found) != config.qualities or not _rise(found):
            raise ModelError(
                f"{path}: kbps_by_quality must hold {config.qualities} rates that rise, for mode {mode}; "
                "measure them again"
            )


def _rise(rates: Iterable[object]) -> bool:
    before = 0.0
    for kbps in rates:
        if isinstance(kbps, bool) or not isinstance(kbps, int | float) or not math.isfinite(kbps):
            return False
        if not max(before, 1e-6) <= kbps <= HIGHEST_KBPS:
            return False
        before = float(kbps)
    return True


def _check_hashes(folder: Path, files: dict[str, Any]) -> None:
    for name in MODEL_FILES:
        path = folder / name
        try:
            found = _sha256(path)
        except OSError as error:
            raise ModelError(
                f"{path} cannot be read ({error.strerror}); install or export the model again"
            ) from error
        if files.get(name) != found:
            raise ModelError(
                f"{path} is not the file that {DESCRIPTION} was written for: it is damaged or of another model; "
                "install or export the model again"
            )


def _sha256(path: Path) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            seen.update(block)
    return seen.hexdigest()
