"""The ``.sc`` file: a bounded header, clusters of packets with sync mark and checksum, an index at the end.

Layout, big-endian::

    "SCF1", u32 header length (at most 64 KiB), header (JSON), u32 CRC-32 of the header
    pictures, where there are any: pictures mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u32 length of a list (JSON: type, kind, description and bytes of each), list, the pictures
    cluster, repeated: sync mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u64 media time of the first packet, varint packets, then for each packet:
              varint frame durations skipped since the end of the one before, flags and quality index (1 byte; the
              highest bit set: a byte follows with the frames of this and later packets, 1 until then), varint
              length, payload
    index, once: index mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u64 total samples, u32 clusters, for each: u64 offset, u64 media time of the first packet
    u64 offset of the index, "SCFE"

A cluster starts with a key packet, so it is a place to seek to; it holds about one second of sound, or one key period
where that is longer. A file whose writer was killed lacks the index and its last cluster; a damaged cluster is
skipped by its sync mark.
"""

from __future__ import annotations

import binascii
import json
import math
import struct
from dataclasses import dataclass, field

from streamcodec.codec.options import tier_name, tier_of
from streamcodec.codec.packet import (
    Packet,
    Tier,
)
from streamcodec.codec.varint import varint_bytes
from streamcodec.errors import FileFormatError

MAGIC = b"SCF1"
CLUSTER_MARK = b"\xc5SC\x0a"
PICTURES_MARK = b"\xc5SP\x0a"
INDEX_MARK = b"\xc5SX\x0a"
END_MAGIC = b"SCFE"
MAX_HEADER_BYTES = 1 << 16
MAX_BITSTREAM_CHARACTERS = 64
MAX_MODEL_CHARACTERS = 255
MOST_CHANNELS = {Tier.NEURAL: 2, Tier.NEAR_LOSSLESS: 2, Tier.LOSSLESS: 8}
MAX_BODY_BYTES = 1 << 24
CLUSTER_PACKETS = 50
LONG_PACKETS_PER_SECOND = 25.0
OVERHEAD_BYTES_PER_PACKET = 4 + 38 / CLUSTER_PACKETS
"""About what a packet takes besides its payload: its place in a cluster, and a share of the cluster's."""


@dataclass(frozen=True)
class FileHeader:
    """What a decoder must know before the first packet."""

    tier: Tier
    sample_rate_hz: int
    channels: int
    packets_per_second: float
    delay_samples: int
    """Lag of the coded stream behind the source on the encoder's side, at ``sample_rate_hz``."""
    model: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    bits_per_sample: int = 16
    """Depth of the source; what a lossless decoder gives, and how a decoded file is written."""
    bitstream: str = ""
    """See :mod:`streamcodec.codec.bitstream`."""

    def samples_in(self, frames: int) -> int:
        """Samples of so many frame durations, rounded down."""
        return int(frames * self.sample_rate_hz / self.packets_per_second)

    def frames_in(self, samples: int) -> int:
        """Frame durations in so many samples, rounded down."""
        return int(samples * self.packets_per_second / self.sample_rate_hz)

    def to_json(self) -> str:
        """Serialise to JSON text."""
        return json.dumps({**self.__dict__, "tier": tier_name(self.tier)})

    @classmethod
    def from_json(cls, text: str) -> FileHeader:
        """Read and check what :meth:`to_json` wrote; raises FileFormatError."""
        try:
            fields = json.loads(text)
            header = cls(
                tier=tier_of(str(fields["tier"])),
                sample_rate_hz=int(fields["sample_rate_hz"]),
                channels=int(fields["channels"]),
                packets_per_second=float(fields["packets_per_second"]),
                delay_samples=int(fields["delay_samples"]),
                model=str(fields.get("model", ""))[:MAX_MODEL_CHARACTERS],
                metadata={str(k): str(v) for k, v in dict(fields.get("metadata", {})).items()},
                bits_per_sample=int(fields.get("bits_per_sample", 16)),
                bitstream=str(fields.get("bitstream", ""))[:MAX_BITSTREAM_CHARACTERS],
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise FileFormatError(f"the file's header cannot be read ({repr(error)[:80]})") from error
        plausible = (
            1_000 <= header.sample_rate_hz <= 1_000_000
            and 1.0 <= header.packets_per_second <= 1_000.0
            and 0 <= header.delay_samples <= header.sample_rate_hz
            and 8 <= header.bits_per_sample <= (32 if header.tier is Tier.LOSSLESS else 24)
            and 1 <= header.channels <= MOST_CHANNELS[header.tier]
        )
        if not plausible:
            raise FileFormatError("the file's header holds values out of range")
        return header


@dataclass(frozen=True, slots=True)
class TimedPacket:
    """A packet and its media time in frame durations since the start of the file (never wraps)."""

    time: int
    packet: Packet


def cluster_packets(header: FileHeader) -> int:
    """How many packets (of one frame) a cluster has at least: a second of them where each takes 40 ms or more."""
    long = header.packets_per_second <= LONG_PACKETS_PER_SECOND
    return math.ceil(header.packets_per_second) if long else CLUSTER_PACKETS


def overhead_bytes(header: FileHeader, packets: int, key_period_packets: int) -> int:
    """What a file takes besides :func:`record_bytes` of its packets, of one frame each, none left out.

    Every ``key_period_packets``-th packet is a key packet.
    """
    in_cluster = key_period_packets * -(-cluster_packets(header) // key_period_packets)
    whole, rest = divmod(packets, in_cluster)
    counts = [in_cluster] * whole + [rest] * bool(rest)
    clusters = sum(12 + 8 + varint_bytes(count) + 16 for count in counts)
    return 12 + len(header.to_json().encode()) + clusters + 36


def record_bytes(payload_bytes: int) -> int:
    """What a packet of one frame takes in a cluster, where none before it is left out."""
    return 2 + varint_bytes(payload_bytes) + payload_bytes


def marked_block(mark: bytes, body: bytes) -> bytes:
    """A part of the file: its mark, its length, its body and the body's checksum."""
    return mark + struct.pack(">I", len(body)) + body + struct.pack(">I", binascii.crc32(body))
