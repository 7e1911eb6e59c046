"""The ``.sc`` file: a bounded header, clusters of packets with sync mark and checksum, an index at the end.

Two forms, told apart by their first bytes: the usual one, and a compact one for rates at which what the usual one
adds to packets would be a third of the file.

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

The compact form::

    "SCF2", varint header length, header (JSON, short names, what is as usual left out), u32 CRC-32 of the header
    pictures, clusters, index and end as above, but for the body of a cluster:
        varint media time of the first packet, varint packets, then for each packet:
              varint 4 * length of the payload + kind
              kind 0: frames, flags and quality index are those of the packet before, and nothing is skipped; kind 1
              and 2: likewise, but the quality index is one higher, or one lower; kind 3, of which the first packet
              of a cluster is: as above varint frame durations skipped, then flags and quality index
              payload

A cluster starts with a key packet, so it is a place to seek to; it holds about one second of sound (ten in the
compact form, which is about as many bytes), or one key period where that is longer. A file whose writer was killed
lacks the index and its last cluster; a damaged cluster is skipped by its sync mark.
"""

from __future__ import annotations

import binascii
import json
import math
import struct
from dataclasses import dataclass, field
from typing import IO, Any

from streamcodec.codec.files.tags import encodable
from streamcodec.codec.options import tier_name, tier_of
from streamcodec.codec.packet import (
    Packet,
    Tier,
)
from streamcodec.codec.varint import varint, varint_bytes
from streamcodec.errors import FileFormatError

MAGIC = b"SCF1"
COMPACT_MAGIC = b"SCF2"
MAGIC_BYTES = 4
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
COMPACT_CLUSTER_S = 9.0
"""A key packet after so much sound begins a cluster of a compact file: with one each ten seconds it is the next."""
COMPACT_KEY_PERIOD_S = 10.0
COMPACT_BELOW_BPS = 2_000.0
"""Rates of a channel below which files of the neural tier are compact."""
COMPACT_PAYLOAD_BYTES = 80
"""A packet takes one byte in a compact file besides its payload, and another where that has 32 bytes or more: of
payloads that are so long on average, as good as all."""
LEAST_PAYLOAD_SHARE = 0.75
"""Payloads may take at least so much of the rate of a compact file: where a short sound's header, or long tags, would
leave less, the file exceeds the rate."""
LONG_PACKETS_PER_SECOND = 25.0
OVERHEAD_BYTES_PER_PACKET = 4 + 38 / CLUSTER_PACKETS
"""About what a packet takes besides its payload: its place in a cluster, and a share of the cluster's."""


SHORT_NAMES = {
    "tier": "t",
    "sample_rate_hz": "r",
    "channels": "c",
    "packets_per_second": "p",
    "delay_samples": "d",
    "model": "m",
    "metadata": "k",
    "bits_per_sample": "s",
    "bitstream": "b",
}
"""Fields of a compact header."""
USUAL: dict[str, Any] = {
    "tier": "neural",
    "channels": 1,
    "packets_per_second": 50.0,
    "delay_samples": 0,
    "model": "speech-24k",
    "metadata": {},
    "bits_per_sample": 16,
}
"""What a compact header leaves out. These are part of the format."""


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
    compact: bool = False
    """Of the two forms of a file which: with little beside the packets, for low rates."""

    def samples_in(self, frames: int) -> int:
        """Samples of so many frame durations, rounded down."""
        return int(frames * self.sample_rate_hz / self.packets_per_second)

    def frames_in(self, samples: int) -> int:
        """Frame durations in so many samples, rounded down."""
        return int(samples * self.packets_per_second / self.sample_rate_hz)

    def to_json(self) -> str:
        """Serialise to JSON text."""
        fields = {**self.__dict__, "tier": tier_name(self.tier)}
        del fields["compact"]
        if not self.compact:
            return json.dumps(fields)
        told = {SHORT_NAMES[name]: value for name, value in fields.items() if value != USUAL.get(name)}
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, compact: bool = False) -> FileHeader:
        """Read and check what :meth:`to_json` wrote; raises FileFormatError."""
        try:
            fields = json.loads(text)
            if compact:
                fields = USUAL | {name: fields[short] for name, short in SHORT_NAMES.items() if short in fields}
            header = cls(
                tier=tier_of(str(fields["tier"])),
                sample_rate_hz=int(fields["sample_rate_hz"]),
                channels=int(fields["channels"]),
                packets_per_second=float(fields["packets_per_second"]),
                delay_samples=int(fields["delay_samples"]),
                model=str(fields.get("model", ""))[:MAX_MODEL_CHARACTERS],
                metadata={encodable(str(k)): encodable(str(v)) for k, v in dict(fields.get("metadata", {})).items()},
                bits_per_sample=int(fields.get("bits_per_sample", 16)),
                bitstream=str(fields.get("bitstream", ""))[:MAX_BITSTREAM_CHARACTERS],
                compact=compact,
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


def begins_as_coded(start: bytes) -> bool:
    """Whether bytes begin as a ``.sc`` file does."""
    return start[:MAGIC_BYTES] in (MAGIC, COMPACT_MAGIC)


def is_coded(file: IO[bytes]) -> bool:
    """Whether an open file begins as a ``.sc`` file does; it is at its start then."""
    file.seek(0)
    coded = begins_as_coded(file.read(MAGIC_BYTES))
    file.seek(0)
    return coded


def start_of_file(header: FileHeader) -> bytes:
    """What stands before pictures and clusters; FileFormatError where that is too long."""
    text = header.to_json().encode()
    if len(text) > MAX_HEADER_BYTES:
        raise FileFormatError(f"header and metadata take {len(text)} bytes, at most {MAX_HEADER_BYTES} fit")
    start = COMPACT_MAGIC + varint(len(text)) if header.compact else MAGIC + struct.pack(">I", len(text))
    return start + text + struct.pack(">I", binascii.crc32(text))


def payload_share(
    header: FileHeader, bitrate_bps: float, packets_per_second: float, seconds: float, key_packets: int
) -> float:
    """Share (0.75 to 1) of the bitrate that payloads may take in a compact file so that the whole file meets it.

    ``bitrate_bps`` is that of all channels, in bits per second, ``packets_per_second`` counts packets, not frames,
    ``seconds`` are those of the sound, and every ``key_packets``-th packet is a key packet (1: each). Not counted are
    pictures and what the header, with its tags, and the clusters take beyond a quarter of the bitrate, as they do in
    sounds of less than ten seconds.
    """
    payload_bytes = bitrate_bps / 8.0 / packets_per_second
    record_bytes = 1.0 + payload_bytes / COMPACT_PAYLOAD_BYTES
    if key_packets > 1:
        # Flags change with a key packet and behind it: each time frames skipped, flags and quality index are told.
        record_bytes += 4.0 / key_packets
    packets = math.ceil(seconds * packets_per_second) + 1
    in_cluster = key_packets * math.ceil(COMPACT_CLUSTER_S * packets_per_second / key_packets)
    time_bytes = varint_bytes(math.ceil(seconds * header.packets_per_second))
    # Mark, length and checksum, time, count, frames of its packets, and its place in the index.
    cluster_bytes = 12 + time_bytes + varint_bytes(in_cluster) + 1 + 16
    once_bytes = len(start_of_file(header)) + 36 + -(-packets // in_cluster) * cluster_bytes
    records_bps = 8.0 * packets_per_second * record_bytes
    return max(1.0 - (records_bps + 8.0 * once_bytes / seconds) / bitrate_bps, LEAST_PAYLOAD_SHARE)


def cluster_packets(header: FileHeader) -> int:
    """How many packets (of one frame) a cluster has at least: a second of them where each takes 40 ms or more."""
    if header.compact:
        return math.ceil(COMPACT_CLUSTER_S * header.packets_per_second)
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
