"""The jitter buffer over minutes of simulated network: stalls, spikes, drift, and every packet accounted for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, Play
from streamcodec.net.wrapped_numbers import extend
from tests.helpers.simulation import Receiver, packet, run

WRAP = 65536


def accounted(buffer: JitterBuffer) -> bool:
    stats = buffer.stats
    return stats.received == stats.played + stats.late + stats.discarded + stats.held


def test_without_jitter_the_delay_stays_near_the_minimum() -> None:
    receiver = Receiver()
    run(receiver, 2_000, delay_ms=lambda index: 20.0)
    stats = receiver.buffer.stats
    assert stats.target_ms == 12.0
    assert stats.depth_ms <= 24.0
    assert (stats.concealed, stats.late, stats.lost) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("redundancy", [0, 2])
def test_after_a_stall_the_depth_is_back_within_two_seconds(redundancy: int, seed: int) -> None:
    """5 % loss and 30 ms of jitter all along; the network stalls for 300 ms at t = 20 s."""
    rng = random.Random(seed)
    stall_ends = 1_015

    def delay_ms(index: int) -> float | None:
        if rng.random() < 0.05:
            return None
        stall_ms = (stall_ends - index) * FRAME_MS if 1_000 <= index < stall_ends else 0.0
        return 20.0 + rng.uniform(0.0, 30.0) + stall_ms

    receiver = Receiver()
    watched: list[tuple[float, float, float]] = []

    def watch(now_ms: float) -> None:
        stats = receiver.buffer.stats
        watched.append((now_ms, stats.depth_ms, stats.target_ms))

    run(receiver, 1_300, delay_ms=delay_ms, make=lambda i: packet(i, redundancy=redundancy), each_tick=watch)
    end_ms = (stall_ends + 1) * FRAME_MS + 50.0
    before_ms = max(target_ms for now_ms, _, target_ms in watched if 15_000 <= now_ms < 20_000)
    assert max(depth_ms for now_ms, depth_ms, _ in watched if now_ms < end_ms + 500) > 250.0
    within = [now_ms for now_ms, depth_ms, _ in watched if now_ms > end_ms + 300 and depth_ms <= before_ms + 25.0]
    assert within[0] < end_ms + 2_000.0
    # And from there on the depth keeps to its target, but for the odd packet waited for.
    after = [(depth_ms, target_ms) for now_ms, depth_ms, target_ms in watched if now_ms > end_ms + 2_000]
    assert sum(depth_ms <= target_ms + 25.0 for depth_ms, target_ms in after) > 0.95 * len(after)
    assert accounted(receiver.buffer)


def test_spikes_that_keep_coming_keep_the_delay_up() -> None:
    def delay_ms(index: int) -> float:
        phase = index % 100
        return 20.0 + (8 - phase) * FRAME_MS if index >= 300 and phase < 8 else 20.0

    receiver = Receiver()
    run(receiver, 1_500, delay_ms=delay_ms)
    before = receiver.buffer.stats
    assert before.target_ms > 120.0
    run_on = Receiver(buffer=receiver.buffer)
    assert run_on.buffer.stats.underruns < 3 * 8


def test_a_lasting_change_of_delay_is_followed_both_ways() -> None:
    receiver = Receiver()
    run(receiver, 2_000, delay_ms=lambda index: 20.0 if index < 500 or index > 1_200 else 140.0)
    stats = receiver.buffer.stats
    assert stats.depth_ms <= 30.0
    assert stats.concealed <= 8


@pytest.mark.parametrize("drift", [-200e-6, 200e-6])
def test_one_simulated_hour_of_drift_jitter_and_loss(drift: float) -> None:
    rng = random.Random(11)
    hour = 180_000

    def delay_ms(index: int) -> float | None:
        return None if rng.random() < 0.02 else 20.0 + rng.uniform(0.0, 20.0)

    receiver = Receiver(tick_ms=20.0, keep=False)
    deepest = 0.0

    def watch(now_ms: float) -> None:
        nonlocal deepest
        if now_ms % 200.0 == 0.0:
            deepest = max(deepest, receiver.buffer.stats.depth_ms)

    end_ms = run(receiver, hour, delay_ms=delay_ms, drift=drift, each_tick=watch)
    stats = receiver.buffer.stats
    assert abs(end_ms - hour * FRAME_MS) > 600.0
    assert deepest < 100.0
    assert accounted(receiver.buffer)
    assert stats.received + stats.lost == hour
    assert stats.late + stats.discarded < 0.002 * hour
    # Concealment is what was lost, and hardly anything besides: drift is absorbed by time scaling.
    assert stats.lost <= stats.concealed + 5 < 1.15 * stats.lost
    assert stats.restarts == 0
    assert len(receiver.buffer.contents) < 8


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30), rate=st.sampled_from([0.0, 0.1, 0.4]), jitter_ms=st.sampled_from([0.0, 40.0, 250.0])
)
def test_every_packet_is_accounted_for(seed: int, rate: float, jitter_ms: float) -> None:
    rng = random.Random(seed)
    receiver = Receiver(tick_ms=rng.choice([5.0, 10.0, 20.0]))
    sent = 0

    def delay_ms(index: int) -> float | None:
        nonlocal sent
        if rng.random() < rate:
            return None
        sent += 1
        return rng.uniform(0.0, jitter_ms)

    first = rng.randrange(WRAP)
    run(receiver, 200, delay_ms=delay_ms, first=first, make=lambda i: packet(i, redundancy=rng.randrange(3)))
    stats = receiver.buffer.stats
    assert stats.received == sent
    assert accounted(receiver.buffer)
    heard = [decision.packet.timestamp for decision in receiver.decisions if isinstance(decision, Play)]
    order = [extend(timestamp, first) for timestamp in heard]
    assert order == sorted(set(order))
    assert len(heard) == stats.played + stats.recovered
