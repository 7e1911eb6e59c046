"""Pictures of experiments: loss curves, spectrograms beside their errors, one score against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamcodec.codec.files.output_file import save_figure
from streamcodec.evaluation.spectral import magnitudes
from streamcodec.research.experiments.experiment import Picture

Float32Array = NDArray[np.float32]
FLOOR_DB, CEILING_DB = -60.0, 40.0
ERROR_DB = 30.0


def _save(figure: Figure, path: Path, caption: str) -> Picture:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path, dpi=80, facecolor="white")
    return Picture(path, caption)


def draw_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: Path,
    unit: str = "step",
    value: str = "distortion (mean since the last point)",
) -> Picture:
    """Distortion (or another ``value``) over steps (or another ``unit``), one line a run."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    panel = figure.subplots()
    for name, (steps, values) in curves.items():
        panel.plot(steps, values, label=name, linewidth=1.4)
    panel.set(xlabel=unit, ylabel=value, yscale="log")
    panel.grid(color="#dddddd", linewidth=0.6)
    panel.legend(fontsize=7, ncols=2)
    return _save(figure, path, f"Training: {value.split(' (')[0]} over {unit}s")


def draw_spectra(
    original: Float32Array, decoded: Mapping[str, Float32Array], sample_rate_hz: int, path: Path, clip: str
) -> Picture:
    """Log spectrogram of the original and of what each codec made of it, and the difference in dB."""
    figure = Figure(figsize=(11, 1.9 * (1 + len(decoded))), layout="constrained")
    panels = figure.subplots(1 + len(decoded), 2, squeeze=False, sharex=True, sharey=True)
    extent = (0.0, original.size / sample_rate_hz, 0.0, sample_rate_hz / 2000.0)
    reference = _decibels(original)
    for row, (name, samples) in enumerate({"original": original, **decoded}.items()):
        spectrum = _decibels(samples)
        left, right = panels[row]
        shown = left.imshow(
            spectrum.T, origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB, vmax=CEILING_DB, cmap="magma"
        )
        left.set_title(name, fontsize=8, loc="left")
        left.set_ylabel("kHz", fontsize=8)
        if row == 0:
            right.axis("off")
            figure.colorbar(shown, ax=right, location="left", label="dB")
            continue
        error = right.imshow(
            (spectrum - reference).T,
            origin="lower",
            aspect="auto",
            extent=extent,
            vmin=-ERROR_DB,
            vmax=ERROR_DB,
            cmap="RdBu_r",
        )
        right.set_title("difference", fontsize=8, loc="left")
    if decoded:
        figure.colorbar(error, ax=panels[1:, 1].tolist(), label="dB too loud (red) or too soft (blue)")
    return _save(figure, path, f"Spectrograms and error maps of {clip}")


def _decibels(samples: Float32Array) -> NDArray[np.float64]:
    floored = np.maximum(magnitudes(samples.astype(np.float64)), 10.0 ** (FLOOR_DB / 20.0))
    return np.asarray(20.0 * np.log10(floored))


def draw_plane(
    points: Mapping[str, Sequence[tuple[float, float]]],
    labels: tuple[str, str],
    path: Path,
    caption: str,
    vertical: str = "linear",
) -> Picture:
    """One score against another, a line for each family of codecs, the horizontal axis logarithmic."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    panel = figure.subplots()
    for name, values in points.items():
        ordered = sorted(values)
        panel.plot([x for x, _ in ordered], [y for _, y in ordered], marker="o", markersize=4, label=name)
    panel.set(xlabel=labels[0], ylabel=labels[1], xscale="log", yscale=vertical)
    panel.grid(color="#dddddd", linewidth=0.6, which="both")
    panel.legend(fontsize=8)
    return _save(figure, path, caption)


def draw_waveforms(
    original: Float32Array, decoded: Mapping[str, Float32Array], sample_rate_hz: int, path: Path
) -> Picture:
    """10 ms around the peak, every codec laid over the original."""
    half = sample_rate_hz // 200
    centre = int(np.clip(np.argmax(np.abs(original)), half, original.size - half))
    window = slice(centre - half, centre + half)
    time_ms = np.arange(window.start, window.stop) * 1000.0 / sample_rate_hz
    figure = Figure(figsize=(10, 4), layout="constrained")
    panel = figure.subplots()
    panel.plot(time_ms, original[window], color="black", linewidth=2.2, label="original")
    for name, samples in decoded.items():
        panel.plot(time_ms, samples[window], linewidth=1.0, label=name)
    panel.set(xlabel="ms", ylabel="amplitude")
    panel.legend(fontsize=7)
    return _save(figure, path, "Waveforms around the peak")
