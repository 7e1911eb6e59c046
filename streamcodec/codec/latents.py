"""Latents of whole sounds as arrays, before quantisation: what networks, probes and searches take as features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.neural.encoder import NeuralEncoder
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.options import NeuralOptions
from streamcodec.models.shipped import DEFAULT_MODEL, load_model
from streamcodec.models.weights import encoder_shapes, floats_of
from streamcodec.runtime.backend import Backend
from streamcodec.runtime.step import StepRow

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
    options = NeuralOptions(sample_rate_hz, model=model, backend=backend)
    rows = EncoderRows(options, load_runtime(model, backend), 1)
    (encoder,) = rows.members
    sound = encoder.accept(samples)
    length = encoder.block_samples
    frames = -(-(len(sound) + encoder.delay_samples) // length) if len(sound) else 0
    blocks = np.zeros((1, frames, length), np.float32)
    blocks.reshape(-1)[: len(sound)] = sound
    found: Float32Array = rows.latents(blocks)[0]
    return found


class EncoderRows:
    """So many encoders whose network is stepped together, for latents of sound as it is, quiet or not."""

    def __init__(self, options: NeuralOptions, runtime: NeuralModel, rows: int) -> None:
        self._streams = runtime.encoder.new_streams(rows)
        self._latents = runtime.model.config.latents
        self.members: Sequence[NeuralEncoder] = [
            NeuralEncoder(options, runtime, StepRow(self._streams, row), raises_quiet_sound=False, takes_tones=False)
            for row in range(rows)
        ]

    def reset(self) -> None:
        """Back to the start of a stream, all of them."""
        for member in self.members:
            member.reset()

    def latents(self, blocks: Float32Array) -> Float32Array:
        """Latents of the frames that follow, neither quantised nor coded.

        Shape: ``[rows, frames, frame_samples]`` -> ``[rows, frames, latents]``.
        """
        found = np.empty((*blocks.shape[:2], self._latents), np.float32)
        for time in range(blocks.shape[1]):
            for row, member in enumerate(self.members):
                member.prepare(0, blocks[row, time])
            self._streams.step()
            for row, member in enumerate(self.members):
                member.collect(0)
                found[row, time] = member.latents_collected()[0]
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
