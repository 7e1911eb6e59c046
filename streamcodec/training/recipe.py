"""What a release is made of: a TOML file read into dataclasses, with every wrong key or value named."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from streamcodec.training.schedule import QualityCurve
from streamcodec.training.task import TrainingError

Part = TypeVar("Part")
Reader = Callable[[Any, Path], Any]
"""From a value of TOML and the recipe's folder to a field's value; raises ValueError saying what it must be."""
DataRow = tuple[str, str, str, float]


def _path(value: Any, base: Path) -> Path:
    if not isinstance(value, str) or not (base / value).exists():
        raise ValueError(f"must be the path of something that is there, not {value!r}")
    return base / value


def _text(value: Any, base: Path) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _flag(value: Any, base: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _whole(value: Any, base: Path) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("must be a whole number from 0 on")
    return value


def _number(value: Any, base: Path) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError("must be a number from 0 on")
    return float(value)


def _list_of(reader: Reader) -> Reader:
    def read(value: Any, base: Path) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError("must be a list")
        return tuple(reader(each, base) for each in value)

    return read


def _curve(value: Any, base: Path) -> QualityCurve:
    pairs = _list_of(_list_of(_number))(value, base)
    qualities = [pair[0] for pair in pairs]
    if any(len(pair) != 2 for pair in pairs) or qualities != sorted(qualities) or qualities[-1] > 1.0:
        raise ValueError("must be a list of pairs [quality, value], quality rising from 0 to 1")
    return [(quality, value) for quality, value in pairs]


def _data_rows(value: Any, base: Path) -> tuple[DataRow, ...]:
    rows = []
    for row in value if isinstance(value, list) else [None]:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError("must be rows of kind, source, licence and minutes")
        rows.append((*(_text(each, base) for each in row[:3]), _number(row[3], base)))
    return tuple(rows)  # type: ignore[arg-type]


def _read(reader: Reader) -> dict[str, Reader]:
    return {"reader": reader}


@dataclass(frozen=True)
class PostFilterRecipe:
    """Where gains and strengths come from; what is not said is kept from training.

    Curves are (quality, value) pairs, interpolated. ``band_gains`` is a folder of speech, not that of ``rates``, on
    which band gains are measured. ``lines_hz`` are where the decoder makes lines out of constants it has learnt.
    """

    low_noise_gains: QualityCurve | None = field(default=None, metadata=_read(_curve))
    pitch_strengths: QualityCurve | None = field(default=None, metadata=_read(_curve))
    band_gains: Path | None = field(default=None, metadata=_read(_path))
    lines_hz: tuple[float, ...] = field(default=(), metadata=_read(_list_of(_number)))


@dataclass(frozen=True)
class EnvelopeRecipe:
    """How the spectral-envelope filter is fitted: on segments of 2 s of the sound in the folders ``data``."""

    data: tuple[Path, ...] = field(metadata=_read(_list_of(_path)))
    segments: int = field(default=5_000, metadata=_read(_whole))
    steps: int = field(default=40_000, metadata=_read(_whole))
    hidden: int = field(default=32, metadata=_read(_whole))
    frame_hidden: int = field(default=96, metadata=_read(_whole))
    seed: int = field(default=0, metadata=_read(_whole))


@dataclass(frozen=True)
class TemporalRecipe:
    """How the temporal-envelope filter is fitted: on so many clips of the speech in the folder ``data``."""

    data: Path = field(metadata=_read(_path))
    clips: int = field(default=170, metadata=_read(_whole))
    steps: int = field(default=3_000, metadata=_read(_whole))
    strength: float = field(default=2.5, metadata=_read(_number))
    """What the fit's answers are multiplied by."""
    seed: int = field(default=1, metadata=_read(_whole))


@dataclass(frozen=True)
class MeasureRecipe:
    """What is measured for the card: ``speech`` coded at some rates, by all installed metrics if none are named.

    ``cost_hops`` of 10 ms are timed; 0 leaves the cost out, which alone differs from run to run.
    """

    speech: Path = field(metadata=_read(_path))
    kbps: tuple[float, ...] = field(default=(3.0, 6.0, 9.0, 12.0), metadata=_read(_list_of(_number)))
    metrics: tuple[str, ...] | None = field(default=None, metadata=_read(_list_of(_text)))
    workers: int = field(default=1, metadata=_read(_whole))
    cost_hops: int = field(default=0, metadata=_read(_whole))


@dataclass(frozen=True)
class CardRecipe:
    """What the card says that no measurement gives; ``data`` has rows of kind, source, licence and minutes."""

    what: str = field(default="", metadata=_read(_text))
    training: str = field(default="", metadata=_read(_text))
    post_filter: str = field(default="", metadata=_read(_text))
    licence: str = field(default="", metadata=_read(_text))
    data: tuple[DataRow, ...] = field(default=(), metadata=_read(_data_rows))
    limits: str = field(default="", metadata=_read(_text))


def _table(kind: type[Part]) -> Reader:
    def read(value: Any, base: Path) -> Part:
        if not isinstance(value, dict):
            raise ValueError("must be a table")
        return _part(kind, value, base)

    return read


@dataclass(frozen=True)
class Recipe:
    """A release: checkpoints to average, a folder of speech to measure rates on, and the parts above.

    Paths in a file are relative to its folder. ``int8`` as in :func:`~streamcodec.training.export.export_model`;
    coding is compared with the cross-entropy at every ``gap_stride``-th quality index.
    """

    checkpoints: tuple[Path, ...] = field(metadata=_read(_list_of(_path)))
    rates: Path = field(metadata=_read(_path))
    int8: bool = field(default=True, metadata=_read(_flag))
    gap_stride: int = field(default=3, metadata=_read(_whole))
    post_filter: PostFilterRecipe = field(default_factory=PostFilterRecipe, metadata=_read(_table(PostFilterRecipe)))
    envelope: EnvelopeRecipe | None = field(default=None, metadata=_read(_table(EnvelopeRecipe)))
    temporal: TemporalRecipe | None = field(default=None, metadata=_read(_table(TemporalRecipe)))
    measure: MeasureRecipe | None = field(default=None, metadata=_read(_table(MeasureRecipe)))
    card: CardRecipe = field(default_factory=CardRecipe, metadata=_read(_table(CardRecipe)))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises TrainingError naming what is wrong."""
    try:
        return _part(Recipe, tomllib.loads(path.read_text(encoding="utf-8")), path.parent)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is no recipe: {error}") from error


def read_card(path: Path) -> CardRecipe:
    """The card's words alone, of a recipe whose checkpoints and sounds need not be there; raises TrainingError."""
    try:
        words = tomllib.loads(path.read_text(encoding="utf-8")).get("card", {})
        return _part(CardRecipe, words, path.parent)
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is no recipe: {error}") from error


def _part(kind: type[Part], values: Mapping[str, Any], base: Path) -> Part:
    known = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in sorted(values.keys() - known.keys()):
        raise ValueError(f"there is no {name!r}; known are {', '.join(known)}")
    found = {}
    for name, each in known.items():
        if name in values:
            try:
                found[name] = each.metadata["reader"](values[name], base)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    return kind(**found)
