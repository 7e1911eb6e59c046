"""The dense VAE as it was published: one network for each file, at four ratios, with the network sent along."""

from __future__ import annotations

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
    epoch_curve,
    epoch_errors,
    linear_bound,
    settled_word,
    train_on_file,
    without_rounding,
)
from streamcodec.research.experiments.sounds import Float32Array, development_clips, write_sound
from streamcodec.research.models.dense_vae import DenseVaeConfig
from streamcodec.research.training.file_task import FileTraining

RATE_HZ = 44_100
EPOCHS = (30,)
MOST_EPOCHS = 1_000
SNR = ERROR_COLUMNS.index("SNR dB")


@dataclass(frozen=True)
class Shape:
    """A network and the price of its bits."""

    hidden: int = 64
    latents: int = 15
    ratio: int = 8
    price: float = 0.003
    to_the_end: bool = True
    """Whether it is trained on after the published epochs, until it gains no more."""

    @property
    def name(self) -> str:
        """For tables and folders."""
        return f"ratio {self.ratio}, hidden {self.hidden}, latents {self.latents}, price {self.price:g}"


PER_FILE = Shape()
SHAPES = (
    PER_FILE,
    Shape(hidden=128, latents=20),
    Shape(price=0.03, to_the_end=False),
    Shape(price=0.0003, to_the_end=False),
    Shape(hidden=64, latents=20, to_the_end=False),
    Shape(hidden=128, latents=15, to_the_end=False),
    Shape(ratio=4, to_the_end=False),
    Shape(ratio=2, to_the_end=False),
    Shape(ratio=1, to_the_end=False),
)
"""Whose figures are given file by file."""


def run(context: Context) -> Results:
    """Train every shape on every development file, but not on speech where there is other sound."""
    most_epochs = context.scale.most_epochs or MOST_EPOCHS
    everything = development_clips(context, RATE_HZ)
    clips = [clip for clip in everything if clip.kind != "speech"] or everything
    rows: list[tuple[Cell, ...]] = []
    files: list[tuple[Cell, ...]] = []
    curves: dict[str, tuple[list[float], list[float]]] = {}
    rmse: dict[str, tuple[list[float], list[float]]] = {}
    plane: dict[str, list[tuple[float, float]]] = {}
    sounds: list[Sound] = []
    for shape in SHAPES:
        config = DenseVaeConfig(latents=shape.latents, ratio=shape.ratio, hidden=shape.hidden)
        found: dict[str, list[list[float | None]]] = {}
        counts: dict[str, list[list[float | None]]] = {}
        for clip in clips:
            samples, _ = clip.read()
            channels = samples[None]
            key = f"{clip.path.stem}-{shape.name.replace(', ', '-').replace(' ', '')}"
            settings = FileTraining(price=shape.price, seed=context.seed)
            end = most_epochs if shape.to_the_end else None
            stages = train_on_file(context, key, "dense-vae", config, channels, settings, EPOCHS, end)
            bound = errors(channels, linear_bound(stages[0].model, channels))[SNR]
            for stage in stages:
                free = errors(channels, without_rounding(stage.model, channels))[SNR]
                codec = FileCodec(stage.model, channels)
                decoded, size = codec.code(channels)
                with_decoder = rate_cells(channels, size + codec.decoder_bytes(), RATE_HZ)[1]
                cells = [*rate_cells(channels, size, RATE_HZ), with_decoder, free, bound]
                cells += errors(channels, decoded)
                found.setdefault(stage.name, []).append(cells)
                a_second = 60.0 * stage.minutes * RATE_HZ / channels.shape[1]
                counts.setdefault(stage.name, []).append([stage.epochs, stage.steps, a_second])
                if shape is PER_FILE:
                    files.append(
                        (f"{clip.path.stem}, {stage.name}", stage.epochs, stage.steps, settled_word(stage), *cells)
                    )
            if shape is PER_FILE:
                curves[clip.path.stem] = epoch_curve(context, key)
                rmse[clip.path.stem] = epoch_errors(context, key)
                sounds += [
                    _heard(context, "original", clip.path.stem, channels),
                    _heard(context, "coded", clip.path.stem, decoded),
                ]
        for stage_name, of_files in found.items():
            mean = mean_cells(of_files)
            rows.append((f"{shape.name}, {stage_name}", *mean_cells(counts[stage_name]), *mean))
            family = f"ratio {shape.ratio}, {stage_name}"
            if mean[1] is not None and mean[5 + SNR] is not None:
                plane.setdefault(family, []).append((float(mean[1]), float(mean[5 + SNR] or 0.0)))
    figures = ("real kbps", "real ratio", "ratio with decoder", "SNR dB unrounded", "SNR dB linear", *ERROR_COLUMNS)
    tables = [
        Table(
            "Means over files",
            ("network", "epochs", "steps", "s per s of sound", *figures),
            tuple(rows),
            f"{len(clips)} clips. SNR unrounded: from the posterior's mean, as the paper counts. Linear: from as "
            "many principal components of the file's own blocks. Ratio with decoder: its weights in 16 bits and the "
            "tables sent along. Price: loss a bit for each sample, the paper's lambda.",
            frozenset({"s per s of sound"}),
        ),
        Table(f"File by file: {PER_FILE.name}", ("file", "epochs", "steps", "settled", *figures), tuple(files)),
    ]
    pictures = [
        draw_curves(curves, context.folder / "convergence.png", "epoch", "loss on the whole file"),
        draw_curves(rmse, context.folder / "rmse.png", "epoch", "RMSE over the file's own RMS (mean over the epoch)"),
        draw_plane(plane, ("real ratio", "SNR dB"), context.folder / "plane.png", "Accuracy over compression"),
    ]
    return Results(tables, pictures, sounds, [_NOTE])


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
