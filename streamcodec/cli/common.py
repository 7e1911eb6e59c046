"""What several commands share: arguments, progress, figures, standard streams."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from streamcodec.cli.parser import number
from streamcodec.codec.files.output_file import check_not_read, readable_name
from streamcodec.errors import StreamcodecError
from streamcodec.extras import command_for

if TYPE_CHECKING:
    from streamcodec.runtime.scheduling import Scheduling

BUDGET_MS = 1.0
PROGRESS_AFTER_S = 2.0
LINE_EVERY_S = 10.0
LOWEST = "1 to 24: speech takes 2.0 at the least in packets of 20 ms, 1.6 of 60 ms, 1.0 of 120 ms and in files"
EXTRAS = {
    "matplotlib": "plot",
    "sklearn": "search",
    "soxr": "eval",
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "websockets": "net",
    "aiortc": "net",
    "nats": "cluster",
    "prometheus_client": "relay",
    "sounddevice": "live",
    "shtab": "completion",
}


def add_rate_arguments(parser: argparse.ArgumentParser) -> None:
    """``--kbps``, ``--packet-ms``, ``--constrained``, ``--dtx``, ``--model``."""
    parser.add_argument(
        "--kbps",
        type=positive,
        default=6.0,
        help=f"payload rate in kbps, {LOWEST} (default 6)",
    )
    add_packet_argument(parser, "default 20")
    parser.add_argument("--constrained", action="store_true", help="no packet exceeds its share of the rate")
    parser.add_argument("--dtx", action="store_true", help="send next to nothing while there is only background")
    add_model_argument(parser)


def add_tier_arguments(parser: argparse.ArgumentParser) -> None:
    """``--tier`` and what each tier can be told; :func:`coding_options` turns them into ``StreamEncoder``'s."""
    parser.add_argument(
        "--tier",
        choices=("neural", "near-lossless", "lossless"),
        default="neural",
        help="neural for speech at a few kbps (default), near-lossless for any sound, lossless for every bit of it",
    )
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--kbps",
        type=positive,
        help=f"payload rate in kbps; neural {LOWEST} (default 6); below 2 a file as a whole has it",
    )
    rate.add_argument(
        "--ratio",
        type=positive,
        help="near-lossless: size in 16-bit samples over size of the file, at the least (default: about 8; "
        "simple sound becomes smaller still)",
    )
    rate.add_argument("--snr", type=positive, metavar="DB", help="near-lossless: signal-to-noise ratio to hold")
    parser.add_argument(
        "--optimise",
        choices=("perceptual", "mse"),
        help="near-lossless: for the ear (default) or for the least squared error (implied by --snr)",
    )
    add_packet_argument(parser, "neural; default 60 in files, 120 in those below 2 kbps, 20 elsewhere")
    parser.add_argument("--constrained", action="store_true", help="neural: no packet exceeds its share of the rate")
    parser.add_argument("--dtx", action="store_true", help="neural: send next to nothing while only background")
    add_model_argument(parser)


def add_coding_arguments(parser: argparse.ArgumentParser) -> None:
    """The same, with how far packets may depend on each other for those who may choose."""
    add_tier_arguments(parser)
    parser.add_argument(
        "--key-period",
        type=positive,
        metavar="S",
        help="seconds between packets that need none before them (default 1; 10 in files below 2 "
        "kbps, 2 in lossless ones): longer makes smaller files, and "
        "damage that lasts longer",
    )
    add_mode_argument(parser)


def add_file_coding_arguments(parser: argparse.ArgumentParser) -> None:
    """The same, with what only files keep; :func:`file_coding_options` turns them into ``encode_file``'s."""
    add_coding_arguments(parser)
    parser.add_argument(
        "--channels",
        type=int,
        choices=(1, 2),
        help="neural: 2 codes both channels of stereo sound within the rate (default: mixed down to 1)",
    )


def add_mode_argument(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """``--mode``."""
    parser.add_argument(
        "--mode",
        choices=("independent", "stream"),
        default=default,
        help="independent: every packet decodable alone, a loss costs itself alone; stream: fewer bits, and a "
        f"loss lasts to the next key packet (default {default or 'stream in files and waveform tiers'})",
    )


def add_redundancy_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """``--redundancy``; :func:`redundancy_of` says what it means."""
    parser.add_argument(
        "--redundancy",
        type=redundancy,
        default=default,
        metavar="auto|K|off",
        help="coarser copies of K earlier packets in each, as the receiver's reports ask (auto) or none (off); "
        f"default {default}",
    )


def redundancy(text: str) -> int | str:
    """Argument type: ``auto``, ``off``, or 0 to 8 copies."""
    from streamcodec.codec.packet import MAX_REDUNDANT

    if text in ("auto", "off"):
        return text
    if text.isdecimal() and int(text) <= MAX_REDUNDANT:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be auto, off or 0 to {MAX_REDUNDANT}, got {text}")


def redundancy_of(choice: int | str) -> int | None:
    """Copies in each packet; None where reports decide."""
    return choice if isinstance(choice, int) else {"auto": None, "off": 0}[choice]


def file_coding_options(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of ``encode_file`` from :func:`add_file_coding_arguments`."""
    channels = {} if options.channels is None else {"channels": options.channels}
    return coding_options(options) | channels


def coding_options(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of ``StreamEncoder`` and ``encode_file`` from :func:`add_coding_arguments`."""
    chosen: dict[str, Any] = {} if options.mode is None else {"mode": options.mode}
    if options.packet_ms is not None:
        chosen["packet_ms"] = options.packet_ms
    if options.__dict__.get("key_period") is not None:
        chosen["key_period_s"] = options.key_period
    return chosen | {
        "bitrate_bps": None if options.kbps is None else 1000 * options.kbps,
        "tier": options.tier,
        "ratio": options.ratio,
        "snr_db": options.snr,
        "optimise": options.optimise,
        "constrained": options.constrained,
        "dtx": options.dtx,
        "model": options.model,
    }


def add_packet_argument(parser: argparse.ArgumentParser, note: str) -> None:
    """``--packet-ms``."""
    from streamcodec.codec.options import PACKET_MS_CHOICES

    parser.add_argument(
        "--packet-ms",
        type=int,
        choices=PACKET_MS_CHOICES,
        help=f"sound in one packet: longer ones sound better at low rates and arrive later ({note})",
    )


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """``--model``."""
    from streamcodec.models.config import DEFAULT_MODEL

    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"model name or folder (default {DEFAULT_MODEL})")


def add_file_model_argument(parser: argparse.ArgumentParser) -> None:
    """``--model``, of a command that reads ``.sc`` files: None where the file may choose among the shipped ones."""
    parser.add_argument(
        "--model", default=None, help="model name or folder, where a file was made with one that is not shipped"
    )


def add_max_duration_argument(parser: argparse.ArgumentParser) -> None:
    """``--max-duration``."""
    from streamcodec.codec.options import MAX_DURATION_S

    parser.add_argument(
        "--max-duration",
        type=positive,
        default=MAX_DURATION_S,
        metavar="S",
        help=f"refuse a file that decodes to more seconds of sound than this (default {MAX_DURATION_S:g})",
    )


def add_backend_argument(parser: argparse.ArgumentParser) -> None:
    """``--backend``."""
    from streamcodec.runtime.backend import BACKENDS

    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="what steps the networks (default auto)")


def add_scheduling_arguments(parser: argparse.ArgumentParser) -> None:
    """``--priority`` and ``--affinity``; :func:`scheduling_of` turns them into a ``Scheduling``."""
    from streamcodec.runtime.scheduling import PRIORITIES

    parser.add_argument(
        "--priority",
        choices=PRIORITIES,
        default="normal",
        help="of the codec's thread; others than normal need permission",
    )
    parser.add_argument(
        "--affinity", type=cores, default=(), metavar="CORES", help="cores that the codec may use, such as 2 or 2,3"
    )


def scheduling_of(options: argparse.Namespace) -> Scheduling:
    """What :func:`add_scheduling_arguments` took."""
    from streamcodec.runtime.scheduling import Scheduling

    return Scheduling(options.priority, options.affinity)


def cores(text: str) -> tuple[int, ...]:
    """Argument type: numbers of cores with commas between them."""
    try:
        return tuple(int(core) for core in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be numbers of cores such as 2 or 2,3, got {text}") from error


def positive(text: str) -> float:
    """Argument type: a finite number above 0."""
    value = number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def whole(text: str) -> int:
    """Argument type: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text}")
    return int(text)


def burst(text: str) -> float:
    """Argument type: mean length of a loss in packets, which is one at the least."""
    value = number(text)
    if not 1.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 1 packet or more, got {text}")
    return value


def share(text: str) -> float:
    """Argument type: a number from 0 up to, not including, 1."""
    value = number(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, got {text}")
    return value


def device(text: str) -> int | str:
    """Argument type: the number of a device, or a part of its name."""
    return int(text) if text.isdigit() else text


def milliseconds(text: str) -> float:
    """Argument type: 0 to 1000."""
    value = number(text)
    if not 0.0 <= value <= 1_000.0:
        raise argparse.ArgumentTypeError(f"must be 0 to 1000 ms, got {text}")
    return value


def input_file(name: str) -> Path | IO[bytes]:
    """A path, or standard input (copied to disk) for ``-``; raises StreamcodecError where there is none."""
    from streamcodec.codec.files.sound_file import spooled

    if name == "-":
        if sys.stdin is None:
            raise StreamcodecError("standard input is closed: name a file in place of -")
        return spooled(sys.stdin.buffer)
    try:
        exists = os.path.exists(name)
    except ValueError:
        exists = False
    if not exists:
        raise StreamcodecError(f"there is no file {readable_name(name)}")
    return Path(name)


@contextmanager
def output_file(name: str, *sources: str) -> Iterator[Path | IO[bytes]]:
    """A path that is none of ``sources``, or for ``-`` a file that goes to standard output when the block ends."""
    from streamcodec.codec.files.output_file import copy_stream

    if name != "-":
        for source in sources:
            check_not_read(Path(name), _standard_input() if source == "-" else Path(source))
        yield Path(name)
        return
    if sys.stdout is None:
        raise StreamcodecError("standard output is closed: name a file in place of -")
    with tempfile.TemporaryFile() as spool:
        yield spool
        spool.seek(0)
        try:
            copy_stream(spool, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamcodecError(f"cannot write to standard output: {error.strerror or error}") from error


def is_standard_output(name: str) -> bool:
    """Whether an output is where standard output goes, by ``-`` or by another name: then nothing else is printed."""
    if name == "-":
        return True
    try:
        return os.path.samestat(os.stat(name), os.fstat(1))
    except (OSError, ValueError):
        return False


def _standard_input() -> IO[bytes] | None:
    return None if sys.stdin is None else sys.stdin.buffer


@contextmanager
def progress_bar(label: str) -> Iterator[Any]:
    """A callable that takes the share done; a bar on standard error once the work has taken two seconds.

    Where that is no terminal, a line every ten seconds.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn(label),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(label, total=1.0)
    began = said = time.monotonic()
    started = False

    def update(done: float) -> None:
        nonlocal started, said
        if not console.is_terminal:
            if time.monotonic() - said > LINE_EVERY_S:
                said = time.monotonic()
                print(f"{label}: {100 * done:.0f} %", file=sys.stderr, flush=True)
            return
        if not started and time.monotonic() - began > PROGRESS_AFTER_S:
            bar.start()
            started = True
        bar.update(task, completed=done)

    try:
        yield update
    finally:
        if started:
            bar.stop()


def percentiles(times_ms: list[float]) -> dict[str, float]:
    """p50, p95, p99 and max.

    Units: milliseconds in, milliseconds out.
    """
    import numpy as np

    values = np.asarray(times_ms)
    return {
        "p50_ms": round(float(np.percentile(values, 50)), 4),
        "p95_ms": round(float(np.percentile(values, 95)), 4),
        "p99_ms": round(float(np.percentile(values, 99)), 4),
        "max_ms": round(float(values.max()), 4),
    }


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(values, indent=1))


def need(module: str) -> None:
    """Raise a clear error where an optional package is not installed."""
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise StreamcodecError(f"this needs {module}: run '{command_for(EXTRAS[module])}' and try again")
