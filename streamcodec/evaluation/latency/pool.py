"""A pool of streams against the clock: what a step of all of them takes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from streamcodec.codec.pool import StreamPool
from streamcodec.evaluation.latency.link import HOPS_PER_PACKET, Float64Array, blocks_of, bundled_speech
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend

RATE_HZ = 24_000
WARM_UP_STEPS = 8
APART_PACKETS = 37
"""By how much the streams' sound is shifted against each other, so that no two are at the same place."""


@dataclass(frozen=True)
class PoolTimes:
    """What a run took, per step of all streams.

    Shape: all times ``[steps]``, in milliseconds per 10 ms of the sound of every stream.
    """

    encode_ms: Float64Array
    decode_ms: Float64Array
    processor_ms: Float64Array
    """Time of the processor that both took, without what the system gave to others meanwhile."""

    @property
    def total_ms(self) -> Float64Array:
        """Encode and decode of the same step.

        Shape: ``[steps]``.
        """
        return self.encode_ms + self.decode_ms


def pool_times(
    streams: int,
    steps: int,
    model: str = DEFAULT_MODEL,
    backend: Backend = "auto",
    threads: int = 1,
    bitrate_bps: float = 6_000.0,
) -> PoolTimes:
    """Encode, serialise, parse and decode one packet (20 ms) of every stream, ``steps`` times."""
    pool = StreamPool(streams, model=model, backend=backend, threads=threads)
    slots = [pool.join(RATE_HZ, bitrate_bps) for _ in range(streams)]
    blocks = blocks_of(bundled_speech(RATE_HZ), pool.encoder(0).block_samples)
    encode_s, decode_s, processor_s = (np.zeros(steps) for _ in range(3))
    for k in range(-WARM_UP_STEPS, steps):
        sound = {slot: blocks[(k + APART_PACKETS * slot) % len(blocks)] for slot in slots}
        used = time.process_time()
        began = time.perf_counter()
        data = {slot: packet.to_bytes() for slot, packet in pool.encode(sound).items() if packet is not None}
        between = time.perf_counter()
        pool.decode(data)
        if k >= 0:
            encode_s[k], decode_s[k] = between - began, time.perf_counter() - between
            processor_s[k] = time.process_time() - used
    per_hop_ms = 1000.0 / HOPS_PER_PACKET
    return PoolTimes(encode_s * per_hop_ms, decode_s * per_hop_ms, processor_s * per_hop_ms)
