"""Check that no stage of the codec has become slower than its budget.

    python bench/check_budgets.py                       # against bench/budgets.toml; exit code 1 names the stage
    python bench/check_budgets.py --record FILE         # write the budgets of this commit on this machine
    python bench/check_budgets.py --slow-down decode.network=0.3     # prove that the check notices
    python bench/check_budgets.py --repeat 10           # prove that it does not cry wolf

Every budget is a ratio: the stage's time over that of a calibration kernel, timed just before and after, whose
mixture of work (matrix-vector products that stream weights, small transforms, calls from Python) feels a slow or busy
machine as the codec does. Each of some rounds gives one ratio per stage from the less disturbed packets; the median
over the rounds is judged. What all stages have in common (their median, up to a quarter) is the machine's mood, and
each is judged against that; what they have in common beyond a quarter counts as slower code.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BUDGETS = Path(__file__).with_name("budgets.toml")
TOLERANCE = 1.15
"""How far over its recorded ratio a stage may come: noise stays below, a slow-down of 30 % comes out above."""
MAX_DRIFT = 1.25
"""What all stages together may be slower or faster than budgeted before it counts."""
NEGLIGIBLE_MS = 0.004
"""Stages below this (per 10 ms of sound) are timer noise; they count in the total only."""
ROUNDS = 300
PACKETS_PER_ROUND = 25
"""A round is some 10 ms long, so that a neighbour disturbs calibration and codec alike."""
CALIBRATIONS_PER_ROUND = 8
WARM_UP_PACKETS = 200
QUIET_SHARE = 10.0
"""Percentile of the packets of a round: its least disturbed ones, with warm caches."""


@dataclass(frozen=True)
class Round:
    """One round: the calibration's time and each stage's, all in milliseconds."""

    calibration_ms: float
    stage_ms: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """A stage against its budget, as ratios to the calibration."""

    stage: str
    ratio: float
    budget: float
    drift: float
    """How the stages together stand to their budgets, as far as the machine may be the cause."""

    @property
    def broken(self) -> bool:
        """Whether the stage is over its budget by more than noise explains."""
        return self.ratio > TOLERANCE * self.drift * self.budget


def ratios_of(rounds: Sequence[Round]) -> dict[str, float]:
    """Median over the rounds of every stage's time relative to the calibration."""
    stages = rounds[0].stage_ms
    return {s: float(np.median([r.stage_ms[s] / r.calibration_ms for r in rounds])) for s in stages}


def judge(rounds: Sequence[Round], budgets: Mapping[str, float]) -> list[Verdict]:
    """Every stage that has a budget, in the budgets' order."""
    ratios = ratios_of(rounds)
    common = float(np.median([ratios[stage] / budget for stage, budget in budgets.items()]))
    drift = min(max(common, 1.0 / MAX_DRIFT), MAX_DRIFT)
    return [Verdict(stage, ratios[stage], budget, drift) for stage, budget in budgets.items()]


def confirmed(first: Sequence[Verdict], second: Sequence[Verdict]) -> list[Verdict]:
    """Of two hearings, each stage's better one: what is broken was broken twice."""
    return [min(pair, key=lambda v: v.ratio / (v.drift * v.budget)) for pair in zip(first, second, strict=True)]


def measure(rounds: int, slow_down: Mapping[str, float]) -> list[Round]:
    """Time the codec on this machine, calibration and codec taking turns."""
    from streamcodec.evaluation.latency.link import Link, run_by_stage
    from streamcodec.evaluation.latency.stages import StageClock

    link = Link(24_000, 6_000, clock=StageClock(dict(slow_down)))
    calibration = Calibration()
    calibration.time_ms()
    run_by_stage(link, WARM_UP_PACKETS)
    found = []
    before_ms = calibration.time_ms()
    for _ in range(rounds):
        times = run_by_stage(link, PACKETS_PER_ROUND)
        after_ms = calibration.time_ms()
        stage_ms = {stage: float(np.percentile(values, QUIET_SHARE)) for stage, values in times.stage_ms.items()}
        stage_ms["total"] = float(np.percentile(times.total_ms, QUIET_SHARE))
        found.append(Round(0.5 * (before_ms + after_ms), stage_ms))
        before_ms = after_ms
    return found


class Calibration:
    """A fixed piece of work: products with 20 MB of weights, as many as the networks', transforms and calls."""

    def __init__(self) -> None:
        from native_dsp.jit import kernel
        from native_dsp.transforms.fft import make_fft, rfft

        @kernel
        def product(weights: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
            out[:] = 0.0
            for i in range(len(x)):
                row = weights[i]
                for k in range(len(out)):
                    out[k] += row[k] * x[i]

        random = np.random.default_rng(0)
        self._product, self._rfft, self._plan = product, rfft, make_fft(512)
        self._weights = random.standard_normal((24, 320, 640)).astype(np.float32)
        self._x, self._y = np.ones(320, np.float32), np.zeros(640, np.float32)
        self._frame = random.standard_normal(512).astype(np.float32)
        self._re, self._im = np.zeros(257, np.float32), np.zeros(257, np.float32)

    def once(self) -> None:
        """Do the work."""
        for weights in self._weights:
            self._product(weights, self._x, self._y)
            for _ in range(2):
                self._rfft(self._plan, self._frame, self._re, self._im)

    def time_ms(self) -> float:
        """Its time now, of the less disturbed repetitions."""
        times = np.zeros(CALIBRATIONS_PER_ROUND)
        for k in range(CALIBRATIONS_PER_ROUND):
            began = time.perf_counter()
            self.once()
            times[k] = time.perf_counter() - began
        return 1000.0 * float(np.percentile(times, QUIET_SHARE))


def write_budgets(rounds: Sequence[Round], path: Path) -> None:
    """Store the ratios of a measurement; comments at the head of an existing file stay."""
    head = []
    if path.exists():
        for line in path.read_text().splitlines():
            if not line.startswith("#"):
                break
            head.append(line)
    ratios = ratios_of(rounds)
    counted = [s for s in ratios if np.median([r.stage_ms[s] for r in rounds]) > NEGLIGIBLE_MS]
    rows = [f'"{stage}" = {ratios[stage]:.4f}' for stage in counted]
    path.write_text("\n".join([*head, "", "[ratio_to_calibration]", *rows]) + "\n")


def table(rounds: Sequence[Round], verdicts: Sequence[Verdict]) -> str:
    """Markdown table of the verdicts, for the terminal and for a CI summary."""
    lines = [
        "| stage | ms per 10 ms of sound | ratio to calibration | budget | of budget | |",
        "|---|---|---|---|---|---|",
    ]
    for v in verdicts:
        time_ms = float(np.median([r.stage_ms[v.stage] for r in rounds]))
        share = 100 * v.ratio / v.budget
        mark = "**over**" if v.broken else "ok"
        lines.append(f"| {v.stage} | {time_ms:.4f} | {v.ratio:.4f} | {v.budget:.4f} | {share:.0f} % | {mark} |")
    return "\n".join(lines)


def _named_share(text: str) -> tuple[str, float]:
    stage, _, share = text.partition("=")
    return stage, float(share)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then record or judge; 1 if a budget is broken."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--budgets", type=Path, default=BUDGETS, help="budgets to check against")
    parser.add_argument("--record", type=Path, nargs="?", const=BUDGETS, help="write budgets instead")
    parser.add_argument("--repeat", type=int, default=1, help="judge so many runs, and say how many went red")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--slow-down", type=_named_share, action="append", default=[], metavar="STAGE=SHARE")
    parser.add_argument("--summary", type=Path, help="append the table to this file")
    options = parser.parse_args(arguments)
    slow_down = dict(options.slow_down)
    if options.record is not None:
        write_budgets(measure(options.rounds, slow_down), options.record)
        print(f"wrote {options.record}")
        return 0
    budgets = tomllib.loads(options.budgets.read_text())["ratio_to_calibration"]
    red = sum(_judge_one_run(options.rounds, slow_down, budgets, options.summary) for _ in range(options.repeat))
    if options.repeat > 1:
        print(f"{red} of {options.repeat} runs went red")
    return 1 if red else 0


def _judge_one_run(
    count: int, slow_down: Mapping[str, float], budgets: Mapping[str, float], summary: Path | None
) -> bool:
    """Measure, print the table and the broken budgets; whether there were any.

    A stage that is over its budget gets a second hearing: slower code is slower again, a disturbance is not.
    """
    rounds = measure(count, slow_down)
    verdicts = judge(rounds, budgets)
    if any(v.broken for v in verdicts):
        print("over budget, so measured again:", ", ".join(v.stage for v in verdicts if v.broken), file=sys.stderr)
        rounds = measure(count, slow_down)
        verdicts = confirmed(verdicts, judge(rounds, budgets))
    text = table(rounds, verdicts)
    print(text, flush=True)
    if summary is not None:
        with summary.open("a") as file:
            file.write(f"## Latency budgets\n\n{text}\n")
    broken = [v for v in verdicts if v.broken]
    for v in broken:
        excess = v.ratio / (v.drift * v.budget) - 1.0
        print(f"{v.stage} takes {100 * excess:.0f} % more than its budget", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
