"""The least the two networks can cost here: weights over memory bandwidth, multiply-adds over the core's rate.

    python bench/floor.py

Weights are read once per packet, in float32, as the runtime holds them. Bandwidth is measured by adding up an array
as large as the weights again and again, so it is that of the cache (or memory) the weights live in; the multiply-add
rate by vectors that stay in the nearest cache. Both on one core.
"""

from __future__ import annotations

import time
from pathlib import Path

import numba
import numpy as np
import onnx
from onnx import TensorProto

from streamcodec.measure.link import FRAMES_PER_PACKET
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


def matrices_of(path: Path) -> list[tuple[int, int]]:
    """Shapes of all weight matrices of a graph."""
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)
    initializers = onnx.load(str(path)).graph.initializer
    return [tuple(i.dims) for i in initializers if len(i.dims) == 2 and min(i.dims) > 1 and i.data_type in kinds]


def main() -> None:
    """Print the floors."""
    model = load_model(DEFAULT_MODEL)
    graphs = {"encode.network": model.encoder_path, "decode.network": model.decoder_path}
    weights = {name: sum(a * b for a, b in matrices_of(path)) for name, path in graphs.items()}
    gbps, rate = bandwidth_gbps(4 * sum(weights.values())), multiply_adds_per_ns()
    print(f"{gbps:.0f} GB/s over {4e-6 * sum(weights.values()):.1f} MB, {rate:.0f} multiply-adds per ns")
    for name, count in weights.items():
        bytes_ms = 1e-6 * 4 * count / gbps / FRAMES_PER_PACKET
        least_ms, most_ms = (1e-6 * hops * count / rate / FRAMES_PER_PACKET for hops in (1, FRAMES_PER_PACKET))
        print(
            f"{name}: {1e-6 * count:.2f} M weights; per 10 ms of sound {bytes_ms:.4f} ms to read them, "
            f"{least_ms:.4f} to {most_ms:.4f} ms to multiply"
        )


if __name__ == "__main__":
    main()
