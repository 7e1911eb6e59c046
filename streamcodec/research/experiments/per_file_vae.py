"""The dense VAE as it was published: one network for each file, at four ratios, with the network sent along."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamcodec.research.experiments.drawing import draw_curves, draw_plane
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Results, Sound, Table
from streamcodec.research.experiments.file_figures import (
    ERROR_COLUMNS,
    FileCodec,
    errors,
    mean_cells,
    rate_cells,
)
from streamcodec.research.experiments.file_run import (
    Trained,
    epoch_curve,
    epoch_errors,
    linear_bound,
    train_on_file,
    without_rounding,
)
from streamcodec.research.experiments.run_notes import settled_word
from streamcodec.research.experiments.sounds import Float32Array, development_clips, write_sound
from streamcodec.research.models.dense_vae import DenseVaeConfig
from streamcodec.research.training.file_task import FileTraining

RATE_HZ = 44_100
EPOCHS = (30,)
MOST_EPOCHS = 1_000
PUBLISHED_SNR_DB = 26.33
FIGURES = ("real kbps", "real ratio", "ratio with decoder", "SNR dB unrounded", "SNR dB linear", *ERROR_COLUMNS)
RATIO, FREE, SNR = (FIGURES.index(each) for each in ("real ratio", "SNR dB unrounded", "SNR dB"))
SNR_OF_ERRORS = ERROR_COLUMNS.index("SNR dB")
REACHED = f"files at {PUBLISHED_SNR_DB} dB"
COUNTS = 5
"""Cells of a row of means before its figures."""


@dataclass(frozen=True)
class Shape:
    """A network and the price of its bits."""

    hidden: int = 64
    latents: int = 15
    ratio: int = 8
    price: float = 0.003
    to_the_end: bool = True
    """Whether it is trained on after the published epochs, until it gains no more, without being asked to."""

    @property
    def name(self) -> str:
        """For tables and folders."""
        return f"ratio {self.ratio}, hidden {self.hidden}, latents {self.latents}, price {self.price:g}"

    def run_key(self, file: str) -> str:
        """Folder of the run on one file."""
        return f"{file}-{self.name.replace(', ', '-').replace(' ', '')}"


PER_FILE = Shape()
"""Whose figures are given file by file."""
SHAPES = (
    PER_FILE,
    Shape(hidden=128, latents=20, to_the_end=False),
    Shape(price=0.03, to_the_end=False),
    Shape(price=0.0003, to_the_end=False),
    Shape(ratio=4, to_the_end=False),
    Shape(ratio=2, to_the_end=False),
    Shape(ratio=1, to_the_end=False),
    Shape(hidden=64, latents=20, to_the_end=False),
    Shape(hidden=128, latents=15, to_the_end=False),
)


@dataclass(frozen=True)
class _Measured:
    """One network at one point of its run on one file."""

    stage: Trained
    cells: list[float | None]
    """Of ``FIGURES``."""
    s_per_s: float
    """Clock time of training for a second of sound."""
    decoded: Float32Array


def run(context: Context) -> Results:
    """Train every shape on every development file, but not on speech where there is other sound."""
    everything = development_clips(context, RATE_HZ)
    clips = [clip for clip in everything if clip.kind != "speech"] or everything
    rows: list[tuple[Cell, ...]] = []
    files: list[tuple[Cell, ...]] = []
    curves: dict[str, tuple[list[float], list[float]]] = {}
    rmse: dict[str, tuple[list[float], list[float]]] = {}
    plane: dict[str, list[tuple[float, float]]] = {}
    sounds: list[Sound] = []
    for shape in SHAPES:
        by_stage: dict[str, list[_Measured]] = {}
        for clip in clips:
            file = clip.path.stem
            channels = clip.read()[0][None]
            measured = _measure(context, shape, file, channels)
            for each in measured:
                by_stage.setdefault(each.stage.name, []).append(each)
                if shape is PER_FILE:
                    counts = (each.stage.epochs, each.stage.steps, settled_word(each.stage.settled))
                    files.append((f"{file}, {each.stage.name}", *counts, *each.cells))
            if shape is PER_FILE:
                curves[file] = epoch_curve(context, shape.run_key(file))
                rmse[file] = epoch_errors(context, shape.run_key(file))
                sounds.append(_heard(context, "original", file, channels))
                sounds.append(_heard(context, "coded", file, measured[-1].decoded))
        for stage_name, of_files in by_stage.items():
            row = _mean_row(of_files)
            rows.append((f"{shape.name}, {stage_name}", *row))
            ratio, snr_db = row[COUNTS + RATIO], row[COUNTS + SNR]
            if isinstance(ratio, float) and isinstance(snr_db, float):
                plane.setdefault(f"ratio {shape.ratio}, {stage_name}", []).append((ratio, snr_db))
    note = (
        f"{len(clips)} clips of {context.scale.dev_s:g} s. SNR unrounded: from the posterior's mean, as the paper "
        "counts, and so are the files that reach its mean SNR. Linear: from as many principal components of the "
        "file's own blocks. Ratio with decoder: its weights in 16 bits and the tables sent along. Price: loss a bit "
        "for each sample, the paper's lambda. Settled: files whose network had stopped improving."
    )
    columns = ("network", "epochs", "steps", "s per s of sound", "settled", REACHED, *FIGURES)
    tables = [
        Table("Means over files", columns, tuple(rows), note, frozenset({"s per s of sound"})),
        Table(f"File by file: {PER_FILE.name}", ("file", "epochs", "steps", "settled", *FIGURES), tuple(files)),
    ]
    pictures = [
        draw_curves(curves, context.folder / "convergence.png", "epoch", "loss on the whole file"),
        draw_curves(rmse, context.folder / "rmse.png", "epoch", "RMSE over the file's RMS (latents drawn)"),
        draw_plane(plane, ("real ratio", "SNR dB"), context.folder / "plane.png", "Accuracy over compression"),
    ]
    return Results(tables, pictures, sounds, [_NOTE])


def _measure(context: Context, shape: Shape, file: str, channels: Float32Array) -> list[_Measured]:
    """Train one shape on one file, and what it comes to after each number of epochs."""
    config = DenseVaeConfig(latents=shape.latents, ratio=shape.ratio, hidden=shape.hidden)
    settings = FileTraining(price=shape.price, seed=context.seed)
    most_epochs = context.scale.most_epochs or (MOST_EPOCHS if shape.to_the_end else None)
    key = shape.run_key(file)
    stages = train_on_file(context, key, "dense-vae", config, channels, settings, EPOCHS, most_epochs)
    bound = errors(channels, linear_bound(stages[0].model, channels))[SNR_OF_ERRORS]
    found = []
    for stage in stages:
        free = errors(channels, without_rounding(stage.model, channels))[SNR_OF_ERRORS]
        codec = FileCodec(stage.model, channels)
        decoded, size = codec.code(channels)
        with_decoder = rate_cells(channels, size + codec.decoder_bytes(), RATE_HZ)[1]
        cells = [*rate_cells(channels, size, RATE_HZ), with_decoder, free, bound, *errors(channels, decoded)]
        found.append(_Measured(stage, cells, 60.0 * stage.minutes * RATE_HZ / channels.shape[1], decoded))
    return found


def _mean_row(of_files: list[_Measured]) -> list[Cell]:
    """Counts and figures, means over files."""
    counts = mean_cells([[each.stage.epochs, each.stage.steps, each.s_per_s] for each in of_files])
    known = [each.stage.settled for each in of_files if each.stage.settled is not None]
    reached = sum((each.cells[FREE] or -math.inf) >= PUBLISHED_SNR_DB for each in of_files)
    settled = f"{sum(known)} of {len(known)}" if known else None
    return [*counts, settled, reached, *mean_cells([each.cells for each in of_files])]


def _heard(context: Context, name: str, file: str, channels: Float32Array) -> Sound:
    return Sound(write_sound(context.folder / "sounds" / file / f"{name}.flac", channels[0], RATE_HZ), name, file)


_NOTE = (
    "Each network is trained on the one clip that it codes: batches of 32 blocks, Adam 1e-3, after 30 epochs and "
    f"when 5 epochs in a row gained nothing ({MOST_EPOCHS} at the most). --steps does not apply."
)
EXPERIMENT = Experiment(
    "per-file-vae",
    "the dense VAE trained on each file that it codes, as published, with its network sent",
    run,
    on_single_files=True,
)
