"""What an experiment is, what it is given, and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import Progress

from streamcodec.codec.files.output_file import write_whole
from streamcodec.research.experiments.material import Material

JsonT = TypeVar("JsonT")
ItemT = TypeVar("ItemT")
Cell = str | float | int | None


@dataclass(frozen=True)
class Scale:
    """How much work a run may do; every figure follows from these and the seed."""

    name: str
    steps: int
    """Optimiser steps of one ordinary training run."""
    batch_segments: int
    segment_s: float
    train_files: int
    """Training files of each kind of sound at most."""
    dev_files: int
    """Development files of each kind of sound at most."""
    dev_s: float
    """Seconds kept of each development file."""
    device: str = "cpu"
    most_epochs: int | None = None
    """Epochs of every network. Of one trained on one file at most, the experiment's own bound if None, and a later
    run with more goes on; of one trained on many in place of ``steps``, with sound held back to tell how it goes."""
    rate_hz: int | None = None
    """Sample rate of everything, the experiment's own if None."""


SCALES = {
    scale.name: scale
    for scale in (
        Scale("tiny", steps=3, batch_segments=2, segment_s=0.3, train_files=2, dev_files=1, dev_s=1.0),
        Scale("default", steps=300, batch_segments=4, segment_s=0.5, train_files=30, dev_files=2, dev_s=3.0),
        Scale("full", steps=40_000, batch_segments=32, segment_s=2.0, train_files=5_000, dev_files=50, dev_s=8.0),
    )
}


@dataclass(frozen=True)
class Table:
    """Rows of one table, the first column a name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    timed: frozenset[str] = frozenset()
    """Columns measured by the clock: kept out of ``metrics.json``, which a seed must reproduce bit by bit."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} cells for {len(self.columns)} columns")
        if len({row[0] for row in self.rows}) < len(self.rows):
            raise ValueError(f"{self.title}: two rows of one name")


@dataclass(frozen=True)
class Picture:
    """An image file below the experiment's folder."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Sound:
    """A sound file below the experiment's folder; sounds of one group are put side by side."""

    path: Path
    caption: str
    group: str = ""


@dataclass(frozen=True)
class Results:
    """What an experiment found."""

    tables: Sequence[Table]
    pictures: Sequence[Picture] = ()
    sounds: Sequence[Sound] = ()
    notes: Sequence[str] = ()
    """Sentences a reader needs to judge the figures."""


@dataclass
class Context:
    """What an experiment is given."""

    folder: Path
    """Where it may write; its own alone."""
    material: Material
    scale: Scale
    seed: int
    progress: Progress = field(default_factory=lambda: Progress(disable=True))

    def rate_hz(self, usual_hz: int) -> int:
        """Sample rate that the run was asked for, or the usual one."""
        return self.scale.rate_hz or usual_hz

    def once(self, key: str, compute: Callable[[], JsonT]) -> JsonT:
        """The result of ``compute``, from ``folder/done`` if an earlier, broken-off run got that far.

        The result must survive JSON; a copy read back comes out either way, so a resumed run equals an unbroken one.
        """
        path = self.folder / "done" / f"{key}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(compute()))
        kept: Any = json.loads(path.read_text(encoding="utf-8"))
        return kept  # type: ignore[no-any-return]

    def track(self, items: Iterable[ItemT], description: str, total: int) -> Iterator[ItemT]:
        """Items one by one, with a progress bar."""
        task = self.progress.add_task(description, total=total)
        for item in items:
            yield item
            self.progress.advance(task)
        self.progress.remove_task(task)

    @contextmanager
    def bar(self, description: str) -> Iterator[Callable[[float, str], None]]:
        """A bar from 0 to 1; the function that comes with it takes the share done and a word on how it goes."""
        task = self.progress.add_task(description, total=1.0)

        def update(done: float, remark: str = "") -> None:
            self.progress.update(task, completed=done, description=f"{description} {remark}".rstrip())

        yield update
        self.progress.remove_task(task)


@dataclass(frozen=True)
class Experiment:
    """One question, and the work that answers it."""

    name: str
    summary: str
    """One line for ``--help`` and the head of the page."""
    run: Callable[[Context], Results]
    on_single_files: bool = False
    """Whether it trains on each development file by itself, and needs no others."""
    at_any_rate: bool = False
    """Whether it can be run at another sample rate than its own."""
    goes_on: bool = False
    """Whether a run of more epochs goes on from one of fewer: no rate may depend on how many are to come."""
