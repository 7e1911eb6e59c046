"""Rings: order over many wraps, what does not fit, what is missing, and two threads at once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from streamcodec.errors import AudioFormatError
from streamcodec.live.ring_buffer import RingBuffer, Samples
from streamcodec.live.wake_up import WakeUp
from tests.helpers.traced_memory import traced_stretches


def counting(start: int, count: int) -> Samples:
    return np.arange(start, start + count, dtype=np.float32)


def take(ring: RingBuffer, count: int) -> list[float]:
    out = np.full(count, -1.0, np.float32)
    ring.read_into(out)
    return out.tolist()


@pytest.mark.parametrize("capacity", [1, 7, 480, 1_000])
@pytest.mark.parametrize("block", [1, 3, 480])
def test_order_survives_every_wrap(capacity: int, block: int) -> None:
    ring = RingBuffer(capacity)
    block = min(block, capacity)
    for k in range(3 * capacity // block + 10):
        assert ring.write(counting(k * block, block)) == block
        assert take(ring, block) == counting(k * block, block).tolist()
    assert ring.overflowed_samples == ring.missing_samples == ring.available_samples == 0


def test_what_does_not_fit_is_refused_and_counted() -> None:
    ring = RingBuffer(5)
    assert ring.write(counting(1, 3)) == 3
    assert ring.write(counting(4, 4)) == 2
    assert ring.overflowed_samples == 2
    assert ring.free_samples == 0
    assert take(ring, 5) == [1, 2, 3, 4, 5]
    assert ring.free_samples == 5


def test_what_is_missing_is_zero_and_counted() -> None:
    ring = RingBuffer(5)
    ring.write(counting(1, 2))
    assert take(ring, 4) == [1, 2, 0, 0]
    assert ring.missing_samples == 2
    assert take(ring, 1) == [0]


def test_pairs_stay_pairs() -> None:
    ring = RingBuffer(4, channels=2)
    out = np.zeros((3, 2), np.float32)
    for k in range(5):
        pair = np.stack([counting(3 * k, 3), -counting(3 * k, 3)], axis=1)
        assert ring.write(pair) == 3
        assert ring.read_into(out) == 3
        assert np.array_equal(out, pair)


@pytest.mark.parametrize(("capacity", "channels"), [(0, 1), (-3, 1), (10, 0)])
def test_impossible_sizes_are_refused(capacity: int, channels: int) -> None:
    with pytest.raises(AudioFormatError, match="at least 1"):
        RingBuffer(capacity, channels)


def test_two_threads_lose_and_reorder_nothing() -> None:
    ring, total = RingBuffer(97), 100_000
    sizes = np.random.default_rng(0).integers(1, 60, total)

    def produce() -> None:
        sent = 0
        for size in sizes:
            block = counting(sent, min(int(size), total - sent))
            # What is refused is offered again: nothing may be lost on the way.
            while len(block):
                block = block[ring.write(block) :]
                time.sleep(0)
            sent += int(min(size, total - sent))
            if sent == total:
                return

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    received = np.zeros(total, np.float32)
    done = 0
    while done < total:
        done += ring.read_into(received[done : done + min(50, total - done)])
        time.sleep(0)
    producer.join(10)
    assert not producer.is_alive()
    assert np.array_equal(received, counting(0, total))


def test_reading_and_writing_make_no_arrays() -> None:
    ring, block, out = RingBuffer(4_800), counting(0, 480), np.zeros(480, np.float32)

    def pass_on(times: int) -> None:
        for _ in range(times):
            ring.write(block)
            ring.read_into(out)

    (stretch,) = traced_stretches(lambda: pass_on(1), lambda: pass_on(1_000), 1)
    assert stretch.peak_bytes < block.nbytes


def test_a_wake_up_counts_once_and_never_blocks_who_rings() -> None:
    wake_up = WakeUp()
    assert not wake_up.wait(0.0)
    wake_up.ring()
    wake_up.ring()
    assert wake_up.wait(0.0)
    assert not wake_up.wait(0.0)
    woken = threading.Event()
    waiter = threading.Thread(target=lambda: wake_up.wait(10.0) and woken.set())
    waiter.start()
    wake_up.ring()
    assert woken.wait(5.0)
    waiter.join(5.0)
