"""Print one table of Opus, streamcodec and any other codec on the same clips.

Example::

    python -m bench.quality dev/speech --opus-rates 6 9.2 12 --rates 3 6 9 12 --plot quality.png
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from streamcodec.errors import StreamcodecError
from streamcodec.evaluation import METRICS, Clip, EvaluationError, System, evaluate, read_clips
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import KINDS
from streamcodec.evaluation.libopus import SIGNALS, OpusSettings
from streamcodec.evaluation.own import DEFAULT_RATES_KBPS, streamcodec_systems
from streamcodec.evaluation.peers.opus import opus_systems
from streamcodec.evaluation.plot import plot_rate_quality
from streamcodec.evaluation.statistics import mean_interval
from streamcodec.evaluation.tones import tone_levels_db
from streamcodec.models.shipped import DEFAULT_MODEL

OPUS_RATES_KBPS = (6.0, 9.2, 12.0, 16.0, 24.0)
WITHOUT_REFERENCE = ("dnsmos", "plcmos", "distill_mos", "harmonicity_1_2k", "harmonicity_2_4k", "harmonicity_4_7k")


def load_systems(reference: str, rates_kbps: Sequence[float]) -> list[System]:
    """Systems from ``module:factory``, where ``factory(rates_kbps)`` gives a list of them.

    Raises:
        EvaluationError: no such module or factory.
    """
    module, _, name = reference.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name or "systems")
    except (ImportError, AttributeError) as error:
        raise EvaluationError(f"Cannot load the system {reference!r}: {error}.") from error
    return list(factory(rates_kbps))


def untouched_scores(clips: Sequence[Clip], metrics: Sequence[str]) -> list[str]:
    """What metrics that need no reference make of the clips themselves: the mark to hold decoded sound against."""
    sentences = []
    for name in (name for name in WITHOUT_REFERENCE if name in metrics):
        scored = [clip.read() for clip in clips if clip.kind in METRICS[name].kinds]
        if scored:
            scores = [METRICS[name].score(AlignedPair(x, rate_hz, x, rate_hz)) for x, rate_hz in scored]
            found = mean_interval(scores)
            sentences.append(
                f"The clips themselves: {METRICS[name].title} {found.mean:.2f} ± {found.half_width:.2f}."
            )
    return sentences


def tone_sentences(systems: Sequence[System]) -> list[str]:
    """How loud steady tones come out of each system at each of its rates."""
    sentences = []
    for system in systems:
        for kbps in system.rates_kbps:
            levels = tone_levels_db(system.codec, kbps)
            found = ", ".join(f"{hz / 1000.0:g} kHz {level:+.1f}" for hz, level in levels.items())
            sentences.append(f"Tones, {system.name} at {kbps:g} kbps: {found} dB.")
    return sentences


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(
        "python -m bench.quality", description="Opus, streamcodec and others on the same clips."
    )
    options.add_argument("folder", type=Path, help="wav, flac or ogg files, searched recursively")
    options.add_argument("--kind", action="append", choices=KINDS, help="only this kind (repeatable)")
    options.add_argument("--clips", type=int, help="at most this many clips of each kind")
    options.add_argument("--metric", action="append", choices=list(METRICS), help="only this one (repeatable)")
    options.add_argument("--rates", type=float, nargs="+", default=DEFAULT_RATES_KBPS, metavar="KBPS")
    options.add_argument("--opus-rates", type=float, nargs="+", default=OPUS_RATES_KBPS, metavar="KBPS")
    options.add_argument("--model", default=DEFAULT_MODEL, help="shipped model of streamcodec, or a model's folder")
    options.add_argument("--system", action="append", default=[], metavar="MODULE:FACTORY", help="another codec")
    options.add_argument("--no-streamcodec", action="store_true", help="leave streamcodec out")
    options.add_argument("--no-opus", action="store_true", help="leave Opus out")
    options.add_argument("--libopus", type=Path, help="a particular libopus, e.g. a build with LACE")
    options.add_argument("--signal", choices=list(SIGNALS), default="voice", help="what Opus is told to expect")
    options.add_argument(
        "--tones", action="store_true", help="also print the levels at which tones of 1 to 5 kHz come out"
    )
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--json", type=Path, help="write means and intervals here")
    options.add_argument("--with-clips", action="store_true", help="also write the rows of each clip to --json")
    options.add_argument("--against", metavar="SYSTEM", help="also print each system's difference to this one")
    options.add_argument("--plot", type=Path, help="write the rate-quality plot here (one file per kind)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = parser().parse_args(arguments)
    try:
        clips = read_clips(options.folder, options.kind, options.clips)
        systems = (
            []
            if options.no_opus
            else opus_systems(options.opus_rates, options.libopus, OpusSettings(signal=options.signal))
        )
        tested = [] if options.no_streamcodec else streamcodec_systems(options.rates, options.model)
        for reference in options.system:
            tested += load_systems(reference, options.rates)
        report = evaluate(clips, [*systems, *tested], options.metric, options.workers, progress=True)
        report.notes.extend(untouched_scores(clips, report.metrics))
        if options.tones:
            report.notes.extend(tone_sentences([*systems, *tested]))
        console = Console(width=None if sys.stdout.isatty() else 200)
        for kind in report.kinds():
            console.print(report.table(kind))
            if options.against:
                console.print(report.difference_table(kind, options.against))
            if options.plot:
                named = options.plot.with_stem(f"{options.plot.stem}-{kind}")
                path = options.plot if len(report.kinds()) == 1 else named
                plot_rate_quality(report, path, kind, own=[system.name for system in tested])
        for name, description in report.systems.items():
            console.print(f"{name}: {description}")
        for note in report.notes:
            console.print(note, style="yellow")
        if options.json:
            report.write_json(options.json, options.with_clips, options.against)
    except StreamcodecError as error:
        print(f"bench.quality: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
