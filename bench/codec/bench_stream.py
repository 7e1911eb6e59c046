"""One packet (20 ms) through the codec: alone, by half, at each rate; and Opus beside it. Compare within one run.

    pytest bench/codec/bench_stream.py --benchmark-columns=min,median,iqr --benchmark-sort=min

Opus is called packet by packet through ctypes, 20 ms frames of the same speech at the same sample rate.
"""

from __future__ import annotations

import itertools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from streamcodec.evaluation.latency.link import Link, blocks_of, bundled_speech
from streamcodec.evaluation.latency.timed_codecs import streamcodec_pool
from streamcodec.models.shipped import DEFAULT_MODEL

ROUNDS = 2_000


def link(rate_hz: int = 24_000, kbps: float = 6.0) -> Link:
    return Link(rate_hz, 1000 * kbps, "independent", DEFAULT_MODEL)


def bench(benchmark: BenchmarkFixture, step: object) -> None:
    benchmark.extra_info["sound_ms"] = 20
    benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=100)


@pytest.mark.benchmark(group="20 ms, encode + decode")
@pytest.mark.parametrize("kbps", [2, 6, 12])
@pytest.mark.parametrize("rate_hz", [24_000, 48_000])
def test_streamcodec(benchmark: BenchmarkFixture, kbps: int, rate_hz: int) -> None:
    stream = link(rate_hz, kbps)
    blocks = itertools.cycle(stream.blocks)

    def step() -> None:
        stream.decoder.push(stream.encoder.push(next(blocks))[0].to_bytes())

    bench(benchmark, step)


@pytest.mark.benchmark(group="20 ms of 16 streams, encode + decode")
def test_streamcodec_pool(benchmark: BenchmarkFixture) -> None:
    peer = streamcodec_pool()
    benchmark.extra_info["sound_ms"] = peer.sound_ms
    benchmark.pedantic(peer.step, rounds=ROUNDS // 10, warmup_rounds=10)


@pytest.mark.benchmark(group="20 ms, encode")
def test_streamcodec_encode(benchmark: BenchmarkFixture) -> None:
    stream = link()
    blocks = itertools.cycle(stream.blocks)
    bench(benchmark, lambda: stream.encoder.push(next(blocks))[0].to_bytes())


@pytest.mark.benchmark(group="20 ms, decode")
def test_streamcodec_decode(benchmark: BenchmarkFixture) -> None:
    stream = link()
    packets = itertools.cycle([stream.encoder.push(block)[0].to_bytes() for block in stream.blocks])
    bench(benchmark, lambda: stream.decoder.push(next(packets)))


@pytest.mark.benchmark(group="20 ms, encode + decode")
@pytest.mark.parametrize("complexity", [5, 10])
@pytest.mark.parametrize("kbps", [6, 12])
def test_opus(benchmark: BenchmarkFixture, kbps: int, complexity: int) -> None:
    libopus = pytest.importorskip("streamcodec.evaluation.libopus")
    try:
        library = libopus.load_libopus()
    except libopus.OpusError as error:
        pytest.skip(str(error))
    benchmark.extra_info["library"] = library.version
    settings = libopus.OpusSettings(sample_rate_hz=24_000, bandwidth="wide", complexity=complexity)
    encoder = libopus.OpusEncoder(library, settings, 1000 * kbps)
    decoder = libopus.OpusDecoder(library, settings)
    frames = itertools.cycle(blocks_of(bundled_speech(24_000), settings.frame_samples))
    bench(benchmark, lambda: decoder.decode(encoder.encode(next(frames))))
