"""Packets longer than a datagram: cut, lost, shuffled, put together."""

from __future__ import annotations

import random

import pytest

from streamcodec.errors import PacketError
from streamcodec.net.fragments import (
    MAX_PIECE_BYTES,
    MAX_PIECES,
    MAX_WHOLE_BYTES,
    Fragment,
    Fragmenter,
    Reassembler,
    is_fragment,
    pieces_of,
)
from streamcodec.net.signalling import MAX_DATAGRAM_BYTES

SIZES = [1, MAX_WHOLE_BYTES, MAX_WHOLE_BYTES + 1, 2 * MAX_PIECE_BYTES, 2 * MAX_PIECE_BYTES + 1, 60_030]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_cut_is_put_together_in_any_order(size: int) -> None:
    packet = random.Random(size).randbytes(size)
    datagrams = Fragmenter().split(packet)
    assert len(datagrams) == pieces_of(size)
    # Sealed end to end, a datagram gains 29 bytes.
    assert max(map(len, datagrams)) + 29 <= MAX_DATAGRAM_BYTES
    if size <= MAX_WHOLE_BYTES:
        assert datagrams == [packet]
        return
    assert all(map(is_fragment, datagrams))
    random.Random(1).shuffle(datagrams)
    receiver = Reassembler()
    whole = [receiver.add(datagram, 0.0) for datagram in [*datagrams[:-1], datagrams[0], datagrams[-1]]]
    assert whole == [None] * len(datagrams) + [packet]
    # Pieces that come once more change nothing.
    assert [receiver.add(datagram, 1.0) for datagram in datagrams] == [None] * len(datagrams)
    assert (receiver.incomplete, receiver.held_bytes) == (0, 0)


def test_a_lost_piece_loses_its_packet_and_no_other() -> None:
    sender, receiver = Fragmenter(), Reassembler()
    packets = [random.Random(index).randbytes(3_000) for index in range(40)]
    heard = []
    for index, packet in enumerate(packets):
        for number, datagram in enumerate(sender.split(packet)):
            if index % 10 == 3 and number == 1:
                continue
            whole = receiver.add(datagram, 20.0 * index)
            if whole is not None:
                heard.append(whole)
    assert heard == [packet for index, packet in enumerate(packets) if index % 10 != 3]
    receiver.add(sender.split(packets[0])[0], 10_000.0)
    assert receiver.incomplete == 4


def test_memory_is_bounded_in_packets_and_in_time() -> None:
    sender, receiver = Fragmenter(), Reassembler()
    for index in range(200):
        for datagram in sender.split(bytes(60_000))[:-1]:
            receiver.add(datagram, float(index))
        assert receiver.held_bytes <= Reassembler.CAPACITY_PACKETS * 60_000
    assert receiver.incomplete == 200 - Reassembler.CAPACITY_PACKETS
    receiver.add(sender.split(bytes(2_000))[0], 5_000.0)
    assert receiver.held_bytes == 1_000
    assert receiver.incomplete == 200


def test_numbers_wrap() -> None:
    sender, receiver = Fragmenter(), Reassembler()
    for index in range(65_540):
        datagrams = sender.split(bytes(MAX_WHOLE_BYTES + 1))
        if index >= 65_530:
            assert [receiver.add(datagram, 0.0) for datagram in datagrams] == [None, bytes(MAX_WHOLE_BYTES + 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1b",
        b"\x1b\x00\x02\x00\x00",
        b"\x1b\x02\x02\x00\x00x",
        b"\x1b\x00\x01\x00\x00x",
        b"\x1b\x00\x41\x00\x00x",
        b"\x2b\x00\x02\x00\x00x",
        b"\x1b\x00\x02\x00\x00" + bytes(MAX_PIECE_BYTES + 1),
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        Fragment.from_bytes(data)


def test_pieces_that_contradict_each_other_and_packets_beyond_all_bounds_are_refused() -> None:
    receiver = Reassembler()
    receiver.add(Fragment(0, 2, 7, b"x").to_bytes(), 0.0)
    with pytest.raises(PacketError, match="of 3 where"):
        receiver.add(Fragment(1, 3, 7, b"x").to_bytes(), 0.0)
    with pytest.raises(PacketError, match="2 to 64"):
        Fragmenter().split(bytes(MAX_PIECES * MAX_PIECE_BYTES + 1))
