"""What a packet allocates: how much it keeps (which must be nothing) and how much it takes for a moment."""

from __future__ import annotations

import gc
import sys
import tracemalloc

from streamcodec.evaluation.latency.link import HOPS_PER_PACKET, Link, run

WARM_UP_PACKETS = 50
REPEATS = 4


def _blocks_kept(link: Link, packets: int) -> int:
    gc.collect()
    before = sys.getallocatedblocks()
    run([link], packets)
    gc.collect()
    return sys.getallocatedblocks() - before


def measure_allocation(link: Link, packets: int = 400) -> dict[str, float]:
    """Python's memory blocks kept per hop, and the most bytes in use above what is before and after one packet.

    Buffers of numpy count; what the network's runtime does inside is not seen (its buffers are bound once).
    """
    run([link], packets)
    # What the interpreter caches once shows in one repeat; what a stream keeps shows in every one.
    kept_blocks = min(_blocks_kept(link, packets) for _ in range(REPEATS))
    tracemalloc.start()
    try:
        run([link], WARM_UP_PACKETS)
        level_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run([link], 1)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return {
        "kept_blocks_per_hop": round(kept_blocks / (packets * HOPS_PER_PACKET), 4),
        "temporary_bytes_per_packet": float(max(0, peak_bytes - level_bytes)),
    }
