"""One table of codecs in rooms and on microphones as they are: noise, reverb, other voices, music, quiet, clipped.

Example::

    bench/build_opus.sh && export STREAMCODEC_LIBOPUS=build/opus/libopus.so
    python -m bench.field dev --clips 6 --json bench/results/field.json

``dev`` holds folders of speech, environment and music. Decoded sound is held against what the codec got, spoilt as it
is. Opus has wideband forced; LACE and NoLACE are rows where the build of libopus has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.field.rooms import ROOMS, TWICE, in_rooms
from streamcodec.codec.files.output_file import write_whole
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation import METRICS, System, evaluate, read_clips
from streamcodec.evaluation.own import streamcodec_systems
from streamcodec.evaluation.peers.opus import opus_systems
from streamcodec.evaluation.statistics import rounded
from streamcodec.evaluation.systems import ArrayCodec, CodecUnderTest, Coded
from streamcodec.models.shipped import DEFAULT_MODEL

RATES_KBPS = (3.2, 6.0)
OPUS_RATES_KBPS = (6.0, 9.0)
OPUS_ROWS = ("Opus WB+LACE", "Opus WB+NoLACE", "Opus WB")
SHOWN = ("pesq", "visqol", "distill_mos")


@dataclass(frozen=True)
class Twice:
    """A codec behind itself, as in a call that is passed on; counted is the second line."""

    first: CodecUnderTest
    second: CodecUnderTest

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: ``[samples]``."""
        once = self.first(samples, sample_rate_hz, kbps)
        return self.second(np.asarray(once.samples, np.float32), once.sample_rate_hz, kbps)


def passed_on(system: System) -> System:
    """A system behind itself; ours decodes the first line as sound that is coded again ought to be."""
    first = system.codec
    if isinstance(first, ArrayCodec):
        first = replace(first, decode=partial(first.decode, post_filter=False))
    return System(system.name, Twice(first, system.codec), system.rates_kbps, system.description)


def systems_to_test(options: argparse.Namespace) -> list[System]:
    """Ours in packets of 20 ms, and what of Opus there is: at its best enhancements, plain only where it has none."""
    found = [] if options.no_opus else opus_systems(options.opus_rates, options.libopus)
    opus = [system for system in found if system.name in OPUS_ROWS]
    enhanced = [system for system in opus if system.name != "Opus WB"]
    return [*streamcodec_systems(options.rates, options.model)[:1], *(enhanced or opus)]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every room's summaries."""
    voices = read_clips(options.folder, ["speech"], options.clips)
    noises, music = (read_clips(options.folder, [kind], options.clips) for kind in ("environment", "music"))
    systems = systems_to_test(options)
    rows = []
    for room, clips in in_rooms(voices, noises, music, options.room or list(ROOMS), options.seconds).items():
        tested = systems
        if room == TWICE:
            tested = [passed_on(system) for system in systems]
        report = evaluate(clips, tested, options.metric or SHOWN, options.workers, progress=True)
        for summary in report.summaries("speech"):
            scores = {
                name: {"mean": rounded(score.mean), "half_width": rounded(score.half_width)}
                for name, score in summary.scores.items()
            }
            kbps = round(summary.payload_kbps, 2)
            rows.append(
                {
                    "room": room,
                    "system": summary.system,
                    "nominal_kbps": summary.nominal_kbps,
                    "kbps": kbps,
                    "scores": scores,
                }
            )
    return {
        "clips": len(voices),
        "seconds": options.seconds,
        "systems": {system.name: system.description for system in systems},
        "rows": rows,
    }


def table(report: dict[str, Any]) -> Table:
    """A line per room, a column per system and rate, the metrics in a cell."""
    columns = list(dict.fromkeys((row["system"], row["nominal_kbps"]) for row in report["rows"]))
    names = list(report["rows"][0]["scores"])
    title = " / ".join(METRICS[name].title for name in names)
    out = Table(
        "room", *(f"{system} {kbps:g}" for system, kbps in columns), title=f"{title}, {report['clips']} clips"
    )
    for room in dict.fromkeys(row["room"] for row in report["rows"]):
        cells = {
            (row["system"], row["nominal_kbps"]): " / ".join(_cell(row["scores"][name]["mean"]) for name in names)
            for row in report["rows"]
            if row["room"] == room
        }
        out.add_row(room, *(cells.get(column, "-") for column in columns))
    return out


def _cell(mean: float | None) -> str:
    return "-" if mean is None else f"{mean:.2f}"


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser("python -m bench.field", description="Codecs in rooms and on microphones.")
    options.add_argument("folder", type=Path, help="holds folders named speech, environment and music")
    options.add_argument("--clips", type=int, default=6, help="of each kind (default 6)")
    options.add_argument("--seconds", type=float, default=6.0, help="of each clip (default 6)")
    options.add_argument("--room", action="append", choices=list(ROOMS), help="only this one (repeatable)")
    options.add_argument("--metric", action="append", choices=list(METRICS), help="this one instead (repeatable)")
    options.add_argument("--rates", type=float, nargs="+", default=RATES_KBPS, metavar="KBPS")
    options.add_argument("--opus-rates", type=float, nargs="+", default=OPUS_RATES_KBPS, metavar="KBPS")
    options.add_argument("--model", default=DEFAULT_MODEL, help="shipped model of streamcodec, or a model's folder")
    options.add_argument("--libopus", type=Path, help="a particular libopus, e.g. a build with NoLACE")
    options.add_argument("--no-opus", action="store_true", help="leave Opus out")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--json", type=Path, help="write the figures here")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = parser().parse_args(arguments)
    try:
        report = measure(options)
        Console(width=None if sys.stdout.isatty() else 200).print(table(report))
        if options.json:
            write_whole(options.json, (json.dumps(report, indent=1) + "\n").encode())
    except StreamcodecError as error:
        print(f"bench.field: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
