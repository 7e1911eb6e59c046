"""Whether the papers' figures are within reach on a file at all: the best that linear networks of their size do."""

from __future__ import annotations

import math

import numpy as np
import torch

from streamcodec.research.experiments.deep_autoencoder import LATENTS, PUBLISHED_MSE, RATE_HZ, SECONDS
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Results, Table
from streamcodec.research.experiments.file_figures import errors, power, rounded
from streamcodec.research.experiments.file_run import linear_bound
from streamcodec.research.experiments.material import Material
from streamcodec.research.experiments.per_file_vae import PER_FILE, PUBLISHED_SNR_DB
from streamcodec.research.experiments.sounds import file_channels, file_names
from streamcodec.research.models.dense_vae import DenseVae, DenseVaeConfig
from streamcodec.research.models.frame_autoencoder import FrameAutoencoder, FrameAutoencoderConfig
from streamcodec.research.models.unit_model import UnitModel

MOST_FILES = 100


def run(context: Context) -> Results:
    """Every development file but speech, by the autoencoder's two sizes and the VAE's at ratio 8."""
    clips = [clip for clip in Material.single_files(context.material.folder, MOST_FILES).dev if clip.kind != "speech"]
    rows: list[tuple[Cell, ...]] = []
    named_clips = zip(clips, file_names(clips), strict=True)
    for clip, file in context.track(named_clips, "principal components", len(clips)):
        channels = file_channels(clip, RATE_HZ, SECONDS)
        mean_square = power(channels)
        models: list[UnitModel] = [FrameAutoencoder(FrameAutoencoderConfig(latents=each)) for each in LATENTS]
        models.append(DenseVae(DenseVaeConfig(latents=PER_FILE.latents, ratio=PER_FILE.ratio)))
        found = []
        for model in models:
            model.calibrate(torch.from_numpy(channels))
            found.append(errors(channels, linear_bound(model, channels))[:2])
        needed_db = rounded(10.0 * math.log10(mean_square / PUBLISHED_MSE))
        name = f"{clip.kind}/{file}"
        rows.append((name, rounded(mean_square), needed_db, *(snr for _, snr in found), found[0][0], found[1][0]))
    values = np.asarray([row[1:] for row in rows], np.float64)
    reach = [int((values[:, 5 + k] <= PUBLISHED_MSE).sum()) for k in range(2)]
    reach.append(int((values[:, 4] >= PUBLISHED_SNR_DB).sum()))
    named = [*(f"autoencoder, {latents} latents, MSE 4.4e-6" for latents in LATENTS), "VAE, ratio 8, 26.33 dB"]
    count = len(rows)
    sizes = [f"SNR dB, {latents} of a spectrum" for latents in LATENTS]
    columns = ("file", "mean square", "SNR dB for MSE 4.4e-6", *sizes, "SNR dB, 15 of 120 samples")
    return Results(
        [
            Table(
                "Files on which a linear network reaches what was published",
                ("claim", "files that reach it", "of", "mean SNR dB"),
                tuple(
                    (name, files, count, rounded(float(values[:, 2 + k].mean())))
                    for k, (name, files) in enumerate(zip(named, reach, strict=True))
                ),
            ),
            Table("File by file", (*columns, *(f"MSE, {latents} of a spectrum" for latents in LATENTS)), tuple(rows)),
        ]
    )


EXPERIMENT = Experiment(
    "linear-bound",
    "on which files the papers' MSE and SNR are within reach of linear networks of their size",
    run,
    on_single_files=True,
)
