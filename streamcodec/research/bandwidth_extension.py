"""Filling the treble that a lossy codec cut off: blind bandwidth extension, without weights.

MP3 and AAC at low rates leave out everything above some frequency, which shows as a cliff in the spectrum that no
room and no instrument has. Where there is one, noise follows the sound just below it, falling with frequency as the
spectra of music and speech do; where there is none, nothing is changed. What lies below the cliff stays as it is to
the bit, up to the limit of full scale.

Ideas: Larsen and Aarts, "Audio Bandwidth Extension", 2004; spectral band replication of HE-AAC, which sends the
envelope that is extrapolated here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_writer import SoundWriter
from streamcodec.codec.packet import Tier

Float32Array = NDArray[np.float32]

LOWEST_CUTOFF_HZ = 3_000.0
HIGHEST_FILLED_HZ = 20_000.0
CLIFFS = ((4, 20.0, 14_000.0), (40, 50.0, 12_500.0))
"""A cliff is so many decibels, within so many bins, between the mean of the bins below it and the loudest of all
above, up to so many hertz: there, little is missed, and good recordings end too (many are filtered at 15 to 19 kHz).
The first is a filter bank's (MP3, AAC), the second a resampler's: Opus resamples its narrower modes."""
HIGHEST_SHARE = 0.8
"""And up to this share of half the sample rate: above begins what resamplers and converters take away."""
CLIFF_BINS = 12
FALLEN_DB = 10.0
"""Below the bins further down, where a cliff begins."""
MOST = 0.98
"""The quantile of a bin's levels over time that stands for it: higher, a click would hide the cliff."""
QUIETEST_DB = -120
STEP_DB = 2
LOUD_DB = 40
"""Frames within so much of the loudest count: what a pause holds says nothing of the codec."""
EDGE = (0.72, 0.97)
"""The band below the cutoff, as shares of it, whose power the noise follows."""
SLOPE_DB, STEEP_DB, STEEP_FROM_HZ = 15.0, 30.0, 12_000.0
"""Fall per octave, and above what it is steeper: chosen among four on nine development recordings."""


class _Frames:
    """Square-root Hann frames, half overlapped, of sound that comes in pieces."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.samples = 1024 if sample_rate_hz >= 32_000 else 512
        self.hop = self.samples // 2
        self.window = np.sqrt(np.hanning(self.samples + 1)[:-1]).astype(np.float32)
        self.frequencies_hz = np.arange(self.hop + 1) * sample_rate_hz / self.samples
        self._rest = np.zeros(self.hop, np.float32)

    def spectra(self, samples: Float32Array) -> NDArray[np.complex64]:
        """Shape: ``[n]`` -> ``[frames, hop + 1]``, a frame for each whole hop so far."""
        sound = np.concatenate([self._rest, samples])
        count = (len(sound) - self.hop) // self.hop
        self._rest = sound[count * self.hop :]
        if count == 0:
            return np.zeros((0, self.hop + 1), np.complex64)
        framed = np.lib.stride_tricks.sliding_window_view(sound, self.samples)[:: self.hop][:count]
        return np.asarray(np.fft.rfft(framed * self.window), np.complex64)


class CutoffFinder:
    """Where a codec has cut a sound off, from a histogram of levels for each bin: constant memory."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._frames = _Frames(sample_rate_hz)
        self._steps = -QUIETEST_DB // STEP_DB
        bins = len(self._frames.frequencies_hz)
        # Levels of frames by the loudness of the frame, so that quiet frames can be left out in the end.
        self._counts = np.zeros((self._steps + 1, bins, self._steps + 1), np.int32)

    def push(self, samples: Float32Array) -> None:
        """Take in more of one channel. Shape: ``[n]``, full scale 1."""
        spectra = self._frames.spectra(samples) / self._frames.samples
        levels = 20.0 * np.log10(np.abs(spectra) + 1e-9)
        steps = np.clip((levels - QUIETEST_DB) / STEP_DB, 0, self._steps).astype(np.int64)
        bins = np.arange(steps.shape[1])
        for row in steps:
            self._counts[row.max(), bins, row] += 1

    def cutoff_hz(self) -> float | None:
        """The cliff's frequency; None where there is none."""
        present = np.flatnonzero(self._counts.any(axis=(1, 2)))
        if len(present) == 0 or present[-1] == 0:
            return None
        counts = self._counts[max(1, present[-1] - LOUD_DB // STEP_DB) :].sum(axis=0)
        sums = np.cumsum(counts, axis=1)
        levels = (sums < MOST * sums[:, -1:]).sum(axis=1) * STEP_DB
        frequencies_hz = self._frames.frequencies_hz
        first = max(2 * CLIFF_BINS, int(np.searchsorted(frequencies_hz, LOWEST_CUTOFF_HZ)))
        below = np.convolve(levels, np.ones(CLIFF_BINS) / CLIFF_BINS, "valid")
        loudest_above = np.maximum.accumulate(levels[::-1])[::-1]
        for width_bins, least_db, highest_hz in CLIFFS:
            edges = np.arange(first, len(levels) - width_bins)
            if len(edges) == 0:
                continue
            drops = below[edges - CLIFF_BINS] - loudest_above[edges + width_bins]
            steepest = int(np.argmax(drops))
            if drops[steepest] < least_db:
                continue
            edge = int(edges[steepest])
            # Down a slope to where it begins.
            usual_db = np.mean(levels[max(0, edge - 3 * CLIFF_BINS) : edge - CLIFF_BINS])
            while levels[edge - 1] < usual_db - FALLEN_DB:
                edge -= 1
            if frequencies_hz[edge] <= min(highest_hz, HIGHEST_SHARE * frequencies_hz[-1]):
                return float(frequencies_hz[edge])
        return None


class BandwidthExtender:
    """Sound of one channel in, sound with noise above the cutoff out, :attr:`delay_samples` later.

    The noise is the same at every run and in every channel, so that what was in the middle stays there.
    """

    def __init__(self, sample_rate_hz: int, cutoff_hz: float) -> None:
        self._frames = frames = _Frames(sample_rate_hz)
        hz = frames.frequencies_hz
        self._edge = (hz >= EDGE[0] * cutoff_hz) & (hz <= EDGE[1] * cutoff_hz)
        self._filled = (hz >= cutoff_hz) & (hz <= HIGHEST_FILLED_HZ)
        middle_hz = 0.5 * sum(EDGE) * cutoff_hz
        octaves = np.log2(hz[self._filled] / middle_hz)
        steep = np.log2(np.maximum(hz[self._filled] / max(STEEP_FROM_HZ, middle_hz), 1.0))
        self._curve = 10.0 ** (-(SLOPE_DB * octaves + (STEEP_DB - SLOPE_DB) * steep) / 20.0)
        self._random = np.random.Generator(np.random.PCG64(1))
        self._late = np.zeros(frames.hop, np.float32)
        self._overlap = np.zeros(frames.hop, np.float32)

    @property
    def delay_samples(self) -> int:
        """By how much the output lags the input, but for what of a hop has not come yet."""
        return self._frames.hop

    def push(self, samples: Float32Array) -> Float32Array:
        """As many whole hops as have come, within full scale. Shape: ``[n]`` -> ``[k * hop]``."""
        spectra = self._frames.spectra(samples)
        hop = self._frames.hop
        power = np.mean(np.abs(spectra[:, self._edge]) ** 2, axis=1)
        wanted = np.sqrt(power)[:, np.newaxis] * self._curve
        noise = self._random.standard_normal((len(wanted), 2, len(self._curve)), np.float32)
        missing = np.abs(spectra[:, self._filled]) < wanted
        added = np.zeros(spectra.shape, np.complex64)
        added[:, self._filled] = np.where(missing, wanted * (noise[:, 0] + 1j * noise[:, 1]) * np.sqrt(0.5), 0.0)
        pieces = np.fft.irfft(added, self._frames.samples) * self._frames.window
        sums = np.concatenate([self._overlap[np.newaxis], pieces[:, hop:]])
        self._overlap = np.asarray(sums[-1], np.float32)
        filled = (pieces[:, :hop] + sums[:-1]).reshape(-1)
        late = np.concatenate([self._late, samples])
        self._late = late[len(filled) :]
        return np.asarray(np.clip(late[: len(filled)] + filled, -1.0, 1.0), np.float32)

    def flush(self) -> Float32Array:
        """What is still due, after the last ``push``."""
        due = len(self._late) - self._frames.hop
        hop = self._frames.hop
        out = self.push(np.zeros(hop + (-due) % hop, np.float32))
        return out[: due + hop]


def find_cutoff_hz(samples: Float32Array, sample_rate_hz: int) -> float | None:
    """Where a codec has cut this sound off; None where it has not. Shape: ``[n]`` or ``[n, channels]``."""
    finder = CutoffFinder(sample_rate_hz)
    finder.push(_mono(samples))
    return finder.cutoff_hz()


def extend_array(samples: Float32Array, sample_rate_hz: int, cutoff_hz: float | None = None) -> Float32Array:
    """A whole sound, delay removed; as it is where nothing has been cut off.

    Shape: ``[n]`` or ``[n, channels]``, full scale 1 -> the same. ``cutoff_hz`` None: it is looked for.
    """
    if cutoff_hz is None:
        cutoff_hz = find_cutoff_hz(samples, sample_rate_hz)
    if cutoff_hz is None:
        return samples.copy()
    plane = samples.reshape(len(samples), -1)
    blocks = list(_extended([plane], sample_rate_hz, cutoff_hz, plane.shape[1]))
    return np.concatenate(blocks).reshape(samples.shape)


def extend_file(
    source: str | Path | IO[bytes],
    target: str | Path | IO[bytes],
    progress: Callable[[float], None] | None = None,
) -> tuple[int, float | None]:
    """Fill in a sound file, in constant memory; returns the number of samples of a channel and the cutoff in Hz.

    The file is read twice: to find the cutoff, and to write. Raises AudioFormatError or FileFormatError.
    """

    def told(blocks: Iterable[Float32Array], begin: float) -> Iterable[Float32Array]:
        done = 0
        for block in blocks:
            done += len(block)
            if progress is not None and length:
                progress(begin + 0.5 * min(1.0, done / length))
            yield block

    with warnings.catch_warnings(), SoundReader(source, Tier.NEAR_LOSSLESS) as sound:
        warnings.simplefilter("ignore")  # said when it is read again
        length = sound.samples or 0
        finder = CutoffFinder(sound.sample_rate_hz)
        for block in told(sound.blocks(), 0.0):
            finder.push(_mono(block))
    cutoff_hz = finder.cutoff_hz()
    written = 0
    with SoundReader(source, Tier.NEAR_LOSSLESS) as sound:
        rate_hz, channels, depth = sound.sample_rate_hz, sound.channels, sound.bits_per_sample
        blocks = told(sound.blocks(), 0.5)
        if cutoff_hz is not None:
            blocks = _extended(blocks, rate_hz, cutoff_hz, channels)
        with SoundWriter(target, rate_hz, channels, depth, sound.metadata, sources=(source,)) as out:
            for block in blocks:
                out.write(block)
                written += len(block)
    return written, cutoff_hz


def _mono(samples: Float32Array) -> Float32Array:
    return samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)


def _extended(
    blocks: Iterable[Float32Array], sample_rate_hz: int, cutoff_hz: float, channels: int
) -> Iterable[Float32Array]:
    """Shape: blocks ``[n, channels]`` -> blocks of as many samples in all."""
    extenders = [BandwidthExtender(sample_rate_hz, cutoff_hz) for _ in range(channels)]
    skipped = extenders[0].delay_samples

    def without_delay(pieces: list[Float32Array]) -> Float32Array:
        nonlocal skipped
        out = np.stack(pieces, axis=1)
        taken = out[skipped:]
        skipped -= len(out) - len(taken)
        return taken

    for block in blocks:
        columns = np.ascontiguousarray(block.T)
        yield without_delay([extender.push(column) for extender, column in zip(extenders, columns, strict=True)])
    yield without_delay([extender.flush() for extender in extenders])
