"""The least the two networks can cost here: weights over memory bandwidth, multiply-adds over the core's rate.

    python bench/floor.py

Weights are read once per packet, as the runtime holds them. Bandwidth is measured by adding up an array
as large as the weights again and again, so it is that of the cache (or memory) the weights live in; the multiply-add
rate by vectors that stay in the nearest cache. Both on one core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numba
import numpy as np

from streamcodec.evaluation.latency.link import HOPS_PER_PACKET
from streamcodec.models.shipped import DEFAULT_MODEL, ShippedModel, load_model
from streamcodec.models.weights import Int8Matrix

REPEATS = 200
LANES = 256
PASSES = 20_000


@numba.njit(fastmath=True)
def add_up(values: np.ndarray) -> np.float32:
    """Sum of an array, so that every byte is read."""
    total = np.float32(0.0)
    for i in range(len(values)):
        total += values[i]
    return total


@numba.njit(fastmath=True)
def multiply_add(sums: np.ndarray, factors: np.ndarray, passes: int) -> None:
    """``passes`` multiply-adds on every lane."""
    for _ in range(passes):
        for k in range(LANES):
            sums[k] = sums[k] * factors[k] + np.float32(1.0)


def bandwidth_gbps(size_bytes: int) -> float:
    """Bytes read per nanosecond from an array of this size."""
    values = np.ones(size_bytes // 4, np.float32)
    add_up(values)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        add_up(values)
        times.append(time.perf_counter() - began)
    return 1e-9 * size_bytes / float(np.median(times))


def multiply_adds_per_ns() -> float:
    """Multiply-adds per nanosecond of one core."""
    sums, factors = np.zeros(LANES, np.float32), np.full(LANES, 0.5, np.float32)
    multiply_add(sums, factors, 10)
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        multiply_add(sums, factors, PASSES)
        best = min(best, time.perf_counter() - began)
    return 1e-9 * LANES * PASSES / best


@dataclass(frozen=True)
class Weights:
    """What a step of a network reads and multiplies by."""

    count: int
    bytes_held: int


def weights_of(model: ShippedModel, prefix: str) -> Weights:
    """Weights in the matrices of a network, and their bytes as onnxruntime holds them.

    One byte where they are multiplied in 8 bits, four where they are unpacked to float32.
    """
    count = bytes_held = 0
    for name, weight in model.load_weights().items():
        if not name.startswith(prefix) or len(weight.shape) < 2:
            continue
        size = weight.shape[0] * weight.shape[1]
        count += size
        bytes_held += size if isinstance(weight, Int8Matrix) and model.multiplies_in_8_bits else 4 * size
    return Weights(count, bytes_held)


def main() -> None:
    """Print the floors."""
    model = load_model(DEFAULT_MODEL)
    sides = {"encode.network": "encoder.", "decode.network": "decoder."}
    weights = {name: weights_of(model, prefix) for name, prefix in sides.items()}
    together = sum(w.bytes_held for w in weights.values())
    gbps, rate = bandwidth_gbps(together), multiply_adds_per_ns()
    print(f"{gbps:.0f} GB/s over {1e-6 * together:.1f} MB, {rate:.0f} float32 multiply-adds per ns")
    for name, each in weights.items():
        bytes_ms = 1e-6 * each.bytes_held / gbps / HOPS_PER_PACKET
        least_ms, most_ms = (1e-6 * hops * each.count / rate / HOPS_PER_PACKET for hops in (1, HOPS_PER_PACKET))
        print(
            f"{name}: {1e-6 * each.count:.2f} M weights in {1e-6 * each.bytes_held:.2f} MB; per 10 ms of sound "
            f"{bytes_ms:.4f} ms to read them, {least_ms:.4f} to {most_ms:.4f} ms to multiply in float32"
        )


if __name__ == "__main__":
    main()
