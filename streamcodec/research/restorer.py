"""Loader of restorers, networks that undo some of what a lossy codec did to a sound; needs no torch.

A restorer is a folder of ``restorer.onnx`` and ``restorer.json``.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from native_dsp.transforms.companding import POWER
from native_dsp.transforms.fft import check_fft_samples
from streamcodec.errors import ModelError

GRAPH = "restorer.onnx"
DESCRIPTION = "restorer.json"
MOST = 1 << 20
MOST_HOPS = 64


@dataclass(frozen=True)
class RestorerConfig:
    """Shape of a causal restorer; framing in samples at ``sample_rate_hz``, as in the codec's ``NeuralConfig``."""

    sample_rate_hz: int = 24_000
    hop_samples: int = 240
    overlap_samples: int = 120
    fft_samples: int = 512
    hops_per_step: int = 2
    compand_power: float = 0.5

    mel_bands: int = 40
    dim: int = 96
    kernel_size: int = 3
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Of the convolutional encoder's four layers."""
    expansion: int = 2
    heads: int = 4
    memory_hops: int = 32
    """How many hops before the present one attention reaches back to."""

    @property
    def bins(self) -> int:
        """Number of frequency bins of one frame."""
        return self.fft_samples // 2 + 1

    @property
    def step_samples(self) -> int:
        """Samples taken in and given out by one step."""
        return self.hop_samples * self.hops_per_step

    def to_json(self) -> str:
        """Serialise to JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RestorerConfig:
        """Read back what :meth:`to_json` wrote; unknown keys are an error."""
        fields = json.loads(text)
        return cls(**fields | {"dilations": tuple(fields["dilations"])})


@dataclass(frozen=True)
class StoredRestorer:
    """A restorer as it lies on disk."""

    config: RestorerConfig
    graph_path: Path
    facts: dict[str, Any]
    """What it was trained on and what was measured."""


def _check(config: RestorerConfig) -> None:
    """Raise ValueError for what no restorer can be."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for each in value if isinstance(value, tuple) else (value,):
            number = isinstance(each, int | float) and not isinstance(each, bool)
            whole = field.name == "compand_power" or isinstance(each, int)
            if not number or not whole or not 0 < each <= MOST:
                raise ValueError(f"{field.name} is {value!r}")
    if config.compand_power != POWER:
        raise ValueError(f"compand_power must be {POWER:g}, got {config.compand_power:g}")
    check_fft_samples(config.fft_samples)
    framed = config.overlap_samples <= config.hop_samples
    framed = framed and config.hop_samples + config.overlap_samples <= config.fft_samples
    if not framed or config.hops_per_step > MOST_HOPS:
        raise ValueError(
            f"{config.hops_per_step} hops of {config.hop_samples} samples, overlap {config.overlap_samples} and "
            f"transforms of {config.fft_samples} do not go together"
        )


def load_restorer(folder: Path | str) -> StoredRestorer:
    """The restorer in ``folder``; raises ModelError."""
    folder = Path(folder)
    try:
        facts = json.loads((folder / DESCRIPTION).read_text())
        config = RestorerConfig.from_json(json.dumps(facts.pop("config")))
        _check(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"no usable restorer in {folder} ({error}); it needs {DESCRIPTION} and {GRAPH}") from error
    if not (folder / GRAPH).is_file():
        raise ModelError(f"no usable restorer in {folder}: {GRAPH} is missing")
    return StoredRestorer(config, folder / GRAPH, facts)
