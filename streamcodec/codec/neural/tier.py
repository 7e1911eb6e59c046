"""The neural tier as a tier: downmixing and resampling to and from the caller's rate around the 24 kHz coder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import as_mono, check_sample_rate
from streamcodec.codec.neural.decoder import NeuralDecoder, NeuralDecoderState
from streamcodec.codec.neural.encoder import EncodedBlock, NeuralEncoder, NeuralEncoderState
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.neural.resample import BlockResampler
from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.tiers import DecoderSettings, EncoderSettings, Samples
from streamcodec.errors import AudioFormatError, ModelError
from streamcodec.models.config import NeuralConfig
from streamcodec.research.restoration import Restorer, RestorerState
from streamcodec.runtime.backend import Backend
from streamcodec.runtime.step import THREADS_PER_STREAM, StepRow

Float32Array = NDArray[np.float32]
FRAMES_PER_SECOND = 50
DEFAULT_BITRATE_BPS = 6_000
RECEIVER_LAG_MS = 8.0
"""What closing allows for the lag of any decoder (overlap and resampling), so that the last sample gets out."""


@dataclass(frozen=True)
class SharedNetworks:
    """A ready model whose networks step many streams at once, and the row of one of them."""

    runtime: NeuralModel
    row: StepRow


def ready_runtime(model: str, backend: Backend = "auto", threads: int = THREADS_PER_STREAM) -> NeuralModel:
    """A model loaded and run once through every kernel, so that nothing compiles once sound flows.

    Raises ModelError, BackendError.
    """
    runtime = load_runtime(model, backend, threads)
    _run_once(runtime)
    return runtime


@lru_cache(maxsize=8)
def _run_once(runtime: NeuralModel) -> None:
    block = as_mono(np.zeros(runtime.model.config.frame_samples, np.float32))
    encoder, decoder = NeuralEncoder(runtime, DEFAULT_BITRATE_BPS, constrained=True), NeuralDecoder(runtime)
    encoded = encoder.encode(block)
    assert encoded is not None
    for packet in (Packet(Tier.NEURAL, 0, 0, encoded.quality_index, encoded.flags, encoded.payload), None):
        decoder.decode(packet)
    # One kernel for all rates: a stream at another may come to a pool when others are under way.
    rate_hz = runtime.model.config.sample_rate_hz
    halving = BlockResampler(rate_hz, rate_hz // 2, FRAMES_PER_SECOND, rate_hz)
    halving.process(np.zeros(rate_hz // FRAMES_PER_SECOND, np.float32))


def _check_channels(channels: int) -> None:
    if channels != 1:
        raise AudioFormatError(
            f"the neural tier codes one channel, got channels={channels}: sound of several is mixed down when pushed"
        )


def _checked(restorer: Restorer, config: NeuralConfig) -> Restorer:
    if (restorer.sample_rate_hz, restorer.block_samples) != (config.sample_rate_hz, config.frame_samples):
        raise ModelError(
            f"this restorer takes blocks of {restorer.block_samples} samples at {restorer.sample_rate_hz} Hz, the "
            f"model gives {config.frame_samples} at {config.sample_rate_hz}: train one for it"
        )
    return restorer


@dataclass
class NeuralTierEncoderState:
    """Snapshot of a :class:`NeuralTierEncoder`."""

    engine: NeuralEncoderState
    resampler: BlockResampler


@dataclass
class NeuralTierDecoderState:
    """Snapshot of a :class:`NeuralTierDecoder`."""

    engine: NeuralDecoderState
    resampler: BlockResampler
    restorer: RestorerState | None


class NeuralTierEncoder:
    """See :class:`~streamcodec.codec.tiers.TierEncoder`; blocks are mono float32, 20 ms a frame.

    With ``shared`` networks :meth:`prepare`, a step of the network and :meth:`collect` for each frame, then
    :meth:`finish`, take the place of :meth:`encode`.
    """

    def __init__(self, settings: EncoderSettings, shared: SharedNetworks | None = None) -> None:
        rate_hz = check_sample_rate(settings.sample_rate_hz)
        _check_channels(settings.channels)
        runtime = shared.runtime if shared else ready_runtime(settings.model, settings.backend)
        bitrate_bps = DEFAULT_BITRATE_BPS if settings.bitrate_bps is None else settings.bitrate_bps
        self._lag_allowance_samples = int(RECEIVER_LAG_MS * rate_hz / 1000.0)
        self.frames = settings.frames
        self.block_samples = self.frames * (rate_hz // FRAMES_PER_SECOND)
        self._resampler = BlockResampler(
            rate_hz, runtime.model.config.sample_rate_hz, FRAMES_PER_SECOND, delay_hz=rate_hz
        )
        self._engine = NeuralEncoder(
            runtime,
            bitrate_bps,
            settings.mode or "independent",
            settings.constrained,
            settings.dtx,
            settings.frames,
            settings.key_period_s,
            stream=shared.row if shared else None,
        )

    @property
    def delay_samples(self) -> int:
        """Lag of the resampler."""
        return self._resampler.delay_samples

    def accept(self, samples: object) -> Float32Array:
        """Mono float32, whatever came.

        Shape: ``[n]`` or ``[n, channels]`` -> ``[n]``.
        """
        return as_mono(samples)

    def encode(self, block: Samples) -> EncodedBlock | None:
        """Code one packet's worth; None where discontinuous transmission sends nothing.

        Shape: ``[block_samples]``.
        """
        return self._engine.encode(self._resampled(block))

    def _resampled(self, block: Samples) -> Float32Array:
        if self.frames == 1:
            return self._resampler.process(block)
        return np.concatenate([self._resampler.process(frame) for frame in block.reshape(self.frames, -1)])

    def plan_constant_quality(self, blocks: Sequence[Samples], budget_s: float) -> float:
        """See :class:`~streamcodec.codec.tiers.PlanningEncoder`."""
        before = self._resampler.copy()
        left_s = self._engine.plan_constant_quality(map(self._resampled, blocks), budget_s)
        self._resampler = before
        return left_s

    def prepare(self, k: int, block: Samples) -> None:
        """What comes before the network, for frame ``k`` of a block.

        Shape: ``[block_samples]``.
        """
        self._engine.prepare(k, self._resampler.process(block.reshape(self.frames, -1)[k]))

    def collect(self, k: int) -> None:
        """Keep what the network made of frame ``k``."""
        self._engine.collect(k)

    def finish(self) -> EncodedBlock | None:
        """What comes after the network: the block collected, coded."""
        return self._engine.finish()

    def encode_redundant(self, age: int, quality_index: int) -> tuple[int, bytes] | None:
        """See :meth:`NeuralEncoder.encode_redundant`."""
        return self._engine.encode_redundant(age, quality_index)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples]``.
        """
        return np.zeros(samples, np.float32)

    def closing_blocks(self, pending: Samples) -> list[Samples]:
        """Pending samples and silence, enough for any decoder to give out the last sample."""
        needed = pending.size + self.delay_samples + self._lag_allowance_samples
        blocks = -(-needed // self.block_samples)
        padded = np.zeros((blocks, self.block_samples), np.float32)
        padded.reshape(-1)[: pending.size] = pending
        return list(padded)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next block on; raises BitrateError."""
        self._engine.set_bitrate(bitrate_bps)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine.reset()
        self._resampler.reset()

    def state(self) -> NeuralTierEncoderState:
        """A copy of everything remembered."""
        return NeuralTierEncoderState(self._engine.state(), self._resampler.copy())

    def restore(self, state: NeuralTierEncoderState) -> None:
        """Continue from a copied state."""
        self._engine.restore(state.engine)
        self._resampler = state.resampler.copy()


class NeuralTierDecoder:
    """See :class:`~streamcodec.codec.tiers.TierDecoder`; gives mono float32 within full scale.

    With ``shared`` networks :meth:`prepare`, a step of the network and :meth:`finish` take the place of
    :meth:`decode`.
    """

    def __init__(self, settings: DecoderSettings, shared: SharedNetworks | None = None) -> None:
        rate_hz = check_sample_rate(settings.sample_rate_hz)
        _check_channels(settings.channels)
        runtime = shared.runtime if shared else ready_runtime(settings.model, settings.backend)
        config = runtime.model.config
        self.block_samples = rate_hz // FRAMES_PER_SECOND
        self._restorer = None if settings.restorer is None else _checked(Restorer(settings.restorer), config)
        lag_samples = config.overlap_samples + (0 if self._restorer is None else self._restorer.delay_samples)
        self._lag_samples = round(lag_samples / config.sample_rate_hz * rate_hz)
        self._resampler = BlockResampler(config.sample_rate_hz, rate_hz, FRAMES_PER_SECOND, delay_hz=rate_hz)
        self._engine = NeuralDecoder(runtime, stream=shared.row if shared else None)

    @property
    def delay_samples(self) -> int:
        """Lag of the resampler, of the synthesis overlap, and of the restorer if there is one."""
        return self._resampler.delay_samples + self._lag_samples

    def decode(self, packet: Packet | None) -> tuple[Float32Array, bool]:
        """Sound of the next 20 ms, and whether the packet was of use.

        Shape: output ``[block_samples]``.
        """
        sound, usable = self._engine.decode(packet)
        return self._finish(sound), usable

    def prepare(self, packet: Packet | None) -> bool:
        """What comes before the network; whether the packet was of use."""
        return self._engine.prepare(packet)

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
        restored = sound if self._restorer is None else self._restorer.process(sound)
        return self._resampler.process(restored)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples]``.
        """
        return np.zeros(samples, np.float32)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine.reset()
        self._resampler.reset()
        if self._restorer is not None:
            self._restorer.reset()

    def state(self) -> NeuralTierDecoderState:
        """A copy of everything remembered."""
        restorer = None if self._restorer is None else self._restorer.state()
        return NeuralTierDecoderState(self._engine.state(), self._resampler.copy(), restorer)

    def restore(self, state: NeuralTierDecoderState) -> None:
        """Continue from a copied state."""
        self._engine.restore(state.engine)
        self._resampler = state.resampler.copy()
        if self._restorer is not None and state.restorer is not None:
            self._restorer.restore(state.restorer)
