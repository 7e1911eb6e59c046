"""What a packet tells about the stream it is from, for receivers that were told nothing beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamcodec.codec.options import EncoderOptions
from streamcodec.codec.packet import Packet, Tier
from streamcodec.errors import AudioFormatError

NEURAL_PACKET_MS = 20.0
SHORTEST_PACKET_MS, LONGEST_PACKET_MS = 2.0, 100.0
"""What our encoders make lies well within; a receiver must not be talked into more work, or into endless waiting."""
MAX_LIVE_CHANNELS, MAX_LIVE_BITS, MAX_LIVE_RATE_HZ = 2, 24, 96_000
"""What calls carry: listeners hear float32, which keeps 24 bits, and no sender makes them decode eight channels."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """One sender's stream. Of the neural tier only the duration is fixed: it decodes to any rate, mono."""

    tier: Tier
    packet_ms: float
    """Duration of a frame, which is the unit of timestamps."""
    sample_rate_hz: int | None = None
    channels: int = 1
    bits_per_sample: int = 16


def format_of(packet: Packet) -> StreamFormat | None:
    """The stream's format; None where only a key packet would tell, or where what it tells is out of range."""
    if packet.tier is Tier.NEURAL:
        return StreamFormat(Tier.NEURAL, NEURAL_PACKET_MS)
    try:
        form = _lossless(packet.payload) if packet.tier is Tier.LOSSLESS else _near_lossless(packet)
    except (AudioFormatError, IndexError):
        return None
    return form if form is not None and _is_live(form) else None


def _is_live(form: StreamFormat) -> bool:
    return (
        SHORTEST_PACKET_MS <= form.packet_ms <= LONGEST_PACKET_MS
        and form.channels <= MAX_LIVE_CHANNELS
        and form.bits_per_sample <= MAX_LIVE_BITS
        and (form.sample_rate_hz or 0) <= MAX_LIVE_RATE_HZ
    )


def check_live(settings: EncoderOptions) -> None:
    """Raise AudioFormatError for a stream that receivers of calls would not take."""
    if settings.tier is Tier.NEURAL and settings.channels > 1:
        raise AudioFormatError("calls carry one channel of the neural tier: leave channels out; files keep two")
    channels, bits, rate_hz = settings.channels, settings.bits_per_sample, settings.sample_rate_hz
    if channels > MAX_LIVE_CHANNELS or bits > MAX_LIVE_BITS or rate_hz > MAX_LIVE_RATE_HZ:
        raise AudioFormatError(
            f"calls carry up to {MAX_LIVE_CHANNELS} channels of {MAX_LIVE_BITS} bits at {MAX_LIVE_RATE_HZ} Hz, got "
            f"{channels} of {bits} at {rate_hz}: mix or resample the sound first; files take it as it is"
        )


def _lossless(payload: bytes) -> StreamFormat | None:
    from streamcodec.codec.lossless.engine import is_key_payload
    from streamcodec.codec.lossless.format import FORMAT_BYTES, LosslessFormat

    if not is_key_payload(payload):
        return None
    form = LosslessFormat.from_bytes(payload[2 : 2 + FORMAT_BYTES])
    packet_ms = 1_000.0 * form.block_samples / form.sample_rate_hz
    return StreamFormat(Tier.LOSSLESS, packet_ms, form.sample_rate_hz, form.channels, form.bits_per_sample)


def _near_lossless(packet: Packet) -> StreamFormat | None:
    from streamcodec.codec.near_lossless.engine import is_key_payload
    from streamcodec.codec.near_lossless.format import NearLosslessFormat
    from streamcodec.codec.near_lossless.tier import block_of

    payload = block_of(replace(packet, part=None))
    if payload is None or not is_key_payload(payload):
        return None
    form, _ = NearLosslessFormat.from_bytes(payload[1:5])
    packet_ms = 1_000.0 * form.block_samples / form.sample_rate_hz
    return StreamFormat(Tier.NEAR_LOSSLESS, packet_ms, form.sample_rate_hz, form.channels)
