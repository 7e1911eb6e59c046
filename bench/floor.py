"""The least the two networks can cost here: weights over memory bandwidth, multiply-adds over the core's rate.

    python bench/floor.py

Weights are read once per packet, as the runtime holds them. Bandwidth is measured by adding up an array
as large as the weights again and again, so it is that of the cache (or memory) the weights live in; the multiply-add
rate by vectors that stay in the nearest cache. Both on one core.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import onnx
from onnx import TensorProto

from streamcodec.evaluation.latency.link import FRAMES_PER_PACKET
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

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


def weights_of(path: Path) -> Weights:
    """Weights in the matrices of a graph, and their bytes as the runtime holds them.

    One byte where they are multiplied in 8 bits (unsigned, in blocks), four where they are unpacked to float32.
    """
    count = bytes_held = 0
    for matrix in onnx.load(str(path)).graph.initializer:
        if len(matrix.dims) < 2 or min(matrix.dims) == 1:
            continue
        size = math.prod(matrix.dims)
        if matrix.data_type == TensorProto.UINT8:
            count, bytes_held = count + size, bytes_held + size
        elif matrix.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8):
            count, bytes_held = count + size, bytes_held + 4 * size
    return Weights(count, bytes_held)


def main() -> None:
    """Print the floors."""
    model = load_model(DEFAULT_MODEL)
    graphs = {"encode.network": model.encoder_path, "decode.network": model.decoder_path}
    weights = {name: weights_of(path) for name, path in graphs.items()}
    together = sum(w.bytes_held for w in weights.values())
    gbps, rate = bandwidth_gbps(together), multiply_adds_per_ns()
    print(f"{gbps:.0f} GB/s over {1e-6 * together:.1f} MB, {rate:.0f} float32 multiply-adds per ns")
    for name, each in weights.items():
        bytes_ms = 1e-6 * each.bytes_held / gbps / FRAMES_PER_PACKET
        least_ms, most_ms = (1e-6 * hops * each.count / rate / FRAMES_PER_PACKET for hops in (1, FRAMES_PER_PACKET))
        print(
            f"{name}: {1e-6 * each.count:.2f} M weights in {1e-6 * each.bytes_held:.2f} MB; per 10 ms of sound "
            f"{bytes_ms:.4f} ms to read them, {least_ms:.4f} to {most_ms:.4f} ms to multiply in float32"
        )


if __name__ == "__main__":
    main()
