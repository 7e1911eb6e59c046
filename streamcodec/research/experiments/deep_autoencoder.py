"""The deep autoencoder as it was published: trained on one stereo file, and coding that file."""

from __future__ import annotations

import functools
import math
from typing import Any

from streamcodec.research.experiments.drawing import draw_curves, draw_plane
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Results, Sound, Table
from streamcodec.research.experiments.file_figures import (
    ERROR_COLUMNS,
    FileCodec,
    coded_by,
    errors,
    power,
    rate_cells,
    rounded,
    unit_ms,
)
from streamcodec.research.experiments.file_run import (
    epoch_curve,
    linear_bound,
    train_on_file,
    without_rounding,
)
from streamcodec.research.experiments.run_notes import settled_word
from streamcodec.research.experiments.sounds import Float32Array, file_channels, file_names, write_sound
from streamcodec.research.experiments.waveform_contenders import waveform_contenders
from streamcodec.research.models.frame_autoencoder import FrameAutoencoderConfig
from streamcodec.research.training.file_task import FileTraining

RATE_HZ = 44_100
SECONDS = 21.7
LATENTS = (35, 60)
EPOCHS = (10, 20)
MOST_EPOCHS = 3_000
PUBLISHED_MSE = 4.4e-6


def run(context: Context) -> Results:
    """Train on each development file, and code it."""
    most_epochs = context.scale.most_epochs or MOST_EPOCHS
    published: list[tuple[Cell, ...]] = []
    real: list[tuple[Cell, ...]] = []
    signals: list[tuple[Cell, ...]] = []
    curves: dict[str, tuple[list[float], list[float]]] = {}
    plane: dict[str, list[tuple[float, float]]] = {}
    sounds: list[Sound] = []
    for clip, file in zip(context.material.dev, file_names(context.material.dev), strict=True):
        channels = file_channels(clip, RATE_HZ, SECONDS)
        loudness = power(channels)
        needed_db = rounded(_decibels(loudness / PUBLISHED_MSE))
        signals.append((file, len(channels), rounded(channels.shape[1] / RATE_HZ), rounded(loudness), needed_db))
        for latents in LATENTS:
            config = FrameAutoencoderConfig(latents=latents, quantised_in_training=False)
            key = f"{file}-{latents}"
            settings = FileTraining(seed=context.seed)
            stages = train_on_file(context, key, "frame-autoencoder", config, channels, settings, EPOCHS, most_epochs)
            curves[f"{file}, {latents} latents"] = epoch_curve(context, key)
            nominal = rounded(config.representation.hop_samples / latents)
            called = rounded(config.representation.fft_samples / latents)
            bound = errors(channels, linear_bound(stages[0].model, channels))
            for stage in stages:
                name = f"{file}, {latents} latents, {stage.name}"
                figures = errors(channels, without_rounding(stage.model, channels))
                counts = (stage.epochs, stage.steps, settled_word(stage.settled), rounded(stage.minutes))
                published.append((name, *counts, called, nominal, *figures))
                codec = FileCodec(stage.model, channels)
                decoded, size = codec.code(channels)
                sent = size + codec.decoder_bytes()
                with_decoder = rate_cells(channels, sent, RATE_HZ)[1]
                cells = rate_cells(channels, size, RATE_HZ)
                figures = errors(channels, decoded)
                time_ms = rounded(unit_ms(codec.model, channels))
                real.append((name, *cells, with_decoder, *figures, time_ms))
                _point(plane, f"{file}, {latents} latents", cells[1], figures[1])
                if stage is stages[-1]:
                    sounds.append(_heard(context, f"{latents} latents", file, decoded))
            published.append(
                (f"{file}, {latents} principal components", None, None, None, None, called, nominal, *bound)
            )
        sounds.insert(len(sounds) - len(LATENTS), _heard(context, "original", file, channels))
        for name, *cells in context.once(f"{file}-peers", functools.partial(_peers, context, file, channels)):
            real.append((f"{file}, {name}", *cells))
            _point(plane, f"{file}, {name.split(',')[0]}", cells[1], cells[4])
    tables = [
        Table(
            "Files",
            ("file", "channels", "seconds", "mean square", "SNR that an MSE of 4.4e-6 takes"),
            tuple(signals),
        ),
        Table(
            "As the paper counts: latents without rounding",
            ("run", "epochs", "steps", "settled", "minutes", "called", "samples a latent", *ERROR_COLUMNS),
            tuple(published),
            "Settled: whether it had stopped improving, or was stopped. Called: 1,024 samples over latents. Samples "
            "a latent: frames overlap by half, so 512 over latents. Principal components: the best that any linear "
            "network could do with as many latents.",
            frozenset({"minutes"}),
        ),
        Table(
            "In real bytes",
            ("codec", "real kbps", "real ratio", "ratio with decoder", *ERROR_COLUMNS, "ms a frame"),
            tuple(real),
            "All channels, each coded by itself by every codec. Latents in steps that cost 0.1 dB, range coded by "
            "tables fitted to the file; decoder: its weights in 16 bits, and the tables. ms a frame: networks, one "
            "spectrum there and back (a frame is 11.6 ms further on); other codecs, 10 ms of one channel.",
            frozenset({"ms a frame"}),
        ),
    ]
    pictures = [
        draw_curves(curves, context.folder / "convergence.png", "epoch", "loss on the whole file"),
        draw_plane(plane, ("real ratio", "SNR dB"), context.folder / "plane.png", "Accuracy over compression"),
    ]
    return Results(tables, pictures, sounds, [_NOTE])


def _peers(context: Context, file: str, channels: Float32Array) -> list[list[Any]]:
    """Rows of the other codecs, without the file's name."""
    rows: list[list[Any]] = []
    contenders = waveform_contenders(RATE_HZ)
    for contender in context.track(contenders, f"peers on {file}", len(contenders)):
        decoded, size, seconds = coded_by(contender, channels, RATE_HZ)
        cells = rate_cells(channels, size, RATE_HZ)
        time_ms = rounded(1000.0 * seconds / (channels.size / (RATE_HZ / 100.0)))
        rows.append([contender.name, *cells, cells[1], *errors(channels, decoded), time_ms])
    return rows


def _point(
    plane: dict[str, list[tuple[float, float]]], family: str, ratio: float | None, snr_db: float | None
) -> None:
    if ratio is not None and snr_db is not None:
        plane.setdefault(family, []).append((ratio, snr_db))


def _heard(context: Context, name: str, file: str, channels: Float32Array) -> Sound:
    path = context.folder / "sounds" / file / f"{name.replace(' ', '-')}.flac"
    return Sound(write_sound(path, channels.T, RATE_HZ), name, file)


def _decibels(ratio: float) -> float:
    return 10.0 * math.log10(ratio)


_NOTE = (
    "Adam 1e-3, L2 1e-5, clip 1.0, batches of 32 spectra, rate to a fifth after 3 epochs without gain, stopped after "
    "5; the loss that decides is that of the file itself, on which the network is trained. --steps does not apply."
)
EXPERIMENT = Experiment(
    "deep-autoencoder",
    "the deep autoencoder trained on the file that it codes, as published, and what it costs in bytes",
    run,
    on_single_files=True,
)
