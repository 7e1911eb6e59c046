"""Ten dense minutes on a CUDA device: its tests, the pool of streams, and training that goes on from kept state.

Example::

    python -m bench.training.gpu_minutes pack --data data/train/speech --out build/voices
    python -m bench.training.gpu_minutes run --data build/voices --continue-from bench/state/voice --out results

``pack`` chooses about two hours of speech, speakers in turn, in files that stay as they are (Ogg), so that they fit
beside the code on a machine without a network. ``run`` writes ``tests.txt``, ``pool.json``, ``train.log`` and, every
few minutes, ``state-1`` to ``state-N``: kept state, each of which ``streamcodec train --continue-from`` goes on from.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.errors import StreamcodecError

MOST_BYTES = 36 << 20
GPU_TESTS = ("tests/runtime/test_backends.py", "tests/training/test_throughput.py")
TESTS_S, POOL_S = 90.0, 45.0


def choose(data: Path, seconds: float, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Files of about so many seconds and at most so many bytes, one of each folder in turn.

    Raises StreamcodecError if there is no sound.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in sound_files(data.rglob("*")):
        by_folder.setdefault(path.parent, []).append(path)
    if not by_folder:
        raise StreamcodecError(f"there is no sound under {data}; --data takes a folder of .ogg, .flac or .wav files")
    chosen: list[Path] = []
    total_s, total_bytes = 0.0, 0
    for path in _in_turn(list(by_folder.values())):
        size, length_s = path.stat().st_size, soundfile.info(path).duration
        if total_s + length_s > seconds or total_bytes + size > most_bytes:
            continue
        chosen.append(path)
        total_s, total_bytes = total_s + length_s, total_bytes + size
    return chosen


def _in_turn(groups: Sequence[Sequence[Path]]) -> Iterator[Path]:
    for row in itertools.zip_longest(*groups):
        yield from (path for path in row if path is not None)


def pack(data: Path, out: Path, hours: float) -> None:
    """Copy the chosen files into ``out``, folders kept, with the rows of their manifest if one lies above them."""
    chosen = choose(data, 3600.0 * hours)
    manifest = next((p / "manifest.csv" for p in (data, *data.parents) if (p / "manifest.csv").is_file()), None)
    root = data if manifest is None else manifest.parent
    for path in chosen:
        target = out / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if manifest is not None:
        kept = {str(path.relative_to(root)) for path in chosen}
        head, *rows = manifest.read_text().splitlines()
        wanted = [row for row in rows if row.split(",", 1)[0].strip('"') in kept]
        (out / "manifest.csv").write_text("\n".join([head, *wanted]) + "\n")
    size = sum(path.stat().st_size for path in chosen)
    seconds = sum(soundfile.info(path).duration for path in chosen)
    print(f"{out}: {len(chosen)} files, {seconds / 3600.0:.2f} h, {size / (1 << 20):.1f} MiB")


def run(options: argparse.Namespace) -> None:
    """Tests, pool and training, one after the other, each within its time; nothing that fails stops the rest."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    _call([sys.executable, "-m", "pytest", "-q", *GPU_TESTS], out / "tests.txt", TESTS_S)
    pool = ["-m", "bench.pool", "--backend", "torch-cuda", "--most", "1024", "--json", str(out / "pool.json")]
    _call([sys.executable, *pool], out / "pool.txt", POOL_S)
    left = options.minutes - (time.monotonic() - began) / 60.0
    train(options, out, left)


def _call(command: Sequence[str], log: Path, seconds: float) -> None:
    """Run a command with its output in ``log``; one that outlasts its time is ended."""
    with log.open("w") as handle:
        try:
            done = subprocess.run(command, stdout=handle, stderr=subprocess.STDOUT, timeout=seconds, check=False)
            handle.write(f"\nexit code {done.returncode}\n")
        except subprocess.TimeoutExpired:
            handle.write(f"\nended after {seconds:g} s\n")


def train(options: argparse.Namespace, out: Path, minutes: float) -> None:
    """Train the decoder against its judges, and keep the state ``--states`` times on the way."""
    from streamcodec.training.codec_run import CodecRunOptions, start_run
    from streamcodec.training.kept_state import is_kept_state, keep_state, read_kept_state
    from streamcodec.training.loop import CHECKPOINT, RunLimits

    folder = Path(options.work)
    state = options.continue_from if options.continue_from and is_kept_state(options.continue_from) else None
    base = options.base if state is None else read_kept_state(state).base
    started = start_run(
        CodecRunOptions(
            data=[options.data],
            folder=folder,
            batch_segments=options.batch,
            learning_rate=options.learning_rate,
            device=options.device,
            bfloat16="on" if options.device.startswith("cuda") else "auto",
            start_from=None if state is not None else base,
            continue_from=state,
            adversarial_from=0.0,
            decoder_only=True,
            decoder="refined",
            judges="voice",
            head_start_steps=options.head_start,
        )
    )
    with (out / "train.log").open("a") as log:

        def report(row: dict[str, object]) -> None:
            log.write(json.dumps(row) + "\n")
            log.flush()

        for part in range(1, options.states + 1):
            # The learning rate falls over the whole of it, so a part is a bound on the progress, not a run.
            share = part / options.states
            started.loop.run(RunLimits(minutes=minutes, until_progress=share), report)
            size = keep_state(folder / CHECKPOINT, base, out / f"state-{part}")
            print(f"state-{part}: step {started.loop.step}, {size / 1e6:.1f} MB", flush=True)
    started.distributed.leave()


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    top = argparse.ArgumentParser("python -m bench.training.gpu_minutes", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="choose speech to take along")
    packing.add_argument("--data", type=Path, required=True, help="folder of speech")
    packing.add_argument("--out", type=Path, required=True, help="folder to copy it to")
    packing.add_argument("--hours", type=float, default=2.0, help="how much of it (default 2)")
    running = commands.add_parser("run", help="tests, pool, training")
    running.add_argument("--data", type=Path, required=True, help="folder that pack has filled")
    running.add_argument("--out", type=Path, required=True, help="folder for what is to come back")
    running.add_argument(
        "--work", type=Path, default=Path("build/gpu-run"), help="folder of the run and decoded sound"
    )
    running.add_argument("--continue-from", type=Path, default=None, help="kept state; without any, from --base")
    running.add_argument("--base", default="speech-24k", help="exported model to begin with (default speech-24k)")
    running.add_argument("--minutes", type=float, default=8.5, help="in all (default 8.5)")
    running.add_argument("--states", type=int, default=3, help="how many states to keep (default 3)")
    running.add_argument("--batch", type=int, default=64, help="segments of 0.8 s a step (default 64)")
    running.add_argument("--learning-rate", type=float, default=2e-4, help="peak rate (default 2e-4)")
    running.add_argument("--head-start", type=int, default=300, help="steps of new judges alone (default 300)")
    running.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "pack":
            pack(options.data, options.out, options.hours)
        else:
            run(options)
    except StreamcodecError as error:
        print(f"gpu_minutes: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
