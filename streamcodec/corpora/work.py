"""What a worker does: one file coded, one decoded, or one shard of many written. Everything here can be pickled."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.decoding import decode_file
from streamcodec.codec.files.notes import noted
from streamcodec.codec.files.oneshot import encode_file
from streamcodec.codec.files.output_file import describe_error, free_name, whole_file
from streamcodec.corpora.manifest import Entry
from streamcodec.errors import FileFormatError, StreamcodecError
from streamcodec.wording import Spellings, current_spellings, spelt

ShardFormat = Literal["webdataset", "shar"]
SHARD_FORMATS: tuple[ShardFormat, ...] = ("webdataset", "shar")
SIDECARS = (".txt", ".json", ".cls")
"""Files beside a sound, of its name, that go into a WebDataset shard with it."""


@dataclass(frozen=True)
class PackJob:
    """Files to code: one into a file of its own, or many into a shard."""

    source_folder: Path
    target_folder: Path
    pairs: tuple[tuple[str, str], ...]
    """(source, target), relative to the folders."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of :func:`~streamcodec.encode_file`."""
    shard: str | None = None
    shard_format: ShardFormat = "webdataset"
    spellings: Spellings | None = field(default_factory=current_spellings)
    """How errors and notes name arguments, whatever the process that they arise in."""

    def run(self) -> list[Entry]:
        """Code them; an error of one is in its entry and stops no other."""
        if self.shard is None:
            return [self._write_file(*pair) for pair in self.pairs]
        return self._write_shard(self.shard)

    def _code(self, source: str, target: str) -> tuple[Entry, bytes]:
        path, out = self.source_folder / source, io.BytesIO()
        try:
            found, digest = os.stat(path), _sha256(path)
            with noted(path) as notes:
                header = encode_file(path, out, **self.options)
            data = out.getvalue()
            reader = FileReader(io.BytesIO(data))
        except (StreamcodecError, OSError, MemoryError) as error:
            return Entry(source, target, error=_said(error)), b""
        coded = Entry(
            source,
            target,
            sha256=digest,
            source_bytes=found.st_size,
            source_mtime_ns=found.st_mtime_ns,
            target_sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            samples=reader.total_samples or 0,
            sample_rate_hz=header.sample_rate_hz,
            channels=header.channels,
            note="; ".join(notes),
        )
        return coded, data

    def _write_file(self, source: str, target: str) -> Entry:
        entry, data = self._code(source, target)
        if entry.error is None:
            try:
                _write_beside(self.target_folder / target, data)
            except OSError as error:
                return Entry(source, target, error=f"cannot write {target}: {describe_error(error)}")
        return entry

    def _write_shard(self, shard: str) -> list[Entry]:
        entries, cuts = [], []
        shar = self.shard_format == "shar"
        path = self.target_folder / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as out, tarfile.open(fileobj=out, mode="w") as tar:
            for source, key in self.pairs:
                entry, data = self._code(source, f"{shard}/{key}.sc")
                entries.append(entry)
                if entry.error is not None:
                    continue
                _add(tar, f"{key}.sc", data)
                if shar:
                    cut = _cut(key, entry, self._transcript(source))
                    cuts.append(cut)
                    recording = cut["recording"]
                    _add(tar, f"{key}.json", json.dumps(recording).encode() + b"\n")
                else:
                    self._add_sidecars(tar, source, key, entry)
        if shar:
            lines = "".join(json.dumps({k: v for k, v in cut.items() if k != "recording"}) + "\n" for cut in cuts)
            with whole_file(path.with_name(cuts_name(path.name))) as out:
                out.write(gzip.compress(lines.encode(), mtime=0))
        return entries

    def _transcript(self, source: str) -> str | None:
        try:
            return (self.source_folder / source).with_suffix(".txt").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None

    def _add_sidecars(self, tar: tarfile.TarFile, source: str, key: str, entry: Entry) -> None:
        found = False
        for suffix in SIDECARS:
            beside = (self.source_folder / source).with_suffix(suffix)
            if beside.is_file():
                found = found or suffix == ".json"
                _add(tar, key + suffix, beside.read_bytes())
        if not found:
            facts = {"source": source, "samples": entry.samples, "sample_rate_hz": entry.sample_rate_hz}
            _add(tar, f"{key}.json", json.dumps(facts).encode())


@dataclass(frozen=True)
class UnpackJob:
    """One ``.sc`` file, or all of one shard, to decode."""

    source_folder: Path
    target_folder: Path
    pairs: tuple[tuple[str, str], ...]
    model: str | None = None
    shard: str | None = None
    spellings: Spellings | None = field(default_factory=current_spellings)

    def run(self) -> list[Entry]:
        """Decode them; an error of one is in its entry and stops no other."""
        if self.shard is None:
            return [self._decode(source, target, None) for source, target in self.pairs]
        wanted, entries = dict(self.pairs), []
        try:
            path = self.source_folder / self.shard
            most_bytes = path.stat().st_size
            with tarfile.open(path, "r:") as tar:
                for name, member in coded_members(tar, self.shard):
                    target = wanted.pop(name, None)
                    if target is None:
                        continue
                    if member.size > most_bytes:
                        said = f"claims {member.size} bytes in a tar of {most_bytes}"
                        entries.append(Entry(name, target, error=said))
                    elif (file := tar.extractfile(member)) is not None:
                        entries.append(self._decode(name, target, file.read()))
        except (OSError, tarfile.TarError) as error:
            said = f"cannot read {self.shard}: {error}"
            entries += [Entry(source, target, error=said) for source, target in wanted.items()]
        return entries

    def _decode(self, source: str, target: str, data: bytes | None) -> Entry:
        path = self.source_folder / (source if self.shard is None else self.shard)
        try:
            found = os.stat(path)
            coded = path.read_bytes() if data is None else data
            out = self.target_folder / target
            out.parent.mkdir(parents=True, exist_ok=True)
            stream = io.BytesIO(coded)
            with noted(stream, out) as notes:
                samples = decode_file(stream, out, model=self.model)
            header = FileReader(io.BytesIO(coded)).header
            return Entry(
                source,
                target,
                sha256=hashlib.sha256(coded).hexdigest(),
                source_bytes=found.st_size,
                source_mtime_ns=found.st_mtime_ns,
                target_sha256=_sha256(out),
                bytes=out.stat().st_size,
                samples=samples,
                sample_rate_hz=header.sample_rate_hz,
                channels=header.channels,
                note="; ".join(notes),
            )
        except (StreamcodecError, OSError, MemoryError) as error:
            return Entry(source, target, error=_said(error).replace("the stream", source))


Job = PackJob | UnpackJob


def run_job(job: Job) -> list[Entry]:
    """What an engine calls; whatever goes wrong is in the entries."""
    try:
        with spelt(job.spellings):
            return job.run()
    except (FileFormatError, OSError, tarfile.TarError) as error:
        return [replace(Entry(source, target), error=_said(error)) for source, target in job.pairs]


def prepare_worker() -> None:
    """Load once, in a worker that is new, what every file needs."""
    import streamcodec.codec.stream  # noqa: F401


def coded_members(tar: tarfile.TarFile, shard: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Every ``.sc`` file in a tar, and its name in the manifest: a second one of a name has a number."""
    taken: Counter[str] = Counter()
    for member in tar:
        if member.isfile() and member.name.endswith(".sc"):
            yield free_name([f"{shard}/{member.name}"], taken), member


def cuts_name(shard: str) -> str:
    """Of the file of cuts that belongs to a Shar tar."""
    return shard.replace("recording.", "cuts.").replace(".tar", ".jsonl.gz")


def _said(error: BaseException) -> str:
    if isinstance(error, OSError):
        return describe_error(error)
    return str(error) or type(error).__name__


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        seen = hashlib.sha256()
        while piece := file.read(1 << 20):
            seen.update(piece)
    return seen.hexdigest()


def _write_beside(path: Path, data: bytes) -> None:
    """Beside its name, then renamed; not forced to the disk, since the next run checks its length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:180]}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _cut(key: str, entry: Entry, text: str | None) -> dict[str, Any]:
    """A cut of the whole recording in lhotse's form, whose samples lie beside it in the tar."""
    channels = list(range(entry.channels))
    recording = {
        "id": key,
        "sources": [{"type": "shar", "channels": channels, "source": ""}],
        "sampling_rate": entry.sample_rate_hz,
        "num_samples": entry.samples,
        "duration": entry.duration_s,
        "channel_ids": channels,
    }
    supervision = {"id": key, "recording_id": key, "start": 0.0, "duration": entry.duration_s, "text": text}
    several = len(channels) > 1
    return {
        "id": key,
        "start": 0.0,
        "duration": entry.duration_s,
        "channel": channels if several else 0,
        "supervisions": [] if text is None else [{**supervision, "channel": channels if several else 0}],
        "recording": recording,
        "type": "MultiCut" if several else "MonoCut",
    }
