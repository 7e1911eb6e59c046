"""Which earlier packets should ride along with each packet: as few as do, and not next to each other.

Losses come in bursts, so the copy in the very next packet is often lost with its original. A copy some packets later
survives more bursts and costs the same; what it costs instead is delay, since the receiver must wait for it.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

LONGEST_WAIT_MS = 100.0
"""Copies are not sent later than this after their originals."""
PRICE_PER_MS = 0.00005
"""Share of packets lost that a millisecond of waiting is worth."""
USUAL_BURST_PACKETS = 2.0
USUAL_LOSS = 0.1


def left_over(loss: float, burst_packets: float, ages: tuple[int, ...]) -> float:
    """Share of packets that are lost together with all their copies, under Gilbert's model of bursts.

    ``ages`` says how many packets later the copies come, ascending; ``loss`` below 1, bursts of at least one
    packet.
    """
    leave = 1.0 / max(burst_packets, 1.0)
    # How far the state of the line forgets itself from one packet to the next.
    memory = 1.0 - leave - loss * leave / max(1.0 - loss, 1e-6)
    left, before = loss, 0
    for age in ages:
        left *= min(max(loss + (1.0 - loss) * memory ** (age - before), 0.0), 1.0)
        before = age
    return left


def reach(packet_ms: float) -> int:
    """The latest packet that a copy may ride on; the next one always may."""
    return max(1, int(LONGEST_WAIT_MS / packet_ms))


def plan(loss: float, burst_packets: float, packet_ms: float, most: int, worth: float) -> tuple[int, ...]:
    """Ages, in packets, of the copies to send; each must save at least ``worth``, a share of all packets."""
    return _plan(round(min(loss, 0.9), 3), round(burst_packets, 1), packet_ms, most, worth)


@lru_cache(maxsize=1024)
def _plan(loss: float, burst_packets: float, packet_ms: float, most: int, worth: float) -> tuple[int, ...]:
    plans: list[tuple[int, ...]] = [()]
    plans += [_best(loss, burst_packets, packet_ms, count) for count in range(1, min(most, reach(packet_ms)) + 1)]
    return min(plans, key=lambda ages: left_over(loss, burst_packets, ages) + worth * len(ages))


def _best(loss: float, burst_packets: float, packet_ms: float, count: int) -> tuple[int, ...]:
    def price(ages: tuple[int, ...]) -> float:
        return left_over(loss, burst_packets, ages) + PRICE_PER_MS * ages[-1] * packet_ms

    return min(combinations(range(1, reach(packet_ms) + 1), count), key=price)


def spread(redundancy: int, packet_ms: float) -> tuple[int, ...]:
    """Ages of so many copies where nothing is known of the line; more than fit the longest wait follow each other."""
    if redundancy == 0:
        return ()
    if redundancy > reach(packet_ms):
        return tuple(range(1, redundancy + 1))
    return _best(USUAL_LOSS, USUAL_BURST_PACKETS, packet_ms, redundancy)
