"""Pictures of a training run: curves of the log, spectrograms of what the model makes of some segments."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import torch

from streamcodec.codec.files.output_file import save_figure
from streamcodec.models.codec import context_available
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.losses import TERMS

matplotlib.use("Agg")

CURVES = ("loss", *TERMS, "adversarial", "features", "discriminator_loss")


def draw_curves(folder: Path) -> None:
    """``curves.png`` from ``log.jsonl``: the loss terms, and the rate at every quality index."""
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "loss" in row]
    if not rows:
        return
    steps = [row["step"] for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5), constrained_layout=True)
    for name in CURVES:
        if any(name in row for row in rows):
            left.semilogy(steps, [row.get(name, np.nan) for row in rows], label=name, linewidth=1)
    left.set(xlabel="step", title="loss terms")
    left.legend()
    kbps = np.array([row["kbps"] for row in rows], dtype=float)
    kbps[kbps == 0] = np.nan
    colours = pyplot.get_cmap("viridis")(np.linspace(0, 1, kbps.shape[1]))
    for quality_index in range(kbps.shape[1]):
        right.semilogy(steps, kbps[:, quality_index], color=colours[quality_index], linewidth=0.7)
    right.set(xlabel="step", title="kbps at each quality index, coarse (dark) to fine (bright)")
    save_figure(figure, folder / "curves.png", dpi=90)
    pyplot.close(figure)


@torch.no_grad()
def draw_samples(task: CodecTask, path: Path, segments: int = 3) -> None:
    """Spectrograms of a few training segments, original above three rates, with the weights now in place."""
    from matplotlib import pyplot

    config = task.codec.config
    samples, _ = task.source.batch(step=2**30, size=segments)
    x = torch.from_numpy(samples).to(task.device)
    frames = x.shape[1] // config.frame_samples
    qualities = (config.qualities - 1, config.qualities // 2, 0)
    rows = [("original", samples)]
    for value in qualities:
        quality_index = torch.full((segments, frames), value, device=task.device)
        available = context_available(segments, frames, "independent").to(task.device)
        out = task.codec(x, quality_index, available, torch.zeros_like(quality_index, dtype=torch.bool))
        kbps = float(out.frame_bits_hard.mean()) * config.frames_per_second / 1000
        rows.append((f"quality index {value}, {kbps:.1f} kbps", out.samples.cpu().numpy()))
    figure, axes = pyplot.subplots(
        len(rows), segments, figsize=(5 * segments, 2.4 * len(rows)), constrained_layout=True, squeeze=False
    )
    for axis_row, (name, sounds) in zip(axes, rows, strict=True):
        for axis, sound in zip(axis_row, sounds, strict=True):
            axis.specgram(
                sound + 1e-6 * np.random.default_rng(0).standard_normal(sound.size),
                NFFT=512,
                Fs=config.sample_rate_hz,
                noverlap=384,
                cmap="magma",
                vmin=-120,
                vmax=-30,
            )
            axis.set(title=name, ylabel="Hz")
    save_figure(figure, path, dpi=80)
    pyplot.close(figure)
