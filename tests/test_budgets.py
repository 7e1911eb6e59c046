"""The latency check: a stage 30 % slower goes red and is named, noise does not. All timings here are simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.check_budgets import ROUNDS, Round, confirmed, judge, ratios_of, table, tomllib, write_budgets

TYPICAL_MS = {"encode.stft": 0.004, "encode.network": 0.065, "decode.network": 0.11, "decode.render": 0.005}


def simulated_rounds(seed: int, slow: dict[str, float] | None = None) -> list[Round]:
    """Rounds on a machine whose speed drifts twofold, with 3 % of jitter and now and then a badly disturbed stage."""
    random = np.random.default_rng(seed)
    rounds = []
    for _ in range(ROUNDS):
        speed = random.uniform(0.7, 1.5)
        stage_ms = {}
        for stage, typical_ms in TYPICAL_MS.items():
            jitter = random.lognormal(0.0, 0.03) * (3.0 if random.random() < 0.1 else 1.0)
            stage_ms[stage] = typical_ms * speed * jitter * (slow or {}).get(stage, 1.0)
        rounds.append(Round(0.2 * speed * random.lognormal(0.0, 0.03), stage_ms))
    return rounds


BUDGETS = ratios_of(simulated_rounds(seed=99))


@pytest.mark.parametrize("stage", TYPICAL_MS)
@pytest.mark.parametrize("seed", range(10))
def test_a_slow_stage_is_found_and_named(stage: str, seed: int) -> None:
    verdicts = judge(simulated_rounds(seed, {stage: 1.3}), BUDGETS)
    assert [v.stage for v in verdicts if v.broken] == [stage]


def test_noise_breaks_nothing_in_a_hundred_runs() -> None:
    assert not any(v.broken for seed in range(100) for v in judge(simulated_rounds(seed), BUDGETS))


def test_only_what_is_slow_twice_is_broken() -> None:
    quiet, windows = judge(simulated_rounds(1), BUDGETS), judge(simulated_rounds(2, {"encode.stft": 1.3}), BUDGETS)
    networks = [judge(simulated_rounds(seed, {"decode.network": 1.3}), BUDGETS) for seed in (3, 4)]
    assert [v.stage for v in confirmed(*networks) if v.broken] == ["decode.network"]
    assert not any(v.broken for second in (quiet, windows) for v in confirmed(networks[0], second))


def test_budgets_survive_being_written(tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text("# why\n")
    rounds = simulated_rounds(5)
    write_budgets(rounds, path)
    assert path.read_text().startswith("# why\n")
    stored = tomllib.loads(path.read_text())["ratio_to_calibration"]
    assert stored == pytest.approx(ratios_of(rounds), abs=1e-4)
    assert "**over**" not in table(rounds, judge(rounds, stored))
