"""The compact media framing: nothing is lost or altered, little is spent, late joiners find their place."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.codec.packet import Packet, PacketFlags, RedundantCopy, Tier
from streamcodec.net.fragments import Fragment
from streamcodec.net.framing import HEARTBEAT, Deframer, Framer
from streamcodec.net.report import ReceiverReport

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "golden_frames.json").read_text())
REPORT = ReceiverReport(0.1, 0.02, 1.5, 1_234, 2.5, 8.1, -12.0, 44.0, 6_100.0, 990, 10, 123_456, 120_000, 37)


def packet(index: int, frames: int = 1, pause: int = 0, **changes: object) -> Packet:
    """Packet ``index`` of ``frames`` each; ``pause`` frames before it were not sent."""
    sequence = index * frames
    fields = {
        "tier": Tier.NEURAL,
        "quality_index": 7,
        "flags": PacketFlags.KEY,
        "payload": b"sound%d" % index,
        **changes,
    }
    return Packet(sequence=sequence % 65_536, timestamp=(sequence + pause) % 65_536, frames=frames, **fields)  # type: ignore[arg-type]


class Line:
    """Framer, a transport that loses frames as told, and deframer; ``stamps`` for one with time stamps (RTP)."""

    def __init__(self, *, stamps: bool) -> None:
        self.framer = Framer(numbered=stamps)
        self.deframer = Deframer()
        self.stamps = stamps
        self.now_ms = 0.0
        self.frame_bytes: list[int] = []

    def send(self, sent: Packet, *, report: bytes | None = None, lost: bool = False) -> list[bytes]:
        self.now_ms += 20.0 * sent.frames
        frame = self.framer.frame(sent.to_bytes(), report)
        self.frame_bytes.append(len(frame))
        if lost:
            return []
        # Time stamps begin anywhere.
        return self.deframer.take(frame, self.now_ms, self.framer.unit + 7_777 if self.stamps else None)


both = pytest.mark.parametrize("stamps", [True, False])


@both
def test_packets_come_out_as_they_went_in(stamps: bool) -> None:
    line = Line(stamps=stamps)
    # Over both wraps of the 16 bits.
    for index in range(65_300, 66_000):
        sent = packet(index)
        assert line.send(sent) == [sent.to_bytes()]
    assert line.deframer.stats.damaged == line.deframer.stats.unplaced == 0


@both
def test_a_packet_takes_one_byte_beside_time_stamps_and_two_without(stamps: bool) -> None:
    line = Line(stamps=stamps)
    for index in range(1_000):
        line.send(packet(index, payload=bytes(15)))
    per_packet = sum(line.frame_bytes[50:]) / 950 - 15
    assert min(line.frame_bytes) == 15 + (1 if stamps else 2)
    assert per_packet == pytest.approx((1 if stamps else 2) + 5 / 8, abs=0.01)


@both
def test_every_length_of_packet_says_itself_which_it_is(stamps: bool) -> None:
    """Nothing but the packet itself is needed to know how much sound is in it, so lengths may change at any time."""
    line = Line(stamps=stamps)
    rng = random.Random(1)
    at = 0
    for _ in range(500):
        frames = rng.randint(1, 6)
        sent = Packet(Tier.NEURAL, at, at, rng.randint(0, 15), PacketFlags.KEY, bytes(rng.randint(0, 90)), (), frames)
        at += frames
        lost = rng.random() < 0.3 and at > 30
        assert line.send(sent, lost=lost) == ([] if lost else [sent.to_bytes()])


@both
def test_pauses_of_the_sender_keep_sequence_and_time_apart(stamps: bool) -> None:
    line = Line(stamps=stamps)
    pause = 0
    for index in range(400):
        if index % 20 == 10:
            pause += 37
            line.now_ms += 740.0
        sent = packet(
            index, pause=pause, flags=PacketFlags.KEY | PacketFlags.SILENCE if index % 3 else PacketFlags.KEY
        )
        # One lost packet right after a pause does no harm.
        lost = index % 40 == 10
        assert line.send(sent, lost=lost) == ([] if lost else [sent.to_bytes()])


@both
@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_a_late_joiner_finds_its_place_within_half_a_second_at_ten_percent_loss(stamps: bool, frames: int) -> None:
    rng = random.Random(frames)
    waits_ms = []
    for trial in range(400):
        line = Line(stamps=stamps)
        late = 20 + trial % 9
        for index in range(late):
            line.send(packet(index, frames), lost=True)
        joined_ms = line.now_ms
        lost = False
        for index in range(late, late + 60):
            sent = packet(index, frames)
            # A tenth is lost, in bursts of two on average, as on real paths.
            lost = rng.random() < (0.5 if lost else 0.5 * 0.1 / 0.9)
            if line.send(sent, lost=lost):
                waits_ms.append(line.now_ms - joined_ms)
                break
    assert len(waits_ms) == 400
    assert sorted(waits_ms)[395] <= 500.0


def test_after_a_long_silence_eight_bits_are_not_believed() -> None:
    line = Line(stamps=False)
    for index in range(30):
        line.send(packet(index))
    for index in range(30, 30 + 256 + 100):
        line.send(packet(index), lost=True)
    got = [line.send(packet(index)) for index in range(386, 406)]
    # The first ones may be left out, none may come out as another.
    for index, datagrams in zip(range(386, 406), got, strict=True):
        assert datagrams in ([], [packet(index).to_bytes()])
    assert sum(map(len, got)) >= 12


@both
def test_redundancy_costs_two_bytes_and_comes_out_whole(stamps: bool) -> None:
    line = Line(stamps=stamps)
    line.send(packet(0))
    plain, sent = packet(40, payload=bytes(15)), packet(41, payload=bytes(15))
    redundancy = (
        RedundantCopy(1, 3, PacketFlags.KEY, b"one"),
        RedundantCopy(2, 2, PacketFlags.KEY | PacketFlags.SILENCE, b""),
        RedundantCopy(7, 1, PacketFlags.NONE, bytes(200)),
    )
    line.send(plain)
    for count in range(1, 4):
        full = Packet(Tier.NEURAL, 41, 41, 7, PacketFlags.KEY, bytes(15), redundancy[:count])
        assert line.send(full) == [full.to_bytes()]
    line.framer = Framer(numbered=stamps)
    for _ in range(4):
        line.send(sent)
    alone = line.frame_bytes[-1]
    line.send(Packet(Tier.NEURAL, 41, 41, 7, PacketFlags.KEY, bytes(15), redundancy[:1]))
    assert line.frame_bytes[-1] == alone + 2 + len(redundancy[0].payload)


@both
def test_reports_pieces_and_strange_datagrams_pass_too(stamps: bool) -> None:
    line = Line(stamps=stamps)
    sent, report = packet(3), REPORT.to_bytes()
    assert line.send(sent, report=report) == [report, sent.to_bytes()]
    end = packet(4, flags=PacketFlags.KEY | PacketFlags.END)
    assert line.send(end) == [end.to_bytes()]
    for datagram in (report, Fragment(0, 2, 9, b"piece").to_bytes(), b"anything", bytes(1_070)):
        assert line.deframer.take(line.framer.frame(datagram), line.now_ms, 0 if stamps else None) == [datagram]
    assert line.deframer.take(HEARTBEAT, line.now_ms) == []
    assert line.deframer.stats.damaged == 0


def test_another_version_of_the_framing_is_not_played() -> None:
    deframer = Deframer()
    frame = bytearray(Framer().frame(packet(0).to_bytes()))
    frame[0] ^= 0x0C
    assert deframer.take(bytes(frame), 0.0) == []
    assert deframer.stats.damaged == 1


@given(st.binary(max_size=60), st.booleans(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_nothing_raises(frame: bytes, stamps: bool, placed: bool) -> None:
    deframer = Deframer()
    if placed:
        deframer.take(Framer(numbered=stamps).frame(packet(0).to_bytes()), 0.0, 0 if stamps else None)
    for datagram in deframer.take(frame, 20.0, 1 if stamps else None):
        assert isinstance(datagram, bytes)


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: str(entry["name"]))
def test_golden_frames_stay_to_the_byte(entry: dict[str, object]) -> None:
    """Datagrams of one path in order, and what travels: the wire format of version 1."""
    stamps = bool(entry["time_stamps"])
    framer, deframer = Framer(numbered=stamps), Deframer()
    steps = entry["steps"]
    assert isinstance(steps, list)
    for step in steps:
        datagram = bytes.fromhex(step["datagram"])
        report = bytes.fromhex(step["report"]) if "report" in step else None
        frame = framer.frame(datagram, report)
        assert frame.hex() == step["frame"]
        expected = [datagram] if report is None else [report, datagram]
        assert deframer.take(frame, step["at_ms"], framer.unit if stamps else None) == expected
