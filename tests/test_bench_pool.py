"""The search for the largest pool, and the table of peers. All timings here are simulated."""

from __future__ import annotations

import pytest

from bench.peers import COLUMNS, _made, table
from bench.pool.__main__ import CLOSE_ENOUGH, DEADLINE_MS, LIMITS, curve
from streamcodec.evaluation.latency.timed import PeerMissingError, TimedPeer


@pytest.mark.parametrize("limit", LIMITS.values())
@pytest.mark.parametrize("carries", [1, 3, 16, 71, 130])
def test_the_largest_pool_is_found(carries: int, limit: str) -> None:
    measured: list[int] = []

    def measure(streams: int) -> dict[str, float]:
        measured.append(streams)
        return {"streams": streams, "p99_ms": 99.0, "processor_p99_ms": 99.0} | {
            limit: DEADLINE_MS * streams / carries
        }

    rows, largest = curve(measure, 4096, limit)
    assert carries / CLOSE_ENOUGH - 1 <= largest <= carries
    assert [row["streams"] for row in rows] == sorted(set(measured))


def test_a_machine_that_carries_none_or_all_says_so() -> None:
    assert curve(lambda n: {"streams": n, "p99_ms": 11.0}, 64, "p99_ms")[1] == 0
    assert curve(lambda n: {"streams": n, "p99_ms": 1.0}, 64, "p99_ms")[1] == 64


def test_peers_that_are_missing_are_named() -> None:
    def missing() -> TimedPeer:
        raise PeerMissingError("EnCodec: pip install it")

    words = _made(missing)
    figures = dict.fromkeys(COLUMNS, 0.5)
    row = {"kind": "STFT", "name": "FFTW", "note": "planned", "times_first": 2.0, **figures}
    text = table({"rows": [row], "missing": [words]})
    assert "| STFT: FFTW | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 2.00 | planned |" in text
    assert text.endswith("not measured: EnCodec: pip install it")
