"""The experiments by name; each lives in the module of that name and is imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from streamcodec.errors import StreamcodecError
from streamcodec.research.experiments.experiment import Experiment

NAMES: tuple[str, ...] = (
    "latent-size",
    "representation",
    "loss",
    "architecture",
    "near-lossless",
    "deep-autoencoder",
    "per-file-vae",
    "linear-bound",
    "linear-latents",
    "restoration",
    "restoration-segments",
    "probes",
    "retrieval",
)
ALL = "all"


def load(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        StreamcodecError: there is none.
    """
    if name not in NAMES:
        raise StreamcodecError(f"there is no experiment {name!r}; choose from {', '.join((*NAMES, ALL))}")
    module = importlib.import_module(f"streamcodec.research.experiments.{name.replace('-', '_')}")
    experiment: Experiment = module.EXPERIMENT
    return experiment


def select(names: Sequence[str]) -> list[Experiment]:
    """Experiments by name, ``all`` for every one."""
    wanted = NAMES if ALL in names else tuple(dict.fromkeys(names))
    return [load(name) for name in wanted]
