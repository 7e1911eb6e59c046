"""Latents of whole sounds as arrays, before quantisation: what networks, probes and searches take as features."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.neural.encoder import NeuralEncoder
from streamcodec.codec.neural.model import load_runtime
from streamcodec.codec.options import NeuralOptions
from streamcodec.models.shipped import DEFAULT_MODEL, load_model
from streamcodec.models.weights import encoder_shapes, floats_of
from streamcodec.runtime.backend import Backend

Float32Array = NDArray[np.float32]


def latents(
    samples: object, sample_rate_hz: int, *, model: str = DEFAULT_MODEL, backend: Backend = "auto"
) -> Float32Array:
    """What the encoder of a model makes of a sound, 50 frames a second, neither quantised nor coded.

    A frame describes the 20 ms that end with it in the light of what came before; nothing looks ahead. At rates other
    than the model's own it lags by the resampler's delay, at most a few ms. Channels are mixed down; the end is
    filled up with silence, so that every sample is seen. The same sound gives the same latents for as long as
    :func:`latents_version` is the same: to the bit with one backend on one machine, else to within rounding.

    Errors: AudioFormatError for sound or a rate that cannot be used, ModelError, BackendError.

    Shape: ``[n]`` or ``[n, channels]`` -> ``[frames, 96]`` (as many latents as the model has).
    """
    runtime = load_runtime(model, backend)
    stream = runtime.encoder.new_stream()
    encoder = NeuralEncoder(
        NeuralOptions(sample_rate_hz, model=model, backend=backend), runtime, stream, raises_quiet_sound=False
    )
    sound = encoder.accept(samples)
    length = encoder.block_samples
    frames = -(-(len(sound) + encoder.delay_samples) // length) if len(sound) else 0
    blocks = np.zeros((frames, length), np.float32)
    blocks.reshape(-1)[: len(sound)] = sound
    found = np.empty((frames, runtime.model.config.latents), np.float32)
    for k, block in enumerate(blocks):
        encoder.prepare(0, block)
        stream.step()
        encoder.collect(0)
        found[k] = encoder.latents_collected()[0]
    return found


@lru_cache(maxsize=8)
def latents_version(model: str = DEFAULT_MODEL) -> str:
    """The model's name and eight characters that change whenever its latents do: keep it beside what you store.

    Errors: ModelError.
    """
    shipped = load_model(model)
    seen = hashlib.sha256(shipped.config.identity_text().encode())
    weights = shipped.load_weights()
    for name in sorted(encoder_shapes(shipped.config)):
        seen.update(name.encode())
        seen.update(np.ascontiguousarray(floats_of(weights[name])).tobytes())
    return f"{shipped.name}:{seen.hexdigest()[:8]}"
