"""The lossless tier as a tier: integer samples at the caller's rate, every one of them back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import as_array
from streamcodec.codec.lossless import engine as lossless
from streamcodec.codec.lossless.engine import LosslessDecoder, LosslessEncoder, is_key_payload
from streamcodec.codec.lossless.format import DEFAULT_BLOCK_MS, LosslessFormat, default_block_samples
from streamcodec.codec.options import DecoderOptions, LosslessOptions, Samples
from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.waveform_blocks import KeyPace, WaveformBlock, waveform_block, with_channels
from streamcodec.errors import AudioFormatError, BitrateError, DamagedPayload

Int32Array = NDArray[np.int32]


@lru_cache(maxsize=1)
def _warm_up_once() -> None:
    lossless.warm_up()


@dataclass
class EncoderState:
    """Snapshot of a :class:`Encoder`."""

    engine: LosslessEncoder
    keys: KeyPace


class Encoder:
    """See :class:`~streamcodec.codec.registry.TierEncoder`; blocks are int32 ``[n, channels]``."""

    delay_samples = 0

    def __init__(self, settings: LosslessOptions) -> None:
        self._settings = settings
        self.reset()
        self.block_samples = self._engine.format.block_samples
        self._limit = 1 << (settings.bits_per_sample - 1)
        _warm_up_once()

    def accept(self, samples: object) -> Int32Array:
        """Integers within the stream's depth, right-aligned (a 16-bit sample is -32768 to 32767).

        Shape: ``[n]`` (one channel) or ``[n, channels]`` -> ``[n, channels]``.
        Errors: AudioFormatError for floating-point samples, a wrong shape, or samples out of range.
        """
        array = as_array(samples)
        if not np.issubdtype(array.dtype, np.signedinteger):
            raise AudioFormatError(
                f"lossless coding takes signed integer samples, got {array.dtype}: convert it to integers first, or "
                "use the near-lossless tier for floating-point sound"
            )
        array = with_channels(array, self._settings.channels)
        if array.size and not (-self._limit <= int(array.min()) and int(array.max()) < self._limit):
            raise AudioFormatError(
                f"samples of {self._settings.bits_per_sample} bits lie within {-self._limit} to {self._limit - 1}, "
                f"got {int(array.min())} to {int(array.max())}"
            )
        return np.ascontiguousarray(array, np.int32)

    def encode(self, block: Samples) -> WaveformBlock:
        """Code one block.

        Shape: ``[n, channels]``, 1 <= n <= ``block_samples``.
        """
        payload = self._engine.encode(block, key=self._keys.take())
        return waveform_block(payload, is_key_payload(payload))

    def silence(self, samples: int) -> Int32Array:
        """Silence.

        Shape: output ``[samples, channels]``.
        """
        return np.zeros((samples, self._settings.channels), np.int32)

    def closing_blocks(self, pending: Samples) -> list[Samples]:
        """The pending samples as one shorter block: the stream ends with the last sample."""
        return [pending] if len(pending) else []

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Raises BitrateError: there is no rate to set."""
        raise BitrateError("lossless coding takes the bits it needs: it has no rate to set")

    def request_key(self) -> None:
        """Make the next block a key block."""
        self._keys.request()

    def reset(self) -> None:
        """Back to the start of a stream."""
        s = self._settings
        block_ms = DEFAULT_BLOCK_MS if s.packet_ms is None else s.packet_ms
        block_samples = default_block_samples(s.sample_rate_hz, s.channels, s.bits_per_sample, block_ms)
        self._engine = LosslessEncoder(s.sample_rate_hz, s.channels, s.bits_per_sample, block_samples)
        self._keys = KeyPace(s.key_period_blocks(self._engine.format.block_samples))

    def state(self) -> EncoderState:
        """A copy of everything remembered."""
        return EncoderState(self._engine.copy(), self._keys.copy())

    def restore(self, state: EncoderState) -> None:
        """Continue from a copied state."""
        self._engine, self._keys = state.engine.copy(), state.keys.copy()


@dataclass
class DecoderState:
    """Snapshot of a :class:`Decoder`."""

    engine: LosslessDecoder
    block_samples: int
    last: Samples | None


class Decoder:
    """See :class:`~streamcodec.codec.registry.TierDecoder`; gives int16 (up to 16 bits) or int32 ``[n, channels]``.

    A block that cannot be decoded is replaced by the one before it, backwards and fading out, so that the seam makes
    no click; those after it, up to the next key block, by silence.
    """

    delay_samples = 0

    def __init__(self, settings: DecoderOptions) -> None:
        self._format = LosslessFormat(
            settings.sample_rate_hz,
            settings.channels,
            settings.bits_per_sample,
            default_block_samples(settings.sample_rate_hz, settings.channels, settings.bits_per_sample),
        )
        self._type = np.int16 if settings.bits_per_sample <= 16 else np.int32
        self._last: Samples | None = None
        self.reset()
        _warm_up_once()

    def decode(self, packet: Packet | None) -> tuple[Samples, bool]:
        """Samples of the next block, and whether the packet was of use.

        Shape: output ``[n, channels]``, n as coded, ``block_samples`` where that is not known.
        """
        payload = packet.payload if packet is not None and self._is_ours(packet) else b""
        try:
            samples = self._engine.decode(payload).astype(self._type)
        except DamagedPayload:
            return self._concealed(), False
        if self._engine.format is not None:
            self.block_samples = self._engine.format.block_samples
        self._last = samples
        return samples, True

    def _is_ours(self, packet: Packet) -> bool:
        """Whether the packet is of this tier and, where it says so, of this stream's format."""
        if packet.tier is not Tier.LOSSLESS:
            return False
        if not is_key_payload(packet.payload):
            return True
        try:
            form = LosslessFormat.from_bytes(packet.payload[2:9])
        except (AudioFormatError, IndexError):
            return False
        return (form.sample_rate_hz, form.channels, form.bits_per_sample) == (
            self._format.sample_rate_hz,
            self._format.channels,
            self._format.bits_per_sample,
        )

    def _concealed(self) -> Samples:
        block = self.silence(self.block_samples)
        if self._last is not None:
            fade = np.cos(np.linspace(0.0, np.pi / 2, len(self._last)))[:, None]
            block[: len(self._last)] = np.rint(self._last[::-1] * fade).astype(self._type)
            self._last = None
        return block

    def drain(self) -> Samples:
        """Nothing: every packet gives all its samples."""
        return self.silence(0)

    def silence(self, samples: int) -> Samples:
        """Silence.

        Shape: output ``[samples, channels]``.
        """
        return np.zeros((samples, self._format.channels), self._type)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine = LosslessDecoder()
        self.block_samples = self._format.block_samples
        self._last = None

    def state(self) -> DecoderState:
        """A copy of everything remembered."""
        return DecoderState(self._engine.copy(), self.block_samples, self._last)

    def restore(self, state: DecoderState) -> None:
        """Continue from a copied state."""
        self._engine = state.engine.copy()
        self.block_samples = state.block_samples
        self._last = state.last
