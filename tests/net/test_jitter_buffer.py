"""The whole buffer is asserted after each step, on a clock that only the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcodec.codec.packet import Packet, PacketFlags
from streamcodec.errors import PacketError, StreamcodecError
from streamcodec.net.delay_estimator import DelayConfig
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, Arrival, JitterConfig, Lost, Play, Silence, TimeScale, Wait
from streamcodec.net.wrapped_numbers import extend
from tests.helpers.simulation import Receiver, packet, run

WRAP = 65536


def units(buffer: JitterBuffer) -> list[int]:
    """Units held, without the wrap offset; a rebuilt copy is negative."""
    return [-(unit - WRAP) if rebuilt else unit - WRAP for unit, rebuilt in buffer.contents]


def accounted(buffer: JitterBuffer) -> bool:
    stats = buffer.stats
    return stats.received == stats.played + stats.late + stats.discarded + stats.held


def played(decision: object) -> bytes:
    assert isinstance(decision, Play)
    return decision.packet.payload


def primed(count: int = 2, redundancy: int = 0) -> tuple[JitterBuffer, float]:
    """A buffer that has just played packet 0 of ``count`` that arrived 20 ms apart; and the time."""
    buffer = JitterBuffer()
    for index in range(count):
        buffer.put(packet(index, redundancy=redundancy), index * 20.0)
    now_ms = max((count - 1) * 20.0, 40.0)
    assert played(buffer.get(now_ms)) == b"p0"
    return buffer, now_ms


def test_a_stream_is_gathered_before_it_is_played() -> None:
    buffer = JitterBuffer()
    assert buffer.get(0.0) == Wait()
    assert buffer.put(packet(0), 0.0) is Arrival.HELD
    assert buffer.get(5.0) == Wait()
    assert units(buffer) == [0]
    assert buffer.put(packet(1), 20.0) is Arrival.HELD
    assert units(buffer) == [0, 1]
    assert played(buffer.get(40.0)) == b"p0"
    assert units(buffer) == [1]
    assert played(buffer.get(60.0)) == b"p1"
    assert units(buffer) == []
    assert accounted(buffer)


def test_reordered_packets_are_played_in_order() -> None:
    buffer = JitterBuffer()
    for index, arrival_ms in ((1, 20.0), (0, 21.0), (3, 60.0), (2, 62.0)):
        assert buffer.put(packet(index), arrival_ms) is Arrival.HELD
        assert accounted(buffer)
    assert units(buffer) == [0, 1, 2, 3]
    assert [played(buffer.get(70.0 + 20 * i)) for i in range(4)] == [b"p0", b"p1", b"p2", b"p3"]
    assert buffer.stats.lost == 0


def test_duplicates_are_counted_and_dropped() -> None:
    buffer, now_ms = primed(3)
    assert buffer.put(packet(1), now_ms) is Arrival.DUPLICATE
    assert buffer.put(packet(0), now_ms) is Arrival.DUPLICATE
    assert units(buffer) == [1, 2]
    stats = buffer.stats
    assert (stats.received, stats.duplicate, stats.held, stats.late) == (3, 2, 2, 0)


def test_a_hole_with_something_behind_it_is_concealed_once_and_counted_lost() -> None:
    buffer, _ = primed(2)
    behind = packet(3)
    buffer.put(behind, 60.0)
    assert units(buffer) == [1, 3]
    assert played(buffer.get(60.0)) == b"p1"
    assert buffer.get(80.0) == Lost(underrun=False, following=behind)
    assert units(buffer) == [3]
    assert played(buffer.get(100.0)) == b"p3"
    stats = buffer.stats
    assert (stats.lost, stats.concealed, stats.recovered, stats.underruns) == (1, 1, 0, 0)


def test_a_packet_after_its_turn_is_late_and_no_longer_lost() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(3), 60.0)
    for now_ms in (60.0, 80.0):
        buffer.get(now_ms)
    assert buffer.stats.lost == 1
    assert buffer.put(packet(2), 90.0) is Arrival.LATE
    assert units(buffer) == [3]
    stats = buffer.stats
    assert (stats.lost, stats.late, stats.concealed) == (0, 1, 1)
    assert accounted(buffer)


def test_a_redundant_copy_fills_a_hole() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(3, redundancy=2), 60.0)
    assert units(buffer) == [1, -2, 3]
    assert played(buffer.get(60.0)) == b"p1"
    decision = buffer.get(80.0)
    assert isinstance(decision, Play)
    assert decision.recovered
    assert (decision.packet.payload, decision.packet.quality_index, decision.packet.timestamp) == (b"c2", 2, 2)
    assert played(buffer.get(100.0)) == b"p3"
    stats = buffer.stats
    assert (stats.lost, stats.recovered, stats.concealed) == (1, 1, 0)


def test_the_primary_replaces_its_copy() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(3, redundancy=1), 60.0)
    assert units(buffer) == [1, -2, 3]
    assert buffer.put(packet(2), 61.0) is Arrival.HELD
    assert units(buffer) == [1, 2, 3]
    buffer.put(packet(4, redundancy=2), 80.0)
    assert units(buffer) == [1, 2, 3, 4]
    assert [played(buffer.get(60.0 + 20 * i)) for i in range(4)] == [b"p1", b"p2", b"p3", b"p4"]
    assert buffer.stats.recovered == 0


def test_an_empty_buffer_waits_and_does_not_give_the_unit_up() -> None:
    buffer, _ = primed(2)
    assert played(buffer.get(60.0)) == b"p1"
    for now_ms in (80.0, 100.0, 120.0):
        assert buffer.get(now_ms) == Lost(underrun=True)
        assert buffer.next_timestamp == WRAP + 2
    for index in range(2, 6):
        buffer.put(packet(index), 130.0)
    assert units(buffer) == [2, 3, 4, 5]
    assert played(buffer.get(140.0)) == b"p2"
    stats = buffer.stats
    assert (stats.underruns, stats.concealed, stats.late, stats.lost) == (3, 3, 0, 0)


def test_what_was_concealed_while_waiting_stands_for_what_was_lost() -> None:
    buffer, _ = primed(2)
    assert played(buffer.get(60.0)) == b"p1"
    assert buffer.get(80.0) == Lost(underrun=True)
    assert buffer.get(100.0) == Lost(underrun=True)
    buffer.put(packet(4), 110.0)
    assert played(buffer.get(120.0)) == b"p4"
    stats = buffer.stats
    assert (stats.lost, stats.concealed) == (2, 2)


def test_sequence_and_timestamp_wrap() -> None:
    buffer = JitterBuffer()
    first = 65_533
    out = []
    for step in range(8):
        buffer.put(packet(first + step), step * 20.0)
        decision = buffer.get(step * 20.0 + 19.0)
        if isinstance(decision, Play):
            out.append(decision.packet.timestamp)
        assert accounted(buffer)
    assert out == [65_533, 65_534, 65_535, 0, 1, 2, 3]
    assert buffer.stats.lost == 0


@given(near=st.integers(0, 1 << 40), offset=st.integers(-32_768, 32_767))
def test_extension_finds_the_nearest_number(near: int, offset: int) -> None:
    assert extend((near + offset) % WRAP, near) == near + offset


def test_a_pause_in_transmission_is_silence_and_not_loss() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(2, flags=PacketFlags.SILENCE), 40.0)
    assert [played(buffer.get(60.0)), played(buffer.get(80.0))] == [b"p1", b"p2"]
    for now_ms in range(100, 2000, 20):
        assert buffer.get(now_ms) == Silence()
    # Sound returns 100 packet durations later; sequence numbers go on without a hole.
    buffer.put(packet(100, sequence=3), 2000.0)
    assert units(buffer) == [100]
    assert buffer.get(2005.0) == Silence()
    assert played(buffer.get(2000.0 + buffer.stats.target_ms)) == b"p100"
    stats = buffer.stats
    assert (stats.lost, stats.concealed, stats.underruns) == (0, 0, 0)


def test_a_jump_in_time_without_a_jump_in_sequence_is_a_pause_even_without_a_flag() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(10, sequence=2), 200.0)
    assert played(buffer.get(205.0)) == b"p1"
    assert buffer.get(210.0) == Silence()
    assert played(buffer.get(240.0)) == b"p10"
    assert (buffer.stats.lost, buffer.stats.concealed) == (0, 0)


def test_silence_longer_than_the_timestamp_wraps() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(2, flags=PacketFlags.SILENCE), 40.0)
    buffer.get(60.0)
    buffer.get(80.0)
    later = 70_000
    assert buffer.put(packet(later, sequence=3), later * FRAME_MS) is Arrival.HELD
    assert units(buffer) == [later]
    assert played(buffer.get(later * FRAME_MS + 60.0)) == b"p70000"
    assert buffer.stats.restarts == 0


def test_a_restarted_sender_is_believed_at_its_second_packet() -> None:
    buffer, _ = primed(2)
    assert buffer.put(packet(30_000), 100.0) is Arrival.SUSPECT
    assert units(buffer) == [1]
    assert buffer.put(packet(30_001), 120.0) is Arrival.RESTARTED
    assert units(buffer) == [30_000, 30_001]
    assert played(buffer.get(150.0)) == b"p30000"
    stats = buffer.stats
    assert (stats.restarts, stats.discarded, stats.suspect, stats.lost) == (1, 1, 0, 0)
    assert accounted(buffer)


def long_packet(index: int, frames: int = 6) -> tuple[Packet, ...]:
    """Packet number ``index`` of a stream of long ones, frame by frame."""
    return replace(packet(index * frames), frames=frames).each_frame()


def test_a_long_packet_that_comes_twice_or_late_is_no_restarted_sender() -> None:
    receiver = Receiver()
    for index in range(60):
        now_ms = 120.0 * index
        late = index % 10 == 7
        for frame in () if late else long_packet(index):
            receiver.buffer.put(frame, now_ms)
        for frame in long_packet(index - 1) if index % 10 in (3, 8) else ():
            receiver.buffer.put(frame, now_ms + 5.0)
        for tick in range(12):
            receiver.tick(now_ms + 10.0 * tick)
    stats = receiver.buffer.stats
    # Twice: every tenth. Late: those that came with the packet after them.
    assert (stats.restarts, stats.duplicate, stats.lost, stats.suspect) == (0, 36, 0, 0)
    assert accounted(receiver.buffer)


def test_a_restarted_sender_of_long_packets_is_believed_at_its_second_packet() -> None:
    receiver = Receiver()
    for index in range(10):
        for frame in long_packet(index):
            receiver.buffer.put(frame, 120.0 * index)
    arrivals = [
        [receiver.buffer.put(frame, at_ms) for frame in long_packet(k)]
        for k, at_ms in ((5_000, 1_300.0), (5_001, 1_420.0))
    ]
    assert arrivals[0] == 6 * [Arrival.SUSPECT]
    assert arrivals[1] == [Arrival.RESTARTED, *5 * [Arrival.HELD]]
    assert units(receiver.buffer) == list(range(30_000, 30_012))
    stats = receiver.buffer.stats
    assert (stats.restarts, stats.suspect) == (1, 0)
    assert accounted(receiver.buffer)


def test_a_restarted_sender_of_long_packets_is_noticed_by_what_it_sends_again() -> None:
    receiver = Receiver()
    for index in range(20):
        for frame in long_packet(index):
            receiver.buffer.put(frame, 120.0 * index)
        for tick in range(12):
            receiver.tick(120.0 * index + 10.0 * tick)
    arrivals = [[receiver.buffer.put(frame, 2_400.0 + 120.0 * k) for frame in long_packet(k)] for k in range(5)]
    assert [first for first, *_ in arrivals] == [*4 * [Arrival.DUPLICATE], Arrival.RESTARTED]


def test_one_stray_packet_changes_nothing() -> None:
    buffer, _ = primed(3)
    assert buffer.put(packet(30_000), 50.0) is Arrival.SUSPECT
    assert buffer.put(packet(3), 60.0) is Arrival.HELD
    assert buffer.put(packet(40_000), 61.0) is Arrival.SUSPECT
    assert units(buffer) == [1, 2, 3]
    assert buffer.stats.suspect == 2
    assert buffer.stats.restarts == 0


def test_a_sender_that_restarts_within_its_first_seconds_is_noticed() -> None:
    receiver = Receiver()
    end_ms = run(receiver, 100, delay_ms=lambda index: 20.0)
    arrivals = [receiver.buffer.put(packet(index), end_ms + 20.0 * index) for index in range(8)]
    assert arrivals[4] is Arrival.RESTARTED
    assert arrivals[5:] == [Arrival.HELD] * 3
    assert units(receiver.buffer) == [4, 5, 6, 7]
    assert accounted(receiver.buffer)


def test_a_new_stream_after_an_end() -> None:
    buffer, _ = primed(2)
    buffer.put(packet(2, flags=PacketFlags.END), 40.0)
    assert [played(buffer.get(60.0)), played(buffer.get(80.0))] == [b"p1", b"p2"]
    assert buffer.get(100.0) == Wait()
    assert buffer.put(packet(0), 1000.0) is Arrival.DUPLICATE
    assert buffer.put(packet(1), 1020.0) is Arrival.RESTARTED
    assert units(buffer) == [1]


def test_memory_is_bounded_when_nobody_plays() -> None:
    buffer = JitterBuffer()
    for index in range(2_000):
        buffer.put(packet(index), 20.0 * index)
        assert len(buffer.contents) <= JitterBuffer.CAPACITY_FRAMES
        assert accounted(buffer)
    assert units(buffer)[-1] == 1_999
    decision = buffer.get(40_000.0)
    # What is older than the largest delay is skipped, not played.
    assert played(decision) == b"p1947"
    assert accounted(buffer)


def test_bounds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(StreamcodecError, match="minimum <= initial <= maximum"):
        DelayConfig(minimum_ms=50.0, initial_ms=40.0)
    with pytest.raises(StreamcodecError, match="quantile"):
        DelayConfig(quantile=1.0)
    with pytest.raises(StreamcodecError, match="resync_ms"):
        JitterConfig(resync_ms=100.0)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("carrier_quantile", 1.0),
        ("worth", 1.5),
        ("window_packets", 7),
        ("window_packets", 8.5),
        ("spike_recurrence", 0),
        ("spike_recurrence", 2.5),
    ],
)
def test_settings_of_the_delay_stay_within_what_the_estimator_can_do(field: str, wrong: Any) -> None:
    with pytest.raises(StreamcodecError, match=f"{field} must be "):
        DelayConfig(**{field: wrong})
    assert DelayConfig(window_packets=50.0).window_packets == 50  # type: ignore[arg-type]


def test_scaling_is_asked_for_in_the_right_direction() -> None:
    receiver = Receiver()
    run(receiver, 400, delay_ms=lambda index: 20.0 if index < 200 else 100.0)
    scales = [decision.scale for decision in receiver.decisions if isinstance(decision, Play)]
    assert TimeScale.ACCELERATE_NOW not in scales[:195]
    early = Receiver()
    run(early, 400, delay_ms=lambda index: 160.0 if index < 5 else 20.0)
    scales = [decision.scale for decision in early.decisions if isinstance(decision, Play)]
    assert TimeScale.ACCELERATE_NOW in scales
    assert early.buffer.stats.depth_ms <= 30.0


def test_packets_of_several_frames_are_taken_frame_by_frame() -> None:
    whole, apart = JitterBuffer(), JitterBuffer()
    for index in range(20):
        sent = replace(packet(3 * index), frames=3)
        assert whole.put(sent, 60.0 * index) is Arrival.HELD
        for frame in sent.each_frame():
            apart.put(frame, 60.0 * index)
        for tick in range(3):
            now_ms = 60.0 * index + 20.0 * tick
            assert whole.get(now_ms) == apart.get(now_ms)
    assert whole.stats == apart.stats
    assert whole.stats.played > 50
    assert whole.stats.concealed == 0


@pytest.mark.parametrize("wrong", [None, b"x", "x", 5])
def test_what_is_no_packet_is_refused(wrong: object) -> None:
    with pytest.raises(PacketError, match="a jitter buffer takes Packet objects"):
        JitterBuffer().put(wrong, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), None, "x", True])
def test_a_time_that_is_none_spoils_nothing(wrong: float) -> None:
    buffer, now_ms = primed()
    with pytest.raises(StreamcodecError, match="arrival_ms must be a number"):
        buffer.put(packet(2), wrong)
    with pytest.raises(StreamcodecError, match="now_ms must be a number"):
        buffer.get(wrong)
    assert buffer.put(packet(2), 40) is Arrival.HELD
    assert played(buffer.get(now_ms + 20)) == b"p1"


@pytest.mark.parametrize("wrong", [0, -1, "x", None, float("nan")])
def test_the_length_of_a_frame_is_checked(wrong: float) -> None:
    with pytest.raises(StreamcodecError, match="frame_ms must be"):
        JitterConfig(frame_ms=wrong)
