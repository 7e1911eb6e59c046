"""Run experiments: one folder each, with everything needed to judge and repeat them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamcodec.codec.files.output_file import write_whole
from streamcodec.errors import StreamcodecError
from streamcodec.research.experiments.experiment import SCALES, Context, Experiment, Results, Scale
from streamcodec.research.experiments.material import Material
from streamcodec.research.experiments.page import write_page
from streamcodec.research.experiments.run_notes import training_minutes, training_table
from streamcodec.research.experiments.sounds import HELD_BACK, MAX_TRAIN_S
from streamcodec.research.experiments.tables import markdown, split_columns
from streamcodec.wording import named

NAMED = {
    "steps": "training steps",
    "most_epochs": "epochs",
    "dev_files": "a number of files",
    "dev_s": "seconds of each file",
    "segment_s": "seconds of a crop",
    "rate_hz": "a sample rate",
}
LEAST = {"dev_s": 0.5, "segment_s": 0.5, "rate_hz": 8_000}
MOST = {"dev_s": 86_400, "segment_s": 3_600, "rate_hz": 48_000}


def scale_named(
    name: str,
    steps: int | None = None,
    *,
    most_epochs: int | None = None,
    dev_files: int | None = None,
    dev_s: float | None = None,
    segment_s: float | None = None,
    rate_hz: int | None = None,
) -> Scale:
    """The scale of that name, on the device it is meant for if there is one, with what is given in place of its own.

    Raises:
        StreamcodecError: fewer steps, epochs or files than one, less than half a second of a file or crop, or a
            sample rate below 8,000 or above 48,000 Hz.
    """
    import torch

    scale = SCALES[name]
    given = {
        "steps": steps,
        "most_epochs": most_epochs,
        "dev_files": dev_files,
        "dev_s": dev_s,
        "segment_s": segment_s,
        "rate_hz": rate_hz,
    }
    for option, value in given.items():
        least, most = LEAST.get(option, 1), MOST.get(option, math.inf)
        if value is not None and value > most:
            raise StreamcodecError(f"an experiment takes {NAMED[option]} of at most {most}, not {value}")
        if value is not None and not value >= least:
            raise StreamcodecError(f"an experiment takes {NAMED[option]} of at least {least}, not {value}")
    chosen: dict[str, Any] = {option: value for option, value in given.items() if value is not None}
    scale = dataclasses.replace(scale, **chosen)
    return dataclasses.replace(scale, device="cuda") if name == "full" and torch.cuda.is_available() else scale


def run_experiment(experiment: Experiment, data: Path, out: Path, scale: Scale, seed: int) -> Path:
    """Run one experiment into ``out/<its name>`` and return that folder.

    It holds ``config.json``, ``metrics.json`` (the same from the same seed on one machine's CPU), ``timings.json``,
    ``tables.md``, ``report.html`` and whatever pictures, sounds and runs the experiment wrote. A folder that holds a
    broken-off run of the same settings is resumed.

    Raises:
        StreamcodecError: data that cannot be used, a folder with a run of other settings, or a sample rate that the
            experiment does not take.
    """
    import torch

    if scale.rate_hz is not None and not experiment.at_any_rate:
        raise StreamcodecError(f"{experiment.name} is run at one sample rate; leave {named('rate_hz')} out")
    if experiment.on_single_files:
        material = Material.single_files(data, scale.dev_files)
    else:
        material = Material.from_folder(data, scale.train_files, scale.dev_files)
        scale = with_epochs(scale, material)
    folder = out / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "experiment": experiment.name,
        "seed": seed,
        "scale": _settled(scale, experiment),
        "train": [clip.name for clip in material.train],
        "dev": [clip.name for clip in material.dev],
    }
    _keep_config(folder / "config.json", config)
    # One thread and one order of additions: what a seed gives must not depend on how busy the machine is.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(scale.device == "cpu")
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True))
    with bar:
        results = experiment.run(Context(folder, material, scale, seed, bar))
    training = training_table(folder)
    if training is not None:
        results = dataclasses.replace(results, tables=[*results.tables, training])
    write_results(experiment, config, results, folder)
    return folder


def with_epochs(scale: Scale, material: Material) -> Scale:
    """The scale with as many steps as its epochs of the training sound take, if it asks for epochs."""
    if scale.most_epochs is None:
        return scale
    epoch_s = material.train_s(MAX_TRAIN_S) * (1 - 1 / HELD_BACK)
    steps = math.ceil(scale.most_epochs * epoch_s / (scale.batch_segments * scale.segment_s))
    return dataclasses.replace(scale, steps=steps)


def _settled(scale: Scale, experiment: Experiment) -> dict[str, Any]:
    """What a resumed run must agree on: some may go on to more epochs, others may not."""
    free = {"most_epochs"} if experiment.on_single_files or experiment.goes_on or scale.most_epochs is None else set()
    free |= {"steps"} if experiment.goes_on and scale.most_epochs is not None else set()
    free |= {"rate_hz"} if scale.rate_hz is None else set()
    return {name: value for name, value in dataclasses.asdict(scale).items() if name not in free}


def _keep_config(path: Path, config: dict[str, Any]) -> None:
    """Write the settings, or see that they are those of the run that stands there."""
    text = json.dumps(config, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise StreamcodecError(f"{path.parent} holds a run of other settings or data; choose another --output")
    write_whole(path, text)


def write_results(experiment: Experiment, config: dict[str, Any], results: Results, folder: Path) -> None:
    """Figures as JSON (clock times apart), tables as Markdown, all of it as one page."""
    steady = {"experiment": experiment.name, "notes": list(results.notes), "tables": [], "seed": config["seed"]}
    for name, wanted in (("metrics", False), ("timings", True)):
        tables = [split_columns(table, wanted) for table in results.tables]
        content = {**steady, "tables": [table for table in tables if table["columns"]]}
        if wanted:
            content["training_minutes"] = training_minutes(folder)
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_whole(folder / f"{name}.json", text)
    write_whole(folder / "tables.md", "\n".join(markdown(table) for table in results.tables))
    write_page(experiment, config, results, folder / "report.html")
