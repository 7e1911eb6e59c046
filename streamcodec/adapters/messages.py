"""Packets as messages of a websocket, or of anything else that brings whole messages in order.

A message holds the packets that one piece of sound has completed, each behind its length (2 bytes, big-endian). It is
what every voice adapter of this folder sends and takes, so that any two of them talk to each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import to_int16
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.errors import AudioFormatError, PacketError

MAX_PACKET_BYTES = 65_535
"""As many as its length of two bytes can say."""
LONGEST_GAP_FRAMES = 50
"""A pause or a loss that timestamps tell of is filled up to this, one second."""
NEAR_FRAMES = 1_500
"""A number further off, 30 s, tells of nothing but a long pause, or a sender that has begun again."""
RESTART_RUN = 5
"""So many late packets in unbroken order are one as well."""


def join(packets: Iterable[Packet]) -> bytes:
    """One message of these packets; empty where there are none. Raises PacketError for one above 65,535 bytes."""
    message = bytearray()
    for packet in packets:
        data = packet.to_bytes()
        if len(data) > MAX_PACKET_BYTES:
            raise PacketError(
                f"a packet in a message has at most {MAX_PACKET_BYTES} bytes, got {len(data)}: send it with fewer "
                "redundant copies"
            )
        message += len(data).to_bytes(2, "big") + data
    return bytes(message)


def split(message: bytes) -> list[bytes]:
    """The packets of a message; raises PacketError for what is no bytes, and where its lengths do not fit."""
    if not isinstance(message, bytes | bytearray | memoryview):
        raise PacketError(f"a message is bytes, got {type(message).__name__}")
    packets, position = [], 0
    while position < len(message):
        end = position + 2 + int.from_bytes(message[position : position + 2], "big")
        if end > len(message) or position + 2 > len(message):
            raise PacketError(
                f"the message ends inside a packet, after {len(message)} bytes: it was cut, or is no message"
            )
        packets.append(bytes(message[position + 2 : end]))
        position = end
    return packets


class MessageEncoder:
    """Sound to messages, as it comes; ``options`` as for :class:`~streamcodec.StreamEncoder`.

    Errors: AudioFormatError, BitrateError.
    """

    def __init__(self, sample_rate_hz: int = 24_000, bitrate_bps: float | None = None, **options: Any) -> None:
        self.stream = StreamEncoder(sample_rate_hz, bitrate_bps, **options)

    def push(self, samples: object) -> bytes:
        """The message of the packets that these samples complete; empty where they complete none.

        Shape: ``[n]`` or ``[n, channels]``; bytes are 16-bit samples of one channel, little-endian.
        """
        if isinstance(samples, bytes | bytearray) or (isinstance(samples, memoryview) and samples.format == "B"):
            if len(samples) % 2:
                raise AudioFormatError(
                    f"bytes of sound are 16-bit samples, two bytes each, got {len(samples)} bytes: push whole samples"
                )
            samples = np.frombuffer(samples, "<i2")
        return join(self.stream.push(samples))

    def flush(self) -> bytes:
        """The message of what is still inside: the end of a stream, or of something said."""
        return join(self.stream.flush())


class MessageDecoder:
    """Messages to sound; what is damaged or missing is concealed, what comes late or twice is left out, and a pause
    lasts as long as timestamps say, up to a second.

    The neural tier decodes to any of its rates, whatever the encoder's.
    """

    def __init__(self, sample_rate_hz: int = 24_000, **options: Any) -> None:
        self.stream = StreamDecoder(sample_rate_hz, **options)
        self._next_timestamp: int | None = None
        self._next_sequence = 0
        self._after_late: int | None = None
        self._late_run = 0

    def push(self, message: bytes) -> NDArray[Any]:
        """Sound of a message.

        Shape: output as of :meth:`~streamcodec.StreamDecoder.push`. Raises PacketError for what is no message.
        """
        sound = [self.stream.silence(0)]
        for data in split(message):
            try:
                packet: Packet | None = Packet.from_bytes(data)
            except PacketError:
                packet = None
            if packet is not None and not self._is_late(packet):
                expected = packet.timestamp if self._next_timestamp is None else self._next_timestamp
                gap = (packet.timestamp - expected) % SEQUENCE_MODULUS
                if gap <= NEAR_FRAMES:
                    sound += [self.stream.push(None, packet) for _ in range(min(gap, LONGEST_GAP_FRAMES))]
                self._next_timestamp = (packet.timestamp + packet.frames) % SEQUENCE_MODULUS
                self._next_sequence = (packet.sequence + packet.frames) % SEQUENCE_MODULUS
                sound.append(self.stream.push(packet))
        return np.concatenate(sound)

    def _is_late(self, packet: Packet) -> bool:
        """Whether a packet belongs before what has been played; several in unbroken order are a new beginning.

        Told by sequence numbers, which go on only with what is sent: timestamps wrap within a long pause.
        """
        age = 0 if self._next_timestamp is None else (self._next_sequence - packet.sequence) % SEQUENCE_MODULUS
        if not 0 < age <= NEAR_FRAMES:
            self._late_run = 0
            return False
        self._late_run = self._late_run + 1 if packet.sequence == self._after_late else 1
        self._after_late = (packet.sequence + packet.frames) % SEQUENCE_MODULUS
        return self._late_run < RESTART_RUN

    def push_int16(self, message: bytes) -> bytes:
        """The same as 16-bit samples in bytes, which is what most neighbours take."""
        return to_int16(self.push(message), self.stream.settings.bits_per_sample).tobytes()
