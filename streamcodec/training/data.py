"""Training sound: decoded once into a memory-mapped cache, then cut into random segments."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamcodec.codec.files.output_file import whole_file, write_whole
from streamcodec.codec.files.sound_file import sound_files
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation.clips import kind_of
from streamcodec.training.augment import AugmentationConfig, Augmenter

KIND_WEIGHTS = {"speech": 0.86, "music": 0.09, "environment": 0.05}
FULL_BAND_SHARE = 0.35


class DatasetError(StreamcodecError):
    """The data folders hold nothing to train on."""


@dataclass(frozen=True)
class Clip:
    """One file of the cache: where it lies and what is known of it."""

    start: int
    samples: int
    kind: str
    bandwidth_hz: float


def manifest_rows(manifest: Path) -> list[dict[str, str]]:
    """Rows of a ``manifest.csv`` by their columns, what a row leaves out being empty.

    Raises DatasetError for what is no CSV in UTF-8.
    """
    try:
        # Spreadsheets put a byte order mark in front.
        with manifest.open(newline="", encoding="utf-8-sig") as handle:
            return list(csv.DictReader(handle, restval=""))
    except (OSError, UnicodeError, csv.Error) as error:
        raise DatasetError(f"{manifest} cannot be read as CSV in UTF-8: {error}") from error


def _source_rates(folder: Path) -> dict[str, float]:
    """Rates of the original recordings by file name, from a ``manifest.csv`` in or above the folder.

    Raises DatasetError for a manifest without names, or with a rate that is none.
    """
    for parent in (folder, *folder.parents):
        manifest = parent / "manifest.csv"
        if manifest.is_file():
            rows = manifest_rows(manifest)
            try:
                rates = {
                    str(parent / row["file"]): float(row["sample_rate"]) for row in rows if row.get("sample_rate")
                }
            except KeyError as error:
                raise DatasetError(f"{manifest} has no column {error}; each row must name a sound file") from error
            except ValueError as error:
                raise DatasetError(f"{manifest} has a sample_rate that is no number: {error}") from error
            for name, rate_hz in rates.items():
                if not 0 < rate_hz < math.inf:
                    raise DatasetError(f"{manifest} gives {name} a sample_rate of {rate_hz:g}; it must be above 0")
            return rates
    return {}


def build_cache(folders: list[Path], cache_folder: Path, sample_rate_hz: int) -> Path:
    """Decode every audio file once to 16-bit mono; does nothing if the cache is already complete.

    A cache is of one state of the files: where one has changed, or its rate in a manifest, another is built.

    Returns the cache's folder, ``samples.i16`` and ``clips.json`` inside. Raises DatasetError if no file is found.
    """
    from rich.progress import track

    files = sound_files({p for folder in folders for p in Path(folder).resolve().rglob("*")})
    if not files:
        raise DatasetError(
            f"no sound file under {', '.join(map(str, folders))}; give --data a folder that holds some"
        )
    rates: dict[str, float] = {}
    for folder in folders:
        rates.update(_source_rates(Path(folder).resolve()))
    found = {str(file): file.stat() for file in files}
    states = [[name, each.st_size, each.st_mtime_ns, rates.get(name)] for name, each in found.items()]
    key = json.dumps([sample_rate_hz, states])
    target = cache_folder / hashlib.sha256(key.encode()).hexdigest()[:16]
    index = target / "clips.json"
    if index.is_file():
        return target
    target.mkdir(parents=True, exist_ok=True)
    clips: list[dict[str, object]] = []
    position = 0
    with whole_file(target / "samples.i16") as out:
        for file in track(files, description="decoding"):
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
            mono = samples.mean(axis=1)
            if rate != sample_rate_hz:
                mono = soxr.resample(mono, rate, sample_rate_hz, quality="HQ")
            pcm = np.clip(np.round(mono * 32767.0), -32768, 32767).astype("<i2")
            source_hz = min(rates.get(str(file), float(rate)), float(rate))
            clips.append(
                {
                    "start": position,
                    "samples": len(pcm),
                    "kind": kind_of(file),
                    "bandwidth_hz": min(source_hz, float(sample_rate_hz)) / 2,
                }
            )
            out.write(pcm.tobytes())
            position += len(pcm)
    write_whole(index, json.dumps(clips))
    return target


class SegmentSource:
    """Endless random segments out of a cache, reproducible from a seed and a step number."""

    def __init__(
        self,
        cache: Path,
        segment_samples: int,
        sample_rate_hz: int,
        seed: int,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        self._pcm = np.memmap(cache / "samples.i16", dtype="<i2", mode="r")
        clips = [Clip(**entry) for entry in json.loads((cache / "clips.json").read_text())]
        self._segment = segment_samples
        self._seed = seed
        self._augmenter = Augmenter(augmentation or AugmentationConfig(), sample_rate_hz)
        nyquist_hz = sample_rate_hz / 2
        usable = [clip for clip in clips if clip.samples > segment_samples]
        if not usable:
            raise DatasetError(f"no clip is longer than one segment ({segment_samples} samples)")
        self._pools: list[tuple[float, list[Clip], NDArray[np.float64]]] = []
        for kind, full_band, weight in (
            ("speech", True, KIND_WEIGHTS["speech"] * FULL_BAND_SHARE),
            ("speech", False, KIND_WEIGHTS["speech"] * (1 - FULL_BAND_SHARE)),
            ("music", None, KIND_WEIGHTS["music"]),
            ("environment", None, KIND_WEIGHTS["environment"]),
        ):
            pool = [
                clip
                for clip in usable
                if clip.kind == kind and (full_band is None or (clip.bandwidth_hz > 0.9 * nyquist_hz) == full_band)
            ]
            if pool:
                lengths = np.array([clip.samples for clip in pool], dtype=np.float64)
                self._pools.append((weight, pool, np.cumsum(lengths / lengths.sum())))
        self._pool_shares = np.cumsum([w for w, _, _ in self._pools])
        self._pool_shares /= self._pool_shares[-1]
        noise = [clip for clip in usable if clip.kind in ("environment", "music")]
        self._noise = noise or usable

    def _cut(self, clip: Clip, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        start = clip.start + int(rng.integers(0, clip.samples - samples + 1))
        return np.asarray(self._pcm[start : start + samples], dtype=np.float32) / 32768.0

    def batch(self, step: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Augmented segments and the bandwidth up to which each is to be trusted.

        Shape: ``[size, segment_samples]`` and ``[size]`` (Hz).
        """
        rng = np.random.default_rng((self._seed, step))
        out = np.empty((size, self._segment), dtype=np.float32)
        bandwidth_hz = np.empty(size, dtype=np.float32)
        for row in range(size):
            pool_index = int(np.searchsorted(self._pool_shares, rng.random()))
            _, pool, cumulative = self._pools[min(pool_index, len(self._pools) - 1)]
            clip = pool[min(int(np.searchsorted(cumulative, rng.random())), len(pool) - 1)]
            cut = self._cut(clip, self._augmenter.source_samples(self._segment, clip.samples, rng), rng)
            noise = self._cut(self._noise[int(rng.integers(len(self._noise)))], self._segment, rng)
            out[row], bandwidth_hz[row] = self._augmenter.change(cut, self._segment, clip.bandwidth_hz, noise, rng)
        return out, bandwidth_hz


class BatchesAhead:
    """A source's batches, the next one prepared in a thread while a GPU works on this one."""

    def __init__(self, source: SegmentSource, stride: int) -> None:
        self._source = source
        self._stride = stride
        self._worker = ThreadPoolExecutor(1)
        self._next: dict[tuple[int, int], Future[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}

    def batch(self, step: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As :meth:`SegmentSource.batch`; begins with the batch ``stride`` steps on."""
        ready = self._next.pop((step, size), None)
        self._next = {(step + self._stride, size): self._worker.submit(self._source.batch, step + self._stride, size)}
        return self._source.batch(step, size) if ready is None else ready.result()
