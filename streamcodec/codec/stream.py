"""The faces that people use: push sound, get packets; push packets (or nothing), get sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import as_mono, check_sample_rate
from streamcodec.codec.neural_decoder import NeuralDecoder, NeuralDecoderState
from streamcodec.codec.neural_encoder import NeuralEncoder, NeuralEncoderState, PacketMode
from streamcodec.codec.neural_runtime import NeuralRuntime, load_runtime
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, Tier
from streamcodec.codec.resample import BlockResampler
from streamcodec.errors import AudioFormatError, PacketError
from streamcodec.models.shipped import DEFAULT_MODEL

Float32Array = NDArray[np.float32]
PACKETS_PER_SECOND = 50
WARM_UP_BITRATE_BPS = 6_000
RECEIVER_LAG_MS = 8.0
"""What flush allows for the lag of any decoder (overlap and resampling), so that the last sample gets out."""


@lru_cache(maxsize=4)
def ready_runtime(model: str) -> NeuralRuntime:
    """A model loaded and run once through every kernel, so that nothing compiles once sound flows.

    Raises ModelError.
    """
    runtime = load_runtime(model)
    block = as_mono(np.zeros(runtime.model.config.packet_samples, np.float32))
    encoder, decoder = NeuralEncoder(runtime, WARM_UP_BITRATE_BPS, constrained=True), NeuralDecoder(runtime)
    encoded = encoder.encode(block)
    assert encoded is not None
    for packet in (Packet(Tier.NEURAL, 0, 0, encoded.level, encoded.flags, encoded.payload), None):
        decoder.decode(packet)
    return runtime


@dataclass
class EncoderState:
    """Snapshot of a :class:`StreamEncoder`."""

    engine: NeuralEncoderState
    resampler: BlockResampler
    pending: Float32Array
    sequence: int
    timestamp: int


@dataclass
class DecoderState:
    """Snapshot of a :class:`StreamDecoder`."""

    engine: NeuralDecoderState
    resampler: BlockResampler


class StreamEncoder:
    """Turns live sound into packets, 20 ms each.

    ``mode="independent"`` makes every packet decodable alone (for lossy links); ``"stream"`` lets packets lean on
    earlier ones, with a key packet every second, for files and reliable links, at about a tenth fewer bits.
    ``constrained`` keeps every packet within ``bitrate_bps / 50`` bits instead of meeting the rate on average.
    ``dtx`` sends next to nothing while there is only background.

    Errors: AudioFormatError, BitrateError, ModelError on arguments or samples that do not fit.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        bitrate_bps: float = 6_000,
        *,
        mode: PacketMode = "independent",
        constrained: bool = False,
        dtx: bool = False,
        model: str = DEFAULT_MODEL,
    ) -> None:
        if mode not in ("independent", "stream"):
            raise AudioFormatError(f"mode must be 'independent' or 'stream', got {mode!r}")
        self.sample_rate_hz = check_sample_rate(sample_rate_hz)
        runtime = ready_runtime(model)
        internal_hz = runtime.model.config.sample_rate_hz
        self.block_samples = self.sample_rate_hz // PACKETS_PER_SECOND
        self._resampler = BlockResampler(self.sample_rate_hz, internal_hz, PACKETS_PER_SECOND, prime_input=True)
        self._engine = NeuralEncoder(runtime, bitrate_bps, mode, constrained, dtx)
        self._pending: Float32Array = np.zeros(0, np.float32)
        self._sequence = 0
        self._timestamp = 0

    @property
    def delay_samples(self) -> int:
        """Samples (at ``sample_rate_hz``) by which this side makes the decoded stream lag the input."""
        return self._resampler.delay_samples

    @property
    def latency_samples(self) -> int:
        """Delay of this side as heard: the lag, and collecting one packet."""
        return self.delay_samples + self.block_samples

    @property
    def state(self) -> EncoderState:
        """A copy of everything remembered; assign it to any encoder of the same settings to go on from there."""
        return EncoderState(
            self._engine.state(),
            self._resampler.copy(),
            self._pending.copy(),
            self._sequence,
            self._timestamp,
        )

    @state.setter
    def state(self, state: EncoderState) -> None:
        self._engine.restore(state.engine)
        self._resampler = state.resampler.copy()
        self._pending = state.pending.copy()
        self._sequence = state.sequence
        self._timestamp = state.timestamp

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next packet on; raises BitrateError."""
        self._engine.set_bitrate(bitrate_bps)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine.reset()
        self._resampler.reset()
        self._pending = np.zeros(0, np.float32)
        self._sequence = self._timestamp = 0

    def push(self, samples: object) -> list[Packet]:
        """Take any number of samples, return the packets they complete.

        Shape: ``[n]`` or ``[n, channels]`` (downmixed), n >= 0, float32, float64 (full scale 1.0) or int16.
        """
        sound = as_mono(samples)
        if self._pending.size:
            sound = np.concatenate([self._pending, sound])
        blocks = sound.size // self.block_samples
        packets = []
        for k in range(blocks):
            packet = self._encode(sound[k * self.block_samples : (k + 1) * self.block_samples])
            if packet is not None:
                packets.append(packet)
        self._pending = sound[blocks * self.block_samples :].copy()
        return packets

    def flush(self) -> list[Packet]:
        """Packets that carry what is still inside, so that a decoder gives out every sample pushed."""
        lag = self.delay_samples + int(RECEIVER_LAG_MS * self.sample_rate_hz / 1000.0)
        blocks = -(-(self._pending.size + lag) // self.block_samples)
        return self.push(np.zeros(blocks * self.block_samples - self._pending.size, np.float32))

    def coarser(self, packet: Packet) -> tuple[int, bytes] | None:
        """(level, payload) of one of the last 8 packets at two thirds of its rate, to ride along with others.

        The payload decodes alone. None for older packets, and in stream mode. Packets to come are not affected.
        """
        age = (self._sequence - 1 - packet.sequence) % SEQUENCE_MODULUS
        return self._engine.recode(age, packet.level)

    def _encode(self, block: Float32Array) -> Packet | None:
        encoded = self._engine.encode(self._resampler.process(block))
        timestamp = self._timestamp
        self._timestamp = (timestamp + 1) % SEQUENCE_MODULUS
        if encoded is None:
            return None
        sequence = self._sequence
        self._sequence = (sequence + 1) % SEQUENCE_MODULUS
        return Packet(Tier.NEURAL, sequence, timestamp, encoded.level, encoded.flags, encoded.payload)


class StreamDecoder:
    """Turns packets, in order, into sound; every push gives 20 ms, whatever came.

    Never raises on a damaged, foreign or missing packet: those are concealed and counted in :attr:`concealed`.
    """

    def __init__(self, sample_rate_hz: int, *, model: str = DEFAULT_MODEL) -> None:
        self.sample_rate_hz = check_sample_rate(sample_rate_hz)
        runtime = ready_runtime(model)
        config = runtime.model.config
        self.block_samples = self.sample_rate_hz // PACKETS_PER_SECOND
        self._overlap_s = config.overlap_samples / config.sample_rate_hz
        self._resampler = BlockResampler(
            config.sample_rate_hz, self.sample_rate_hz, PACKETS_PER_SECOND, prime_input=False
        )
        self._engine = NeuralDecoder(runtime)
        self.concealed = 0

    @property
    def delay_samples(self) -> int:
        """Samples (at ``sample_rate_hz``) by which this side makes the decoded stream lag the input."""
        return self._resampler.delay_samples + round(self._overlap_s * self.sample_rate_hz)

    @property
    def state(self) -> DecoderState:
        """A copy of everything remembered."""
        return DecoderState(self._engine.state(), self._resampler.copy())

    @state.setter
    def state(self, state: DecoderState) -> None:
        self._engine.restore(state.engine)
        self._resampler = state.resampler.copy()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine.reset()
        self._resampler.reset()
        self.concealed = 0

    def push(self, packet: Packet | bytes | None) -> Float32Array:
        """Sound of the next 20 ms; ``None`` says that this packet is lost.

        Shape: output ``[block_samples]``, within full scale.
        """
        if isinstance(packet, bytes | bytearray | memoryview):
            try:
                packet = Packet.from_bytes(packet)
            except PacketError:
                packet = None
        sound, usable = self._engine.decode(packet)
        if not usable:
            self.concealed += 1
        return self._resampler.process(sound)

    def flush(self) -> Float32Array:
        """What is still inside: the tail of the last overlap and of the resampler.

        Shape: output ``[delay_samples]``.
        """
        return self._resampler.process(self._engine.drain())[: self.delay_samples]
