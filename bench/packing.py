"""``pack`` of a thousand files: nothing lost or doubled when it is killed, and how fast it is on all cores.

Clips of three seconds are cut from a folder of recordings. A run over all of them is killed twice (SIGKILL to the
command alone, at moments drawn by ``--seed``) and asked for again; then every file is decoded and counted. Speeds are
files by wall-clock time, starting included, so nothing else may run: one process, then one per core, several turns.
``--engine ray`` measures a local Ray with more and more workers instead, its start and end left out.

Example::

    python -m bench.packing train/speech dev/speech --json bench/results/packing.json
    python -m bench.packing train/speech dev/speech --engine ray --json bench/results/packing_ray.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import soundfile

from streamcodec import decode_file
from streamcodec.codec.files.sound_file import sound_files
from streamcodec.corpora.engines import usable_cores
from streamcodec.corpora.manifest import MANIFEST, Entry
from streamcodec.corpora.pack import pack_folder

CLIP_S = 3.0
KILLS = 2
COMMAND = (sys.executable, "-m", "streamcodec")

Figures = dict[str, Any]


def cut_clips(roots: list[Path], folder: Path, files: int) -> None:
    """So many clips of three seconds as FLAC, in ten folders. Raises SystemExit where there are too few."""
    for number, (samples, rate_hz) in zip(range(files), _pieces(roots), strict=False):
        path = folder / f"speaker-{number % 10}" / f"clip-{number:04d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate_hz)
    found = len(list(folder.rglob("*.flac")))
    if found < files:
        sys.exit(f"{', '.join(map(str, roots))} hold {found} clips of {CLIP_S:g} s, {files} are asked for")


def _pieces(roots: list[Path]) -> Iterator[tuple[Any, int]]:
    for root in roots:
        for path in sound_files(root.rglob("*")):
            with soundfile.SoundFile(path) as file:
                length = round(CLIP_S * file.samplerate)
                while len(samples := file.read(length, dtype="int16")) == length:
                    yield samples, file.samplerate


def killed_and_resumed(source: Path, packed: Path, seed: int) -> Figures:
    """What runs that were killed leave of files and manifest; raises AssertionError where one is not right."""
    draw = random.Random(seed)
    wanted = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.flac"))
    moments = sorted(draw.randrange(len(wanted)) for _ in range(KILLS))
    arguments = [*COMMAND, "pack", str(source), str(packed), "--json"]
    seen: dict[Path, int] = {}
    coded_again, kills = 0, []
    for moment in moments:
        run = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None and len(list(packed.rglob("*.sc"))) < moment:
            time.sleep(draw.uniform(0.005, 0.02))
        run.kill()
        run.wait()
        now = _coded(packed)
        coded_again += sum(seen[path] != now.get(path) for path in seen)
        kills.append(len(now))
        seen = now
    last = subprocess.run(arguments, check=True, capture_output=True, text=True)
    now = _coded(packed)
    coded_again += sum(seen[path] != now.get(path) for path in seen)
    lines = [json.loads(line) for line in (packed / MANIFEST).read_text(encoding="utf-8").splitlines()[1:]]
    entries = [Entry(**line) for line in lines]
    assert sorted(entry.source for entry in entries) == wanted, "the manifest has not every file, each once"
    assert {packed / entry.target for entry in entries} == set(now), "the folder holds other files than the manifest"
    assert len(set(now)) == len(wanted)
    heard = packed.with_name("heard.wav")
    for entry in entries:
        assert entry.error is None, entry.error
        samples = decode_file(packed / entry.target, heard)
        assert samples == entry.samples == soundfile.info(source / entry.source).frames, entry.source
    return {
        "files": len(wanted),
        "files at each kill": kills,
        "done before the last run": json.loads(last.stdout)["done_before"],
        "coded again": coded_again,
        "lost": 0,
        "doubled": 0,
    }


def _coded(packed: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in packed.rglob("*.sc") if not path.name.startswith(".")}


def speed(source: Path, folder: Path, files: int, turns: int) -> Figures:
    """Files a second of the command in one process, of so many such commands at once, and of one with all cores."""
    cores = usable_cores()
    parts = [_part(source, folder / f"part-{core}", files, core) for core in range(cores)]
    whole = _part(source, folder / "whole", cores * files, 0)
    found: dict[str, list[float]] = {"alone": [], "at once": [], "all cores": []}
    for turn in range(turns):
        for name, runs in (
            ("alone", [(parts[0], 1)]),
            ("at once", [(part, 1) for part in parts]),
            ("all cores", [(whole, cores)]),
        ):
            began = time.monotonic()
            started = [
                subprocess.Popen(
                    [*COMMAND, "pack", str(part), str(folder / f"{name}-{turn}-{n}"), "--workers", str(workers)],
                    stdout=subprocess.DEVNULL,
                )
                for n, (part, workers) in enumerate(runs)
            ]
            assert not sum(run.wait() for run in started)
            coded = sum(len(list(part.rglob("*.flac"))) for part, _ in runs)
            found[name].append(coded / (time.monotonic() - began))
    middle = {name: median(each) for name, each in found.items()}
    return {
        "cores": cores,
        "files of each process": files,
        "turns": turns,
        **{f"{name}, files a second": round(value, 2) for name, value in middle.items()},
        **{f"{name}, hours an hour": round(value * CLIP_S, 1) for name, value in middle.items()},
        "all cores / sum of alone": round(middle["all cores"] / (cores * middle["alone"]), 3),
        "all cores / at once": round(middle["all cores"] / middle["at once"], 3),
    }


def _part(source: Path, folder: Path, files: int, number: int) -> Path:
    folder.mkdir()
    for path in sorted(source.rglob("*.flac"))[number * files : (number + 1) * files]:
        shutil.copy(path, folder)
    return folder


def ray_speed(source: Path, folder: Path, files: int, workers: tuple[int, ...]) -> Figures:
    """Files a second on a local Ray that has started, once its workers have loaded the codec."""
    import ray

    rows = []
    part = _part(source, folder / "part", files, 0)
    few = _part(source, folder / "few", 2 * max(workers), 1)
    for count in workers:
        ray.init(num_cpus=count, log_to_driver=False, include_dashboard=False)
        pack_folder(few, folder / f"few-{count}", engine="ray", workers=count)
        began = time.monotonic()
        pack_folder(part, folder / f"ray-{count}", engine="ray", workers=count)
        rows.append({"workers": count, "files a second": round(files / (time.monotonic() - began), 2)})
        ray.shutdown()
        print(rows[-1], flush=True)
    return {"cores": usable_cores(), "files": files, "ray": ray.__version__, "rows": rows}


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--files", type=int, default=1_000, help="clips that are packed, killed and resumed")
    parser.add_argument("--timed", type=int, default=200, help="clips of each process in each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--only", choices=("killed", "speed"), help="one of the two parts")
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2, 4), help="of Ray")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    figures: Figures = {"clip s": CLIP_S}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = folder / "in"
        if arguments.engine == "ray":
            # Ray's workers start in folders of their own.
            os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
            cut_clips(arguments.roots, source, arguments.timed + 2 * max(arguments.workers))
            figures |= ray_speed(source, folder, arguments.timed, tuple(arguments.workers))
        else:
            cut_clips(arguments.roots, source, max(arguments.files, usable_cores() * arguments.timed))
            if arguments.only != "speed":
                figures["killed"] = killed_and_resumed(source, folder / "packed", arguments.seed)
                print(figures["killed"], flush=True)
            if arguments.only != "killed":
                figures["speed"] = speed(source, folder, arguments.timed, arguments.turns)
                print(figures["speed"], flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
