"""``pack_folder`` and ``unpack_folder``: what is to be done, what is done already, and what came of it."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from streamcodec.codec.files.output_file import free_name
from streamcodec.codec.files.sound_file import SOUND_SUFFIXES
from streamcodec.codec.options import TierName, encoder_options, tier_of
from streamcodec.codec.packet import Tier
from streamcodec.corpora.engines import Engine, run_jobs
from streamcodec.corpora.manifest import MANIFEST, Entry, Manifest, is_done
from streamcodec.corpora.work import Job, PackJob, ShardFormat, UnpackJob, coded_members, cuts_name
from streamcodec.errors import FileFormatError, StreamcodecError

Progress = Callable[[float], None]
READABLE_SUFFIXES = SOUND_SUFFIXES | frozenset(
    {".wave", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
    | {".m4a", ".m4b", ".mp4", ".aac", ".webm", ".mkv", ".mka", ".mov"}
)
ANY_RATE_HZ = 24_000
"""At which options are looked at that say nothing of the rate."""
SHARD_FILES = 1_000
SHARD_NAMES: dict[ShardFormat, str] = {"webdataset": "shard-{:06d}.tar", "shar": "shar/recording.{:06d}.tar"}
# lhotse takes every file of a Shar folder for a field of it, so the manifest stays outside.


@dataclass(frozen=True)
class Outcome:
    """What a run left: entries of every file, those of earlier runs included."""

    entries: tuple[Entry, ...]
    done_before: int
    """Files that an earlier run had done."""

    @property
    def failed(self) -> tuple[Entry, ...]:
        """Files that could not be done."""
        return tuple(entry for entry in self.entries if entry.error is not None)

    @property
    def noted(self) -> tuple[Entry, ...]:
        """Files that were done and of which there is something to say."""
        return tuple(entry for entry in self.entries if entry.note)

    def summary(self) -> dict[str, Any]:
        """Figures: files, errors, notes, hours of sound, bytes, bytes per hour."""
        good = [entry for entry in self.entries if entry.error is None]
        hours = sum(entry.duration_s for entry in good) / 3600.0
        coded = sum(entry.bytes for entry in good)
        return {
            "files": len(good),
            "failed": len(self.failed),
            "noted": len(self.noted),
            "done_before": self.done_before,
            "hours": round(hours, 4),
            "bytes": coded,
            "bytes_per_hour": round(coded / hours) if hours else 0,
        }


def pack_folder(
    source: str | Path,
    target: str | Path,
    *,
    workers: int | None = None,
    engine: Engine = "processes",
    shards: ShardFormat | None = None,
    shard_files: int = SHARD_FILES,
    progress: Progress | None = None,
    **options: Any,
) -> Outcome:
    """Code every sound file under a folder, each to a ``.sc`` file of its name, or into ``shards`` of a tar each.

    ``options`` as for :func:`~streamcodec.encode_file`. ``target/manifest.jsonl`` says of each file what became of
    it; files of its name that are whole are not done again, so a run that was stopped, killed included, goes on when
    it is asked for again. An error of one file is in its entry and stops no other; what :func:`encode_file` warns of,
    such as stereo sound mixed down, is its ``note``.

    Errors: StreamcodecError for folders that cannot be used, and for a ``target`` begun with other options.
    """
    source, target = _folder(source), Path(target)
    if target.exists() and os.path.samefile(source, target):
        raise StreamcodecError(f"{target} is the folder that is read: give another for what is made")
    _check_coding(**options)
    asked = {"tier": "neural", **options, "shards": shards, "shard_files": shard_files if shards else None}
    found = _sounds(source, target)
    if not found:
        raise StreamcodecError(f"there is no sound file under {source}: files are known by {_listed_suffixes()}")
    manifest = _begun(target, {key: str(value) for key, value in asked.items() if value is not None})
    try:
        before = {name for name in found if is_done(manifest.entries.get(name), source / name, target)}
        left = [name for name in found if name not in before]
        names = _targets(left, {entry.target for name, entry in manifest.entries.items() if name in before}, shards)
        jobs: list[Job]
        if shards is None:
            jobs = [PackJob(source, target, (pair,), options) for pair in names]
        else:
            _remove_unlisted_shards(target, manifest, shards)
            first = 1 + max((_number(entry.target) for entry in manifest.entries.values()), default=-1)
            jobs = [
                PackJob(
                    source,
                    target,
                    tuple(names[start : start + shard_files]),
                    options,
                    SHARD_NAMES[shards].format(first + start // shard_files),
                    shards,
                )
                for start in range(0, len(names), shard_files)
            ]
        _run(jobs, manifest, engine, workers, len(left), progress)
        _remove_parts(target)
    finally:
        manifest.close()
    return Outcome(tuple(manifest.entries[name] for name in found if name in manifest.entries), len(before))


def unpack_folder(
    source: str | Path,
    target: str | Path,
    *,
    suffix: str = ".wav",
    workers: int | None = None,
    engine: Engine = "processes",
    model: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Decode every ``.sc`` file under a folder, and every one in its tars; otherwise as :func:`pack_folder`."""
    source, target = _folder(source), Path(target)
    if target.exists() and os.path.samefile(source, target):
        raise StreamcodecError(f"{target} is the folder that is read: give another for what is made")
    if not suffix.startswith("."):
        raise StreamcodecError(f"a suffix begins with a dot, as .wav does, not {suffix!r}")
    files = [name for name in _walk(source) if name.endswith(".sc")]
    tars = [name for name in _walk(source) if name.endswith(".tar")]
    if not files and not tars:
        raise StreamcodecError(f"there is no .sc file under {source}, and no .tar that could hold one")
    manifest = _begun(target, {"suffix": suffix, "model": str(model)})
    try:
        members = {tar: _coded_members(source / tar, tar) for tar in tars}
        tar_of = {name: tar for tar, names in members.items() for name in names}
        found = files + [name for names in members.values() for name in names]
        done = {name: manifest.entries[name].target for name in found if name in manifest.entries}
        shared = Counter(done.values())  # by builds that let one file overwrite another
        before = {
            name
            for name in done
            if shared[done[name]] == 1 and is_done(manifest.entries[name], source / tar_of.get(name, name), target)
        }
        taken = Counter(done[name].removesuffix(suffix) for name in before)
        left = [name for name in found if name not in before]
        targets = {name: _decoded_name(name, tar_of.get(name), taken) + suffix for name in left}
        jobs: list[Job] = [
            UnpackJob(source, target, ((name, targets[name]),), model) for name in files if name in targets
        ]
        for tar, names in members.items():
            pairs = tuple((name, targets[name]) for name in names if name in targets)
            if pairs:
                jobs.append(UnpackJob(source, target, pairs, model, tar))
        _run(jobs, manifest, engine, workers, len(left), progress)
        _remove_parts(target)
    finally:
        manifest.close()
    return Outcome(tuple(manifest.entries[name] for name in found if name in manifest.entries), len(before))


def _run(
    jobs: Sequence[Job],
    manifest: Manifest,
    engine: Engine,
    workers: int | None,
    files: int,
    progress: Progress | None,
) -> None:
    done = 0
    for entries in run_jobs(jobs, engine, workers):
        for entry in entries:
            manifest.add(entry)
        done += len(entries)
        if progress is not None:
            progress(done / max(files, 1))


def _check_coding(tier: TierName | Tier = "neural", **options: Any) -> None:
    """Raise what every file would be refused for, whatever it holds."""
    if tier_of(tier) is not Tier.NEURAL:
        # Which the sound tells.
        options.pop("channels", None)
    encoder_options(tier, ANY_RATE_HZ, **options)


def _folder(name: str | Path) -> Path:
    if not Path(name).is_dir():
        raise StreamcodecError(f"there is no folder {name}")
    return Path(name)


def _remove_parts(target: Path) -> None:
    """Of a run that was killed; at the end, too, since its workers may outlive it by a moment."""
    for part in target.rglob(".*.part"):
        part.unlink(missing_ok=True)


def _begun(target: Path, asked: dict[str, Any]) -> Manifest:
    try:
        target.mkdir(parents=True, exist_ok=True)
        _remove_parts(target)
    except OSError as error:
        raise FileFormatError(f"cannot write {target}: {error.strerror or error}") from error
    return Manifest(target, asked)


def _walk(folder: Path, leave_out: Path | None = None) -> list[str]:
    """Files under a folder, in order, hidden ones left out."""
    names = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (leave_out is None or here / name != leave_out)
        )
        names += [(here / name).relative_to(folder).as_posix() for name in files if not name.startswith(".")]
    return sorted(names)


def _sounds(source: Path, target: Path) -> list[str]:
    return [name for name in _walk(source, target) if Path(name).suffix.lower() in READABLE_SUFFIXES]


def _listed_suffixes() -> str:
    return ", ".join(sorted(READABLE_SUFFIXES))


def _targets(sources: Iterable[str], taken: set[str], shards: ShardFormat | None) -> list[tuple[str, str]]:
    """A name for each: its own with ``.sc``, or the key of a shard's member; its suffix kept where two are alike."""
    if shards is not None:
        taken = {target.partition(".tar/")[2] for target in taken}
    names_taken = Counter(target.removesuffix(".sc") for target in taken)
    pairs = []
    for source in sources:
        names = [str(PurePosixPath(source).with_suffix("")), source]
        if shards is None:
            pairs.append((source, f"{free_name(names, names_taken)}.sc"))
        else:
            pairs.append((source, free_name([name.replace(".", "_") for name in names], names_taken)))
    return pairs


def _number(target: str) -> int:
    """Of the shard that a target lies in; -1 where it lies in none."""
    shard, is_tar, _ = target.partition(".tar/")
    digits = shard[-6:]
    return int(digits) if is_tar and digits.isdecimal() else -1


def _remove_unlisted_shards(target: Path, manifest: Manifest, shards: ShardFormat) -> None:
    """Shards that were finished and not noted before a run was killed: their files come again."""
    listed = {entry.target.partition(".tar/")[0] + ".tar" for entry in manifest.entries.values()}
    for path in target.glob(SHARD_NAMES[shards].replace("{:06d}", "*")):
        if path.relative_to(target).as_posix() not in listed:
            path.unlink()
            if shards == "shar":
                path.with_name(cuts_name(path.name)).unlink(missing_ok=True)


def _coded_members(path: Path, name: str) -> list[str]:
    try:
        # As tars are packed: what is compressed may hold a thousand times its bytes.
        with tarfile.open(path, "r:") as tar:
            return [found for found, _ in coded_members(tar, name)]
    except (OSError, tarfile.TarError) as error:
        raise FileFormatError(f"{path} is not a tar that can be read: {error}") from error


def _decoded_name(name: str, tar: str | None, taken: Counter[str]) -> str:
    """Where a file or a tar's member goes, without suffix: by its own name, or where that is taken below its tar's.

    Parts of its name that would lead out of the folder are left out.
    """
    member = name if tar is None else name.removeprefix(f"{tar}/")
    parts = [part for part in PurePosixPath(member).parts if part not in ("/", "..", ".", MANIFEST)]
    own = str(PurePosixPath(*parts).with_suffix(""))
    return free_name([own] if tar is None else [own, f"{tar.removesuffix('.tar')}/{own}"], taken)
