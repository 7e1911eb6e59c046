"""Parameters of a model's post-filter as they are stored: one safetensors file; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from native_dsp.filters.envelope_network import EnvelopeWeights, envelope_weight_shapes, no_envelope_weights
from native_dsp.filters.post_filter import PostFilterParameters
from native_dsp.filters.temporal_envelope import TEMPORAL_WEIGHT_SHAPES, TemporalWeights, no_temporal_weights
from streamcodec.errors import ModelError
from streamcodec.models.config import NeuralConfig
from streamcodec.models.weights import Array, check_all_taken, read_tensors, take, write_tensors

POST_FILTER_FILE = "post_filter.safetensors"
ENVELOPE_PREFIX, TEMPORAL_PREFIX = "envelope.", "temporal."
WeightsT = TypeVar("WeightsT", EnvelopeWeights, TemporalWeights)
LARGEST_GAIN = 16.0
LARGEST_STRENGTH = 100.0
MOST_HIDDEN_UNITS = 4096


def write_post_filter(parameters: PostFilterParameters, path: Path) -> None:
    """Write them: gains and weights of both envelope filters in float16, strengths of the pitch filter in float64."""
    tensors: dict[str, Array] = {
        "band_gains": parameters.band_gains.astype(np.float16),
        "noise_gains": parameters.noise_gains.astype(np.float16),
        "pitch_strengths": parameters.pitch_strengths.astype(np.float64),
    }
    for prefix, weights in ((ENVELOPE_PREFIX, parameters.envelope), (TEMPORAL_PREFIX, parameters.temporal)):
        if weights[0].size:
            tensors |= {f"{prefix}{name}": values.astype(np.float16) for name, values in weights._asdict().items()}
    write_tensors(tensors, path)


def stored_form(weights: WeightsT) -> WeightsT:
    """As they come back from a file."""
    return type(weights)(*(values.astype(np.float16).astype(np.float32) for values in weights))


def read_post_filter(config: NeuralConfig, path: Path) -> PostFilterParameters:
    """Read what :func:`write_post_filter` wrote, checked; raises ModelError."""
    tensors = read_tensors(path)
    gains_shape = (config.qualities + 1, config.bins)
    bands, noise = (take(tensors, path, name, gains_shape, (np.float16,)) for name in ("band_gains", "noise_gains"))
    strengths = take(tensors, path, "pitch_strengths", (config.qualities,), (np.float64,))
    envelope, temporal = _read_envelope(tensors, path), _read_temporal(tensors, path)
    check_all_taken(tensors, path)
    for name, values, largest in (
        ("band_gains", bands, LARGEST_GAIN),
        ("noise_gains", noise, LARGEST_GAIN),
        ("pitch_strengths", strengths, LARGEST_STRENGTH),
    ):
        if values.min() < 0.0 or values.max() > largest:
            raise ModelError(f"{path}: {name} must be from 0 to {largest:g}; export the model again")
    return PostFilterParameters(bands.astype(np.float32), noise.astype(np.float32), strengths, envelope, temporal)


def _read_envelope(tensors: dict[str, Array], path: Path) -> EnvelopeWeights:
    """The envelope filter's network, one without units if there is none."""
    if not _has(tensors, ENVELOPE_PREFIX):
        return no_envelope_weights()
    sizes = [_units(tensors, path, f"{ENVELOPE_PREFIX}{name}") for name in ("bin_hidden_bias", "frame_hidden_bias")]
    return EnvelopeWeights(
        *_taken(tensors, path, ENVELOPE_PREFIX, EnvelopeWeights._fields, envelope_weight_shapes(*sizes))
    )


def _read_temporal(tensors: dict[str, Array], path: Path) -> TemporalWeights:
    """The temporal-envelope filter's network, an empty one if there is none."""
    if not _has(tensors, TEMPORAL_PREFIX):
        return no_temporal_weights()
    return TemporalWeights(*_taken(tensors, path, TEMPORAL_PREFIX, TemporalWeights._fields, TEMPORAL_WEIGHT_SHAPES))


def _has(tensors: dict[str, Array], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


def _units(tensors: dict[str, Array], path: Path, bias: str) -> int:
    """Hidden units of the layer with this bias."""
    values = tensors.get(bias)
    if values is None or values.ndim != 1 or not 0 < values.size <= MOST_HIDDEN_UNITS:
        raise ModelError(f"{path}: {bias} is missing or of the wrong shape; fit the filter again")
    return int(values.size)


def _taken(
    tensors: dict[str, Array], path: Path, prefix: str, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> list[Array]:
    """The weights of one network, as float32."""
    return [
        take(tensors, path, f"{prefix}{name}", shape, (np.float16,)).astype(np.float32)
        for name, shape in zip(names, shapes, strict=True)
    ]
