"""Measuring: every stage is seen, nothing is changed, the report holds what is promised. No test asserts a time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from streamcodec.cli import main
from streamcodec.evaluation.errors import EvaluationError
from streamcodec.evaluation.latency.link import Link, run, run_by_stage
from streamcodec.evaluation.latency.memory import measure_allocation
from streamcodec.evaluation.latency.neighbour import CAN_SHARE_A_CORE, busy_neighbour, on_one_core
from streamcodec.evaluation.latency.stages import STAGES, StageClock
from streamcodec.evaluation.latency.summary import by_tenths, summarise


def link(rate_hz: int = 24_000, clock: StageClock | None = None) -> Link:
    return Link(rate_hz, 6_000, clock=clock)


def test_every_stage_takes_time_and_together_they_are_the_whole() -> None:
    times = run_by_stage(link(48_000, StageClock()), 20)
    assert set(times.stage_ms) == {*STAGES, "encode.rest", "decode.rest"}
    for stage in STAGES:
        assert (times.stage_ms[stage] > 0).all(), stage
    np.testing.assert_allclose(sum(times.stage_ms.values()), times.total_ms)


def test_measuring_changes_no_packet_and_leaves_nothing_behind() -> None:
    clock = StageClock()
    watched, plain = link(clock=clock), link()
    packets = [each.encoder.push(block)[0].to_bytes() for each in (plain, watched) for block in plain.blocks[:10]]
    assert packets[:10] == packets[10:]
    assert clock.take()["encode.entropy"] > 0.0
    np.testing.assert_array_equal(plain.decoder.push(packets[0]), watched.decoder.push(packets[0]))
    clock.take()
    plain.encoder.push(plain.blocks[10])
    assert set(clock.take().values()) == {0.0}
    with pytest.raises(EvaluationError, match="with a clock"):
        run_by_stage(plain, 1)


def test_a_stage_can_be_slowed_down() -> None:
    """What proves that the check of budgets notices."""
    clock = StageClock({"encode.entropy": 200.0})
    times = run_by_stage(link(clock=clock), 10)
    assert np.median(times.stage_ms["encode.entropy"]) > 5 * np.median(times.stage_ms["decode.entropy"])


def test_interleaved_streams_do_not_hear_each_other() -> None:
    alone = run([link()], 20)
    together = run([link(), link()], 40)
    assert together.payload_bytes == 2 * alone.payload_bytes


def test_a_running_stream_keeps_no_memory() -> None:
    assert measure_allocation(link(), 200)["kept_blocks_per_hop"] < 0.5


def test_summary() -> None:
    summary = summarise(np.arange(1, 1002, dtype=np.float64))
    assert summary == {"p50_ms": 501, "p95_ms": 951, "p99_ms": 991, "p99_9_ms": 1000, "max_ms": 1001}
    assert by_tenths(np.repeat(np.arange(10.0), 7)) == list(range(10))


def test_bench_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "cost.png"
    quick = ["--hops", "80", "--sleep", "0", "--no-start-up"]
    assert main(["bench", *quick, "--json", "--plot", str(picture)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"p50_ms", "p95_ms", "p99_ms", "max_ms"} <= set(report["total"])
    assert set(STAGES) < set(report["stages"])
    assert report["total"]["p50_ms"] <= report["total"]["p99_ms"] <= report["total"]["max_ms"]
    assert report["payload_bps"] == pytest.approx(6_000, rel=0.3)
    assert [row["streams"] for row in report["streams"]] == [1, 4, 16]
    assert [row["streams"] for row in report["pools"]] == [4, 16, 64]
    assert report["busy_neighbour"]["p50_ms"] > 0
    assert report["scheduling"] == {"priority": "normal", "cores": []}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_info_says_what_runs_the_codec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--runtime"]) == 0
    runtime = json.loads(capsys.readouterr().out)
    assert runtime["backend"] == "onnxruntime"
    assert runtime["threads_per_stream"] == 1
    assert "auto" in runtime["reason"]
    assert main(["info"]) == 2


def test_info_says_why_a_backend_was_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["info", "--runtime", "--backend", "torch"]) == 0
    runtime = json.loads(capsys.readouterr().out)
    assert (runtime["backend"], runtime["device"]) == ("torch", "cpu")
    assert "asked for" in runtime["reason"]
    assert main(["info", "--runtime", "--backend", "compiled"]) == 0
    runtime = json.loads(capsys.readouterr().out)
    assert (runtime["backend"], runtime["version"]) == ("compiled", runtime["numba"])
    assert "15" in runtime["precision"]


def test_cores_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--hops", "20", "--affinity", "100000"]) == 2
    assert "cores" in capsys.readouterr().err


def test_a_neighbour_ends_with_its_block() -> None:
    with busy_neighbour():
        pass
    if CAN_SHARE_A_CORE:
        before = os.sched_getaffinity(0)
        with on_one_core() as core:
            assert os.sched_getaffinity(0) == {core}
        assert os.sched_getaffinity(0) == before
