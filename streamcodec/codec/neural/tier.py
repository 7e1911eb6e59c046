"""The neural tier as a tier: encoder and decoder at the caller's rate, on networks of their own or shared ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.mixdown import make_mixdown
from streamcodec.codec.audio_format import as_mono
from streamcodec.codec.neural.decoder import NeuralDecoder, NeuralDecoderState
from streamcodec.codec.neural.encoder import FRAMES_PER_SECOND, NeuralEncoder
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.neural.resample import BlockResampler
from streamcodec.codec.neural.stereo import StereoEncoder, apart
from streamcodec.codec.options import DecoderOptions, NeuralOptions, check_neural_channels, check_sample_rate
from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.registry import TierDecoder, TierEncoder
from streamcodec.runtime.backend import Backend
from streamcodec.runtime.step import THREADS_PER_STREAM, StepRow

Float32Array = NDArray[np.float32]


def ready_runtime(model: str, backend: Backend = "auto", threads: int = THREADS_PER_STREAM) -> NeuralModel:
    """A model loaded and run once through every kernel, so that nothing compiles once sound flows.

    Raises ModelError, BackendError.
    """
    runtime = load_runtime(model, backend, threads)
    _run_once(runtime)
    return runtime


@lru_cache(maxsize=8)
def _run_once(runtime: NeuralModel) -> None:
    frame_samples = runtime.model.config.frame_samples
    block = as_mono(np.zeros(frame_samples, np.float32))
    as_mono(np.zeros((frame_samples, 2), np.float32), make_mixdown(runtime.model.config.sample_rate_hz))
    options = NeuralOptions(runtime.model.config.sample_rate_hz, constrained=True)
    encoder, decoder = NeuralEncoder(options, runtime), NeuralDecoder(runtime)
    encoded = encoder.encode(block)
    assert encoded is not None
    packet = Packet(Tier.NEURAL, 0, 0, encoded.quality_index, encoded.flags, encoded.payload)
    for given, following in ((packet, None), (None, replace(packet, timestamp=2)), (None, None)):
        decoder.decode(given, following)
    # One kernel for all rates: a stream at another may come to a pool when others are under way.
    rate_hz = runtime.model.config.sample_rate_hz
    halving = BlockResampler(rate_hz, rate_hz // 2, FRAMES_PER_SECOND, rate_hz)
    halving.process(np.zeros(rate_hz // FRAMES_PER_SECOND, np.float32))


@dataclass
class DecoderState:
    """Snapshot of a :class:`MonoDecoder`."""

    engine: NeuralDecoderState
    resampler: BlockResampler


def Encoder(options: NeuralOptions) -> TierEncoder:  # noqa: N802  (what a tier's module is asked for)
    """The tier's encoder on networks of its own, compiled and ready."""
    runtime = ready_runtime(options.model, options.backend)
    return NeuralEncoder(options, runtime) if options.channels == 1 else StereoEncoder(options, runtime)


def Decoder(options: DecoderOptions) -> TierDecoder:  # noqa: N802
    """The tier's decoder on networks of its own, compiled and ready."""
    check_neural_channels(options.channels)
    return MonoDecoder(options) if options.channels == 1 else StereoDecoder(options)


class MonoDecoder:
    """See :class:`~streamcodec.codec.registry.TierDecoder`; gives mono float32 within full scale.

    With a ``row`` of a network that many share, and its ``runtime``, :meth:`prepare`, a step of the network and
    :meth:`finish` take the place of :meth:`decode`.
    """

    def __init__(
        self, options: DecoderOptions, runtime: NeuralModel | None = None, row: StepRow | None = None
    ) -> None:
        rate_hz = check_sample_rate(options.sample_rate_hz)
        runtime = runtime or ready_runtime(options.model, options.backend)
        config = runtime.model.config
        self.block_samples = rate_hz // FRAMES_PER_SECOND
        self._lag_samples = round(config.overlap_samples / config.sample_rate_hz * rate_hz)
        self._resampler = BlockResampler(config.sample_rate_hz, rate_hz, FRAMES_PER_SECOND, delay_hz=rate_hz)
        post_filter = runtime.post_filter if options.post_filter else runtime.post_filter.before_coding_again()
        self._engine = NeuralDecoder(runtime, row, post_filter)
        self._stages = runtime.stages

    @property
    def delay_samples(self) -> int:
        """Lag of the resampler and of the synthesis overlap."""
        return self._resampler.delay_samples + self._lag_samples

    def decode(self, packet: Packet | None) -> tuple[Float32Array, bool]:
        """Sound of the next 20 ms, and whether the packet was of use.

        Shape: output ``[block_samples]``.
        """
        sound, usable = self._engine.decode(packet)
        return self._finish(sound), usable

    def bridge(self, following: Packet) -> Float32Array:
        """Sound in place of 20 ms that are missing, as far as it can be told from both sides of the gap.

        Shape: output ``[block_samples]``.
        """
        sound, _ = self._engine.decode(None, following)
        return self._finish(sound)

    def prepare(self, packet: Packet | None, following: Packet | None = None) -> bool:
        """What comes before the network; whether the packet was of use."""
        return self._engine.prepare(packet, following)

    def prepare_indices(self, indices: NDArray[np.int32], quality_index: int) -> None:
        """The same for indices however they were come by.

        Shape: ``[latents]``.
        """
        self._engine.prepare_indices(indices, quality_index)

    def finish(self) -> Float32Array:
        """What comes after the network: sound of the next 20 ms.

        Shape: output ``[block_samples]``.
        """
        return self._finish(self._engine.finish())

    def drain(self) -> Float32Array:
        """The tail of the last overlap and of the resampler.

        Shape: output ``[delay_samples]``.
        """
        return self._finish(self._engine.drain())[: self.delay_samples]

    def _finish(self, sound: Float32Array) -> Float32Array:
        """What happens to decoded sound before the caller gets it."""
        resampled: Float32Array = self._stages.resample(self._resampler, sound)
        if resampled is sound:
            return sound
        # What was limited before may pass full scale again between its samples.
        return np.clip(resampled, -1.0, 1.0, out=resampled)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples]``.
        """
        return np.zeros(samples, np.float32)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine.reset()
        self._resampler.reset()

    def state(self) -> DecoderState:
        """A copy of everything remembered."""
        return DecoderState(self._engine.state(), self._resampler.copy())

    def restore(self, state: DecoderState) -> None:
        """Continue from a copied state."""
        self._engine.restore(state.engine)
        self._resampler = state.resampler.copy()


class StereoDecoder:
    """See :class:`~streamcodec.codec.registry.TierDecoder`; gives float32 ``[n, 2]`` within full scale."""

    def __init__(self, options: DecoderOptions) -> None:
        self._sides = tuple(MonoDecoder(replace(options, channels=1)) for _ in range(options.channels))
        self.block_samples = self._sides[0].block_samples

    @property
    def delay_samples(self) -> int:
        """Lag of the resampler and of the synthesis overlap."""
        return self._sides[0].delay_samples

    def decode(self, packet: Packet | None) -> tuple[Float32Array, bool]:
        """Sound of the next 20 ms, and whether the packet was of use.

        Shape: output ``[block_samples, 2]``.
        """
        parts = None if packet is None else apart(packet)
        packets = [None] * len(self._sides) if parts is None else parts
        found = [side.decode(part) for side, part in zip(self._sides, packets, strict=True)]
        return np.stack([sound for sound, _ in found], axis=1), all(usable for _, usable in found)

    def bridge(self, following: Packet) -> Float32Array:
        """Sound in place of 20 ms that are missing, as far as it can be told from both sides of the gap.

        Shape: output ``[block_samples, 2]``.
        """
        parts = apart(following)
        if parts is None:
            return self.decode(None)[0]
        return np.stack([side.bridge(part) for side, part in zip(self._sides, parts, strict=True)], axis=1)

    def drain(self) -> Float32Array:
        """The tail of the last overlap and of the resampler.

        Shape: output ``[delay_samples, 2]``.
        """
        return np.stack([side.drain() for side in self._sides], axis=1)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples, 2]``.
        """
        return np.zeros((samples, len(self._sides)), np.float32)

    def reset(self) -> None:
        """Back to the start of a stream."""
        for side in self._sides:
            side.reset()

    def state(self) -> tuple[DecoderState, ...]:
        """A copy of everything remembered."""
        return tuple(side.state() for side in self._sides)

    def restore(self, state: tuple[DecoderState, ...]) -> None:
        """Continue from a copied state."""
        for side, kept in zip(self._sides, state, strict=True):
            side.restore(kept)
