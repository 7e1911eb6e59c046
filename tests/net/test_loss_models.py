from __future__ import annotations

from pathlib import Path

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig, NoLoss, PatternLoss


def bursts(losses: list[bool]) -> list[int]:
    text = "".join("x" if lost else "." for lost in losses)
    return [len(run) for run in text.split(".") if run]


@pytest.mark.parametrize(("rate", "burst"), [(0.05, 1.1), (0.1, 2.0), (0.2, 4.0), (0.4, 2.5)])
def test_gilbert_elliott_has_the_rate_and_burst_asked_for(rate: float, burst: float) -> None:
    model = GilbertElliott(GilbertElliottConfig(rate, burst), seed=5)
    losses = [model.lost() for _ in range(100_000)]
    assert sum(losses) / len(losses) == pytest.approx(rate, rel=0.05)
    runs = bursts(losses)
    assert sum(runs) / len(runs) == pytest.approx(burst, rel=0.05)


def test_the_same_seed_loses_the_same_packets() -> None:
    config = GilbertElliottConfig(0.2, 2.0)
    one, two, other = (GilbertElliott(config, seed) for seed in (1, 1, 2))
    first = [one.lost() for _ in range(500)]
    assert first == [two.lost() for _ in range(500)]
    assert first != [other.lost() for _ in range(500)]


def test_patterns_and_traces_repeat(tmp_path: Path) -> None:
    model = PatternLoss("..x")
    assert [model.lost() for _ in range(7)] == [False, False, True, False, False, True, False]
    trace = tmp_path / "trace.txt"
    trace.write_text("0 1\n1\n0\n")
    recorded = PatternLoss.from_trace(trace)
    assert [recorded.lost() for _ in range(5)] == [False, True, True, False, False]
    assert not any(NoLoss().lost() for _ in range(10))


def test_impossible_models_are_refused() -> None:
    with pytest.raises(StreamcodecError, match="rate"):
        GilbertElliottConfig(1.0)
    with pytest.raises(StreamcodecError, match="at least 1"):
        GilbertElliottConfig(0.1, 0.5)
    with pytest.raises(StreamcodecError, match="longer"):
        GilbertElliottConfig(0.9, 2.0)
    with pytest.raises(StreamcodecError, match="pattern"):
        PatternLoss("..y")
    with pytest.raises(StreamcodecError, match="at least one"):
        PatternLoss("")


@pytest.mark.parametrize("rate", [0.6, 0.75, 0.8, 0.9, 0.95, 2 / 3])
def test_the_shortest_burst_that_is_told_will_do(rate: float) -> None:
    with pytest.raises(StreamcodecError, match=r"mean_burst_packets=[\d.]+ or more") as caught:
        GilbertElliottConfig(rate, 1.0)
    least = float(str(caught.value).partition("packets=")[2].split()[0])
    assert least == pytest.approx(rate / (1.0 - rate), abs=0.01)
    GilbertElliottConfig(rate, least)
