"""Tables of the published systems: figures of the research bench, and what was published beside what came out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Table = tuple[str, Sequence[str], list[list[str]]]
"""Source file below ``bench/results``, column titles, rows of cells."""
Results = Callable[[str], Any]
"""Figures of one file below ``bench/results``."""
Rows = Mapping[str, Mapping[str, Any]]


class TableError(Exception):
    """A page asks for a table that there is not, or figures lack what a table shows."""


CODECS = (
    "real kbps",
    "nominal ratio",
    "LSD dB",
    "downsampling LSD dB",
    "beats it",
    "SNR dB",
    "PESQ-WB",
    "STOI",
)
ERRORS = ("MSE", "SNR dB", "PSNR dB", "SD dB")
COUNTED = "As the paper counts: latents without rounding"
REAL = "In real bytes"
LINEAR = "What linear networks reach"
MEANS = "Means over files"
LADDER = "The ladder: RMSE on spectra"
RUNGS = ("nominal kbps", "real kbps", "RMSE here", "RMSE of downsampling", "RMSE published")
SEGMENTS = "Restoring 32 kHz MP3 to 44.1 kHz: four ways of preparing segments, two losses"
RESTORED = "Causal restoration of decoded sound"
BY_FILE = "File by file: ratio 8, hidden 64, latents 15, price 0.003"
PUBLISHED_MSE = 4.4e-6
SWEPT_SHAPES = ("64, latents 15", "128, latents 20")
MAPS = "Silhouette of the classes on maps"
MAP_METHODS = (
    "PCA",
    "kernel PCA, rbf",
    "kernel PCA, poly",
    "kernel PCA, sigmoid",
    "kernel PCA, cosine",
    "sparse PCA",
    "LDA",
    "t-SNE",
)
REACHED = "Files on which a linear network reaches what was published"
VAE_FIGURES = ("real ratio", "ratio with decoder", "SNR dB unrounded", "SNR dB linear", "SNR dB")

SHOWN: dict[str, tuple[str, str, Sequence[str]]] = {
    "architecture": ("architecture", "Architectures", CODECS),
    "architecture-claims": ("architecture", "What was published", ("network", "claim")),
    "skip-connections": ("architecture", "What the U-Net's skips cost", ("real kbps", "share")),
    "latent-size": ("latent-size", "Latent sizes", CODECS),
    "ladder": ("latent-size", LADDER, RUNGS),
    "latent-size-2s": ("latent-size-2s", "Latent sizes", CODECS),
    "ladder-2s": ("latent-size-2s", LADDER, RUNGS),
    "representation": ("representation", "Representations", CODECS),
    "representation-22k": ("representation-22k", "Representations", CODECS),
    "loss": ("loss", "Losses", CODECS),
    "near-lossless": ("near-lossless", "Near-lossless", ("real kbps", "real ratio", "nominal ratio", *ERRORS)),
    "restoration": ("restoration", RESTORED, ("PESQ-WB", "STOI", "SI-SDR dB", "LSD dB")),
    "restoration-segments": (
        "restoration-segments",
        SEGMENTS,
        ("SNR dB", "SI-SDR dB", "MSE x 1e4", "SD dB", "ViSQOL audio"),
    ),
    "probes": (
        "probes",
        "Recognition, balanced accuracy in %",
        ("linear probe", "small CNN", "guessing", "classes", "crops"),
    ),
    "probes-maps": ("probes", MAPS, MAP_METHODS),
    "retrieval": (
        "retrieval",
        "Retrieval",
        ("nearest %", "mean average precision %", "guessing %", "classes", "recordings"),
    ),
    "deep-autoencoder": (
        "deep-autoencoder",
        COUNTED,
        ("epochs", "steps", "settled", "minutes", "called", "samples a latent", *ERRORS),
    ),
    "deep-autoencoder-bytes": (
        "deep-autoencoder",
        REAL,
        ("real kbps", "real ratio", "ratio with decoder", *ERRORS, "ms a frame"),
    ),
    "linear-latents": ("linear-latents", LINEAR, ("MSE", "SNR dB")),
    "per-file-vae": (
        "per-file-vae",
        MEANS,
        ("epochs", "steps", "s per s of sound", "settled", "files at 26.33 dB", *VAE_FIGURES),
    ),
    "per-file-vae-sweep": ("per-file-vae-sweep", MEANS, ("epochs", "steps", "s per s of sound", *VAE_FIGURES)),
    "per-file-vae-files": ("per-file-vae", BY_FILE, ("epochs", "settled", *VAE_FIGURES, "PSNR dB", "SD dB")),
    "linear-bound": ("linear-bound", REACHED, ("files that reach it", "of", "mean SNR dB")),
}
"""By the name that pages use, after ``research-``: experiment, title of its table, columns."""
BY_EPOCHS = (
    "architecture",
    "latent-size",
    "latent-size-2s",
    "loss",
    "near-lossless",
    "probes",
    "representation",
    "representation-22k",
    "restoration-segments",
)
SHOWN |= {f"{name}-training": (name, "Training", ("steps", "epochs", "settled", "minutes")) for name in BY_EPOCHS}


def research_tables(results: Results) -> dict[str, Callable[[], Table]]:
    """All tables of the bench by name."""
    tables: dict[str, Callable[[], Table]] = {
        f"research-{name}": functools.partial(_shown, results, *of) for name, of in SHOWN.items()
    }
    tables["published-deep-autoencoder"] = functools.partial(_deep_autoencoder_claims, results)
    tables["published-per-file-vae"] = functools.partial(_per_file_vae_claims, results)
    return tables


def training_minutes(results: Results, file: str) -> float | None:
    """Clock time of all training behind a results file, None where it was not kept."""
    try:
        timings = results(_timings(file))
    except FileNotFoundError:
        return None
    if "training_minutes" in timings:
        return float(timings["training_minutes"])
    # Figures from before that was kept: each network's last row has all of its minutes.
    rows = [item for each in timings["tables"] for item in each["rows"].items() if "minutes" in each["columns"]]
    return sum(row["minutes"] for name, row in rows if name.endswith("in the end")) or None


def _timings(file: str) -> str:
    return file.replace(".json", "-timings.json")


def _rows(results: Results, file: str, title: str) -> Rows:
    found = next((each for each in results(file)["tables"] if each["title"] == title), None)
    if found is None:
        raise TableError(f"{file} has no table {title!r}")
    rows: Rows = found["rows"]
    return rows


def _shown(results: Results, experiment: str, title: str, columns: Sequence[str]) -> Table:
    """Some columns of one of an experiment's tables; those that the clock measured are in a file of their own."""
    file = f"research/{experiment}.json"
    steady = _rows(results, file, title)
    known = {column for row in steady.values() for column in row}
    timed = _rows(results, _timings(file), title) if set(columns) - known else {}
    rows = [
        [name, *(_cell({**timed.get(name, {}), **row}.get(column)) for column in columns)]
        for name, row in steady.items()
    ]
    return file, [experiment, *columns], rows


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _both(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    return " and ".join(_cell(row[column]) for row in rows)


def _deep_autoencoder_claims(results: Results) -> Table:
    file = "research/deep-autoencoder.json"
    counted, real = (_rows(results, file, title) for title in (COUNTED, REAL))
    linear = _rows(results, "research/linear-latents.json", LINEAR)
    sound, signal = next(iter(_rows(results, file, "Files").items()))
    names = [f"{sound}, {latents} latents" for latents in (35, 60)]
    last = [counted[f"{name}, in the end"] for name in names]
    coded = [real[f"{name}, in the end"] for name in names]
    bound = [counted[f"{sound}, {latents} principal components"] for latents in (35, 60)]
    early = [_both([counted[f"{name}, {epochs} epochs"] for epochs in (10, 20)], "SNR dB") for name in names]
    timed = _rows(results, _timings(file), REAL)
    ms = {name: _cell(timed[f"{sound}, {name}"]["ms a frame"]) for name in ("60 latents, in the end", "ALAC", "FLAC")}
    rows = [
        (
            "30:1 with 35 latents, 17:1 with 60",
            f"1,024 over 35 and 60 as called; frames overlap by half, so there are {_both(last, 'samples a latent')} "
            f"samples a latent. In real bytes {_both(coded, 'real ratio')}:1 without the decoder, "
            f"{_both(coded, 'ratio with decoder')}:1 with it",
        ),
        (
            "MSE 4.4e-6",
            f"{_both(last, 'MSE')}, an SNR of {_both(last, 'SNR dB')} dB, after {_both(last, 'epochs')} epochs. The "
            f"mean square of this file is {_cell(signal['mean square'])}, so 4.4e-6 takes "
            f"{_cell(signal['SNR that an MSE of 4.4e-6 takes'])} dB. Linear networks reach {_both(bound, 'SNR dB')} "
            f"dB with as many latents, and need {_needed(linear)} for 4.4e-6",
        ),
        ("10 and 20 epochs", f"{early[0]} dB with 35 latents, {early[1]} dB with 60"),
        ("FLAC at 0.1879 of the original", f"{1.0 / real[f'{sound}, FLAC']['real ratio']:.4f} of this one"),
        (
            "quick to code",
            f"{ms['60 latents, in the end']} ms a spectrum, there and back, on one core; ALAC {ms['ALAC']} and FLAC "
            f"{ms['FLAC']} ms for 10 ms of a channel",
        ),
    ]
    return file, ["the paper says", "here"], [list(row) for row in rows]


def _needed(linear: Rows) -> str:
    """How many principal components have the published MSE, as closely as the table knows."""
    errors = {int(name.split(", ")[1]): row["MSE"] for name, row in linear.items()}
    enough = [count for count, error in errors.items() if error <= PUBLISHED_MSE]
    if not enough:
        return f"more than {max(errors)}"
    return f"more than {max(count for count in errors if count < min(enough))}, at the most {min(enough)}"


def _per_file_vae_claims(results: Results) -> Table:
    file = "research/per-file-vae.json"
    means, files = _rows(results, file, MEANS), _rows(results, file, BY_FILE)
    timed = _rows(results, _timings(file), MEANS)
    plain = "ratio 8, hidden 64, latents 15, price 0.003"
    first, end = f"{plain}, 30 epochs", f"{plain}, in the end"
    swept = _rows(results, "research/per-file-vae-sweep.json", MEANS)
    sweep = [swept[f"ratio 8, hidden {shape}, price 0.003, in the end"] for shape in SWEPT_SHAPES]
    free = "SNR dB unrounded"
    last = means[end]
    of_files = [row[free] for name, row in files.items() if name.endswith("in the end")]
    clips = len(of_files)
    rows = [
        (
            "mean SNR of 26.33 dB at 8:1 over 119 sound effects",
            f"{_cell(means[first][free])} dB over {clips} clips after 30 epochs, {_cell(last[free])} after "
            f"{_cell(last['epochs'])}, when {last['settled']} had settled. As many principal components give "
            f"{_cell(last['SNR dB linear'])}. Single files have {_cell(min(of_files))} to {_cell(max(of_files))} dB; "
            f"{last['files at 26.33 dB']} of {clips} reach it. With 128 hidden units and 20 latents the two clips of "
            f"the sweep have {_cell(sweep[1][free])} in place of {_cell(sweep[0][free])} dB",
        ),
        (
            "8:1",
            f"a latent costs {8 * 16 / last['real ratio']:.1f} bits once rounded and coded: "
            f"{_cell(last['real ratio'])}:1, and {_cell(last['ratio with decoder'])}:1 with the decoder of so short "
            "a clip",
        ),
        (
            "about 100 s a second of sound",
            f"{_cell(timed[first]['s per s of sound'])} s for 30 epochs, {_cell(timed[end]['s per s of sound'])} in "
            "the end, on one busy core",
        ),
    ]
    return file, ["the paper says", "here"], [list(row) for row in rows]
