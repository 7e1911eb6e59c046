"""Senders that keep no time and networks that keep no order: what arrives is played, and nothing falls silent."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from streamcodec.codec.packet import Packet
from streamcodec.net.drift import DriftEstimator
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, Arrival, JitterStats
from tests.helpers.simulation import Receiver, packet

Arrivals = Iterator[tuple[float, Packet]]
TEN_MINUTES = 600.0


@dataclass(frozen=True)
class Second:
    """What was played in a second, in packets."""

    played: int
    concealed: int
    silent: int


def listen(arrivals: Arrivals, seconds: float, receiver: Receiver | None = None) -> tuple[list[Second], JitterStats]:
    """Play for so long; the seconds one by one, and the counts at the end."""
    receiver = receiver or Receiver(tick_ms=20.0, keep=False)
    waiting = next(arrivals, None)
    heard: list[Second] = []
    before = receiver.buffer.stats
    for tick in range(round(1_000.0 * seconds / receiver.tick_ms)):
        now_ms = tick * receiver.tick_ms
        while waiting is not None and waiting[0] <= now_ms:
            for frame in waiting[1].each_frame():
                receiver.buffer.put(frame, waiting[0])
            waiting = next(arrivals, None)
        receiver.tick(now_ms)
        if (tick + 1) % round(1_000.0 / receiver.tick_ms) == 0:
            stats = receiver.buffer.stats
            heard.append(
                Second(
                    stats.played + stats.recovered - before.played - before.recovered,
                    stats.concealed - before.concealed,
                    stats.silent - before.silent,
                )
            )
            before = stats
    return heard, receiver.buffer.stats


def in_order(arrivals: list[tuple[float, Packet]]) -> Arrivals:
    order = [(arrival_ms, index) for index, (arrival_ms, _) in enumerate(arrivals)]
    heapq.heapify(order)
    while order:
        arrival_ms, index = heapq.heappop(order)
        yield arrival_ms, arrivals[index][1]


def steady(seconds: float, delay_ms: Callable[[int], float | None], speed: float = 1.0) -> Arrivals:
    count = round(seconds * speed * 1_000.0 / FRAME_MS)
    sent = [(index * FRAME_MS / speed, delay_ms(index), packet(index)) for index in range(count)]
    return in_order([(sent_ms + delay, out) for sent_ms, delay, out in sent if delay is not None])


@pytest.mark.parametrize(("speed", "most_concealed"), [(0.75, 0.21), (0.9, 0.03), (0.99, 0.001), (1.01, 0.001)])
def test_a_sender_slower_or_faster_than_real_time_is_followed_for_ten_minutes(
    speed: float, most_concealed: float
) -> None:
    rng = random.Random(1)
    heard, stats = listen(steady(TEN_MINUTES, lambda index: 20.0 + rng.uniform(0.0, 10.0), speed), TEN_MINUTES)
    assert min(second.played for second in heard) >= 50 * speed - 4
    assert stats.silent == 0
    assert stats.late + stats.discarded < 0.001 * stats.received
    assert stats.concealed < most_concealed * stats.received
    # What is played is what has just come: the delay does not grow with the sender's lag.
    assert stats.depth_ms < 100.0
    assert stats.restarts == 0


def test_a_sender_that_becomes_slow_and_recovers_is_followed() -> None:
    """The input of the report: on time for 5 s, at three quarters of real time for 5 s, then 1.6 s behind."""

    def arrival_ms(index: int) -> float:
        if index < 250:
            return index * 20.0
        return 5_000.0 + (index - 250) * 20.0 / 0.75 if index < 437 else index * 20.0 + 1_250.0

    heard, stats = listen(in_order([(30.0 + arrival_ms(k), packet(k)) for k in range(1_700)]), 35.0)
    assert min(second.played for second in heard) >= 34
    assert stats.discarded == stats.late == stats.silent == 0


@pytest.mark.parametrize("step_ms", [300.0, 450.0, 1_000.0, 4_000.0, 6_000.0])
def test_a_delay_that_grows_for_good_costs_no_packet(step_ms: float) -> None:
    heard, stats = listen(steady(30.0, lambda index: 30.0 + (step_ms if index > 500 else 0.0)), 30.0)
    quiet = round(step_ms / 1_000.0 + 0.9)
    assert all(second.played >= 45 for second in heard[1:10] + heard[10 + quiet :])
    assert stats.late + stats.discarded <= 2


@pytest.mark.parametrize("stall_s", [0.5, 1.0, 5.0, 30.0])
def test_after_a_stall_all_comes_at_once_and_is_played_at_once(stall_s: float) -> None:
    def delay_ms(index: int) -> float:
        return 20.0 + max(0.0, 10_000.0 + 1_000.0 * stall_s - index * FRAME_MS if index >= 500 else 0.0)

    end = 20 + round(stall_s)
    heard, stats = listen(steady(end, delay_ms), end)
    assert min(second.played for second in heard[round(11 + stall_s) :]) >= 45
    # What a second can hold is played; nobody wants to hear half a minute of the past.
    assert stats.discarded <= max(0.0, 50 * (stall_s - 1.0)) + 10
    assert stats.depth_ms < 60.0


def test_bursts_of_half_a_second_are_played_without_a_gap() -> None:
    heard, stats = listen(steady(60.0, lambda index: -(-index // 25) * 500.0 - index * FRAME_MS + 20.0), 60.0)
    assert all(second == Second(50, 0, 0) for second in heard[2:])
    assert stats.late == stats.discarded == 0


def test_duplicates_and_packets_out_of_order_cost_nothing() -> None:
    rng = random.Random(3)
    sent = []
    for index in range(1_500):
        delays_ms = [rng.choice((20.0, 35.0, 80.0)) for _ in range(rng.choice((1, 1, 2, 3)))]
        sent += [(index * FRAME_MS + delay_ms, packet(index)) for delay_ms in delays_ms]
    heard, stats = listen(in_order(sent), 29.0)
    assert all(second.played >= 49 and not second.silent for second in heard[3:])
    assert stats.duplicate > 500
    assert stats.lost == stats.discarded == 0
    assert stats.concealed < 8


def long_packets(lengths: Iterator[int], seconds: float) -> Arrivals:
    """Packets of so many frames each, sent when their last is spoken."""
    sent = []
    index = 0
    while index * FRAME_MS < 1_000.0 * seconds:
        frames = next(lengths)
        sent.append(((index + frames) * FRAME_MS + 20.0, replace(packet(index), frames=frames)))
        index += frames
    return in_order(sent)


def drawn(rng: random.Random, *lengths: int) -> Iterator[int]:
    while True:
        yield rng.choice(lengths)


def by_turns(*lengths: int) -> Iterator[int]:
    """Each length for some six seconds."""
    while True:
        for frames in lengths:
            yield from [frames] * (300 // frames)


@pytest.mark.parametrize("lengths", [(3,), (1, 3), (6,), (1, 2, 3, 6)])
def test_long_packets_alone_and_mixed(lengths: tuple[int, ...]) -> None:
    heard, stats = listen(long_packets(drawn(random.Random(4), *lengths), 30.0), 29.0)
    assert all(second.played >= 47 and not second.silent for second in heard[2:])
    assert stats.late == stats.discarded == 0
    assert stats.concealed < 12
    assert stats.depth_ms < 20.0 * max(lengths) + 30.0


def test_packets_that_change_their_length_now_and_then() -> None:
    heard, stats = listen(long_packets(by_turns(1, 3), 60.0), 59.0)
    assert all(second.played >= 46 and not second.silent for second in heard[1:])
    assert stats.late == stats.discarded == 0
    assert stats.concealed <= 3 * 5


def test_a_restarted_sender_is_believed_through_losses() -> None:
    """Every second packet of the new stream is lost, so no two follow each other."""
    before = [(20.0 + index * FRAME_MS, packet(index)) for index in range(500)]
    after = [(10_020.0 + index * FRAME_MS, packet(30_000 + index)) for index in range(0, 500, 2)]
    heard, stats = listen(in_order(before + after), 19.0)
    assert min(second.played for second in heard[11:]) >= 24
    assert stats.restarts == 1


def test_a_packet_from_far_ahead_silences_nobody() -> None:
    stray = [(5_001.0, packet(450))]
    heard, stats = listen(in_order(stray + [(20.0 + k * FRAME_MS, packet(k)) for k in range(1_000)]), 19.0)
    assert min(second.played for second in heard[1:]) >= 40
    assert stats.late + stats.discarded < 12


def test_packets_that_all_come_late_move_the_buffer_and_not_the_other_way_round() -> None:
    buffer = JitterBuffer()
    for index in range(100):
        buffer.put(packet(index), index * FRAME_MS)
        buffer.get(index * FRAME_MS)
    # Out of order all along, and already given up.
    late = [buffer.put(packet(1_000 + (index ^ 1)), 2_000.0) for index in range(4)]
    assert Arrival.RESTARTED in late
    old = [buffer.put(packet(900 + 2 * (index ^ 1)), 2_010.0) for index in range(20)]
    assert old.count(Arrival.RESTARTED) <= 1


@pytest.mark.parametrize("speed", [0.9, 0.99, 1.0, 1.01])
def test_drift_is_told_from_jitter_loss_and_steps(speed: float) -> None:
    rng = random.Random(5)
    drift = DriftEstimator()
    for index in range(1_500):
        sent_ms = index * FRAME_MS / speed
        delay_ms = rng.uniform(0.0, 40.0) + (250.0 if index > 1_000 else 0.0)
        if rng.random() > 0.1:
            drift.observe(sent_ms + delay_ms - index * FRAME_MS, sent_ms + delay_ms)
    assert drift.slope == pytest.approx(1.0 - speed, abs=0.02)
