"""Packets: exact round trip, and typed errors for everything else."""

from __future__ import annotations

import binascii
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcodec import Packet, PacketError, PacketFlags, RedundantCopy, Tier

flags = st.integers(0, 7).map(PacketFlags)
redundancy = st.builds(RedundantCopy, st.integers(1, 255), st.integers(0, 15), flags, st.binary(max_size=300))
packets = st.builds(
    Packet,
    st.sampled_from(Tier),
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.integers(0, 15),
    flags,
    st.binary(max_size=20_000),
    st.lists(redundancy, max_size=8).map(tuple),
)


@given(packets)
def test_round_trip(packet: Packet) -> None:
    assert Packet.from_bytes(packet.to_bytes()) == packet


def test_header_is_ten_bytes() -> None:
    packet = Packet(Tier.NEURAL, 1, 2, 3, PacketFlags.KEY, b"12345")
    assert len(packet.to_bytes()) == 5 + 10


@pytest.mark.parametrize(
    "bad",
    [
        {"sequence": -1},
        {"sequence": 65_536},
        {"timestamp": 70_000},
        {"quality_index": 16},
        {"payload": bytes(70_000)},
        {"redundant": tuple(RedundantCopy(1, 0, PacketFlags.NONE, b"") for _ in range(9))},
        {"flags": 8},
        {"flags": PacketFlags(99)},
        {"frames": 7},
        {"part": 1},
        {"tier": None},
        {"tier": 3},
        {"sequence": 1.5},
        {"sequence": "x"},
        {"timestamp": None},
        {"quality_index": 1.5},
        {"quality_index": True},
        {"flags": None},
        {"payload": "abc"},
        {"payload": None},
        {"payload": 3},
        {"redundant": None},
        {"redundant": (b"x",)},
        {"frames": 2.0},
        {"part": 0.0},
        {"part": "x"},
    ],
)
def test_fields_out_of_range_or_of_another_type_are_refused(bad: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "tier": Tier.NEURAL, "sequence": 0, "timestamp": 0, "quality_index": 0, "flags": PacketFlags.KEY,
        "payload": b"",
    }  # fmt: skip
    with pytest.raises(PacketError):
        Packet(**{**fields, **bad})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"age": 300},
        {"age": -1},
        {"age": 1.0},
        {"quality_index": 99},
        {"quality_index": "x"},
        {"flags": 16},
        {"flags": None},
        {"payload": bytes(70_000)},
        {"payload": "abc"},
    ],
)
def test_copies_are_checked_as_packets_are(bad: dict[str, object]) -> None:
    fields: dict[str, object] = {"age": 1, "quality_index": 0, "flags": PacketFlags.KEY, "payload": b""}
    with pytest.raises(PacketError):
        RedundantCopy(**{**fields, **bad})  # type: ignore[arg-type]


def test_what_means_the_same_becomes_the_same() -> None:
    copies = [RedundantCopy(np.int64(1), np.uint8(2), 1, memoryview(b"c"))]  # type: ignore[arg-type]
    loose = Packet(0, np.int64(1), 2, np.uint8(3), 1, bytearray(b"ab"), copies, np.int32(2), np.int8(1))  # type: ignore[arg-type]
    strict = Packet(Tier.NEURAL, 1, 2, 3, PacketFlags.KEY, b"ab", (RedundantCopy(1, 2, PacketFlags.KEY, b"c"),), 2, 1)
    assert loose == strict
    assert repr(loose) == repr(strict)


@pytest.mark.parametrize("wrong", [None, "x", 12, [1, 2]])
def test_only_bytes_are_parsed(wrong: object) -> None:
    with pytest.raises(PacketError, match="a packet to parse must be bytes"):
        Packet.from_bytes(wrong)  # type: ignore[arg-type]


def with_checksum(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "at least 10 bytes"),
        (bytes(9), "at least 10 bytes"),
        (with_checksum(b"\x20" + bytes(9)), "version 2"),
        (with_checksum(b"\x1f" + bytes(9)), "tier 15"),
        (with_checksum(b"\x10\x80" + bytes(6)), "flags"),
        (with_checksum(b"\x10\x00" + bytes(4) + b"\xff\xff\x7f" + bytes(5)), "chunk of 2097151 bytes"),
        (with_checksum(b"\x10\x00" + bytes(4) + b"\xff\xff\xff\xff" + bytes(5)), "more than three bytes"),
        (with_checksum(b"\x10\x00" + bytes(4) + b"\x00\x0f"), "15 redundant copies"),
        (with_checksum(b"\x10\x00" + bytes(4) + b"\x00\xf0"), "16 frames"),
        (with_checksum(b"\x10\x00" + bytes(4) + b"\x00\x01\x05"), "inside a redundant copy"),
        (with_checksum(b"\x10\x00" + bytes(4) + b"\x00\x00\x07"), "1 bytes more"),
    ],
)
def test_damage_is_named(data: bytes, says: str) -> None:
    with pytest.raises(PacketError, match=says):
        Packet.from_bytes(data)


def test_fuzz_hundred_thousand_damaged_packets() -> None:
    """Bit flips, cuts, noise and lying lengths under a right checksum: a packet or a PacketError, nothing else."""
    rng = random.Random(7)
    good = [
        Packet(
            Tier(rng.randrange(3)),
            rng.randrange(65_536),
            rng.randrange(65_536),
            rng.randrange(16),
            PacketFlags(rng.randrange(8)),
            rng.randbytes(rng.randrange(60)),
            tuple(RedundantCopy(1 + k, 2, PacketFlags.KEY, rng.randbytes(9)) for k in range(rng.randrange(4))),
        ).to_bytes()
        for _ in range(200)
    ]
    parsed = 0
    for case in range(100_000):
        data = bytearray(rng.choice(good))
        kind = case % 4
        if kind == 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[rng.randrange(len(data)) :]
        elif kind == 2:
            data = bytearray(rng.randbytes(rng.randrange(64)))
        else:
            data[rng.randrange(len(data) - 2)] = rng.randrange(256)
            data = bytearray(with_checksum(bytes(data[:-2])))
        try:
            packet = Packet.from_bytes(bytes(data))
        except PacketError:
            continue
        parsed += 1
        assert packet.to_bytes() == bytes(data) or len(packet.to_bytes()) <= len(data)
    # Only the cases with a mended checksum can get through, and many of those do.
    assert 1_000 < parsed < 25_000
