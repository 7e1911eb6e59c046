"""The research models by name, and their way to disk and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from streamcodec.codec.files.output_file import whole_folder
from streamcodec.errors import ModelError
from streamcodec.research.models.base import ResearchModel
from streamcodec.research.models.complex_spectrum import ComplexSpectrum, ComplexSpectrumConfig
from streamcodec.research.models.dense_vae import DenseVae, DenseVaeConfig
from streamcodec.research.models.frame_autoencoder import FrameAutoencoder, FrameAutoencoderConfig
from streamcodec.research.models.frequency_conv import FrequencyConv, FrequencyConvConfig
from streamcodec.research.models.time_conv import TimeConv, TimeConvConfig
from streamcodec.research.models.transformer import Transformer, TransformerConfig
from streamcodec.research.models.unet import UNet, UNetConfig
from streamcodec.research.models.vae import Vae
from streamcodec.research.models.vq_vae import VqVae, VqVaeConfig

CONFIG_FILE = "research.json"
WEIGHTS_FILE = "research.safetensors"


@dataclass(frozen=True)
class ModelEntry:
    """A model of the bench."""

    name: str
    build: Callable[[Any], ResearchModel]
    config: type[Any]
    """Frozen dataclass whose defaults make the published shape."""
    summary: str
    claim: str
    """What was published of it, as it was counted there."""


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "frequency-conv",
            FrequencyConv,
            FrequencyConvConfig,
            "convolutions of stride 2 on log(1+|S|), a dense latent",
            "64 to 512 latents a clip; as a ladder 512 to 32 latents x 126 frames per 2 s, called 126 to 7.9 kbps, "
            "RMSE on spectra 0.867, 0.803, 0.929, 1.24, 1.61",
        ),
        ModelEntry(
            "time-conv",
            TimeConv,
            TimeConvConfig,
            "convolutions of stride 2 on samples",
            "8x fewer positions in time, latents not counted in bits",
        ),
        ModelEntry(
            "unet",
            UNet,
            UNetConfig,
            "frequency-conv with skip connections, each quantised and sent",
            "better spectra than without skips, which were not counted at all",
        ),
        ModelEntry(
            "transformer",
            Transformer,
            TransformerConfig,
            "self-attention over blocks of frames on both sides of the latent",
            "long-range structure, latents not counted in bits",
        ),
        ModelEntry(
            "vae", Vae, FrequencyConvConfig, "frequency-conv with a Gaussian posterior", "a smooth latent space"
        ),
        ModelEntry(
            "vq-vae",
            VqVae,
            VqVaeConfig,
            "frequency-conv with vector codebooks",
            "discrete codes, counted as log2 of the codebook's size",
        ),
        ModelEntry(
            "complex-spectrum",
            ComplexSpectrum,
            ComplexSpectrumConfig,
            "real and imaginary parts in and out",
            "no phase needed from elsewhere",
        ),
        ModelEntry(
            "frame-autoencoder",
            FrameAutoencoder,
            FrameAutoencoderConfig,
            "dense layers on single spectra of 1,024 samples",
            "30:1 with an MSE of 4.4e-6 at 44.1 kHz, a latent counted as a sample; FLAC 0.1879 of the original",
        ),
        ModelEntry(
            "dense-vae",
            DenseVae,
            DenseVaeConfig,
            "dense layers on short blocks of samples, variational",
            "8:1 with a mean SNR of 26.33 dB over 119 sound effects, trained on each file for about 100 s a second",
        ),
    )
}


def build_model(name: str, config: object | None = None, rate_hz: int | None = None) -> ResearchModel:
    """A model with fresh weights, of the published shape unless ``config`` says otherwise, for sound of its rate or
    of ``rate_hz``.

    Raises:
        ModelError: no model has that name, or the configuration is another model's.
    """
    if name not in MODELS:
        raise ModelError(f"there is no research model {name!r}; choose from {', '.join(MODELS)}")
    entry = MODELS[name]
    chosen: Any = entry.config() if config is None else config
    if not isinstance(chosen, entry.config):
        raise ModelError(f"{name} takes a {entry.config.__name__}, not a {type(chosen).__name__}")
    if rate_hz is not None:
        representation = dataclasses.replace(chosen.representation, sample_rate_hz=rate_hz)
        chosen = dataclasses.replace(chosen, representation=representation)
    return entry.build(chosen)


def save_model(name: str, model: ResearchModel, folder: Path) -> None:
    """Write configuration (JSON) and weights (safetensors) into a folder."""
    config: Any = model.config
    content = {"model": name, "config": dataclasses.asdict(config)}
    with whole_folder(folder, CONFIG_FILE) as made:
        (made / CONFIG_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        weights = {key: value.contiguous() for key, value in model.state_dict().items()}
        (made / WEIGHTS_FILE).write_bytes(save(weights))


def load_model(folder: Path) -> ResearchModel:
    """Read back what :func:`save_model` wrote.

    Raises:
        ModelError: the folder holds no such model, or one that does not fit this version.
    """
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        name = content["model"]
        model = build_model(name, config_from(MODELS[name].config, content["config"]))
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{folder} holds no research model that can be read ({error})") from error
    return model.eval()


def config_from(kind: type[Any], content: dict[str, Any]) -> Any:
    """A configuration from plain values; unknown names are an error."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name in hints and dataclasses.is_dataclass(hints[name]):
            value = config_from(hints[name], value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
