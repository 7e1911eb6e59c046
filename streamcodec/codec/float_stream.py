"""Floating-point sound in and out whatever the tier: what a call speaks, where sender and listener choose apart.

A call has one rate and one number of channels for its loudspeaker; each sender has its own tier, rate, channels and
depth. Where the two agree samples pass untouched, so that lossless stays lossless: float32 holds 24 bits exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.codec.stream_format import StreamFormat, check_live, format_of
from streamcodec.codec.stream_resampler import StreamResampler
from streamcodec.models.shipped import DEFAULT_MODEL

Float32Array = NDArray[np.float32]
UNKNOWN_PACKET_MS = 20.0


class FloatEncoder:
    """A :class:`StreamEncoder` that takes float32, full scale 1.0, in every tier.

    Errors: AudioFormatError for a stream that calls do not carry (more than two channels, 24 bits, 96 kHz).
    """

    def __init__(self, encoder: StreamEncoder) -> None:
        check_live(encoder.settings)
        self.encoder = encoder
        bits = encoder.settings.bits_per_sample
        self._full_scale = np.float32(1 << (bits - 1)) if encoder.tier is Tier.LOSSLESS else None
        self.flush = encoder.flush
        self.set_bitrate = encoder.set_bitrate
        self.request_key = encoder.request_key
        self.encode_redundant = encoder.encode_redundant
        self.set_packet_ms = encoder.set_packet_ms

    def push(self, samples: Float32Array) -> list[Packet]:
        """As :meth:`StreamEncoder.push`.

        Shape: ``[n]`` or ``[n, channels]``.
        """
        if self._full_scale is None:
            return self.encoder.push(samples)
        scaled = self.encoder.as_finite(samples) * self._full_scale
        return self.encoder.push(np.clip(np.rint(scaled), -self._full_scale, self._full_scale - 1).astype(np.int32))


class FloatDecoder:
    """Decodes whatever stream comes, to one rate and number of channels.

    The first packet that tells its format decides what is decoded from then on; until then there is silence. Never
    raises on packets, as no decoder does. Errors: AudioFormatError, ModelError on arguments that do not fit.
    """

    def __init__(self, sample_rate_hz: int, channels: int = 1, model: str = DEFAULT_MODEL) -> None:
        # The usual case is made ready at once, so that a first packet finds it loaded.
        self._neural = StreamDecoder(sample_rate_hz, model=model)
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.format: StreamFormat | None = None
        self._decoder: StreamDecoder | None = None
        self._resampler: StreamResampler | None = None

    def push(self, packet: Packet | None, following: Packet | None = None) -> Float32Array:
        """Sound of the next packet's duration; ``None`` says that it is lost, ``following`` what comes after it.

        Shape: ``[n]``, or ``[n, channels]`` for more than one; n varies where the stream's rate is another.
        """
        if self._decoder is None and packet is not None:
            self._begin(format_of(packet))
        if self._decoder is None or self.format is None:
            return self._with_channels(np.zeros(round(UNKNOWN_PACKET_MS * self.sample_rate_hz / 1_000), np.float32))
        sound = self._decoder.push(packet, following)
        if self.format.tier is Tier.LOSSLESS:
            sound = sound.astype(np.float32) / np.float32(1 << (self.format.bits_per_sample - 1))
        converted = self._with_channels(sound)
        if self._resampler is None:
            return converted
        return self._resampler.process(converted)

    def _begin(self, form: StreamFormat | None) -> None:
        if form is None:
            return
        self.format = form
        if form.tier is Tier.NEURAL:
            self._decoder = self._neural
            return
        rate_hz = form.sample_rate_hz or self.sample_rate_hz
        self._decoder = StreamDecoder(
            rate_hz, tier=form.tier, channels=form.channels, bits_per_sample=form.bits_per_sample
        )
        if rate_hz != self.sample_rate_hz:
            self._resampler = StreamResampler(rate_hz, self.sample_rate_hz, self.channels)

    def _with_channels(self, sound: Float32Array) -> Float32Array:
        if self.channels == 1:
            return sound if sound.ndim == 1 else sound.mean(axis=1, dtype=np.float32)
        plane = sound if sound.ndim == 2 else sound[:, np.newaxis]
        if plane.shape[1] == self.channels:
            return plane
        return np.repeat(plane.mean(axis=1, dtype=np.float32, keepdims=True), self.channels, axis=1)


def warm_up_waveform_tiers(sample_rate_hz: int) -> None:
    """Compile what the waveform tiers need, so that a first packet of theirs does not stop the sound for it."""
    for tier in (Tier.NEAR_LOSSLESS, Tier.LOSSLESS):
        StreamDecoder(sample_rate_hz, tier=tier)
