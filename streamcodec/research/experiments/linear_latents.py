"""How many latents the deep autoencoder's MSE would take of a linear network, on the very file."""

from __future__ import annotations

import functools
from typing import Any

import torch

from streamcodec.research.experiments.deep_autoencoder import PUBLISHED_MSE, RATE_HZ, SECONDS
from streamcodec.research.experiments.drawing import draw_plane
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Results, Table
from streamcodec.research.experiments.file_figures import errors, power, rounded
from streamcodec.research.experiments.file_run import linear_bounds
from streamcodec.research.experiments.sounds import Float32Array, file_channels, file_names
from streamcodec.research.models.frame_autoencoder import FrameAutoencoder, FrameAutoencoderConfig

COUNTS = (10, 20, 35, 60, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900)
"""Of a spectrum's 1,026 numbers."""


def run(context: Context) -> Results:
    """Principal components of each development file's spectra, from few to nearly all."""
    rows: list[tuple[Cell, ...]] = []
    needed: list[tuple[Cell, ...]] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    clips = context.material.dev
    named = zip(clips, file_names(clips), strict=True)
    for clip, file in context.track(named, "principal components", len(clips)):
        channels = file_channels(clip, RATE_HZ, SECONDS)
        found = context.once(file, functools.partial(_bounds, channels))
        rows += [(f"{file}, {count}", *cells) for count, *cells in found]
        lines[file] = [(count, mse) for count, mse, _ in found]
        enough = [count for count, mse, _ in found if mse <= PUBLISHED_MSE]
        needed.append((file, rounded(power(channels)), min(enough, default=None)))
    lines["published"] = [(COUNTS[0], PUBLISHED_MSE), (COUNTS[-1], PUBLISHED_MSE)]
    tables = [
        Table("What linear networks reach", ("principal components", "MSE", "SNR dB"), tuple(rows), _NOTE),
        Table(
            f"Latents that an MSE of {PUBLISHED_MSE:g} takes",
            ("file", "mean square", "latents at most"),
            tuple(needed),
            "The first of the table above that has it.",
        ),
    ]
    picture = draw_plane(
        lines, ("latents a spectrum", "MSE"), context.folder / "latents.png", "Error of linear networks", "log"
    )
    return Results(tables, [picture])


def _bounds(channels: Float32Array) -> list[list[Any]]:
    """Number of components, MSE and SNR in dB."""
    model = FrameAutoencoder(FrameAutoencoderConfig())
    model.calibrate(torch.from_numpy(channels))
    bounds = linear_bounds(model, channels, COUNTS)
    return [[count, *errors(channels, bound)[:2]] for count, bound in zip(COUNTS, bounds, strict=True)]


_NOTE = (
    "Of each spectrum's 1,026 numbers, latents not rounded: the least error that any linear network of that many "
    "latents can have on this file."
)
EXPERIMENT = Experiment(
    "linear-latents",
    "how many latents a linear network would need for the deep autoencoder's published MSE",
    run,
    on_single_files=True,
)
