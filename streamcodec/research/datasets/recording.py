"""What every dataset comes down to: recordings with labels, and a group that no split may divide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from streamcodec.training.data import DatasetError

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Recording:
    """One sound file and what its dataset says of it."""

    path: Path
    group: str
    """Speaker, artist, instrument or source: what a test must not share with training; empty if nothing is known."""
    labels: Mapping[str, str]
    """Label by its name, such as ``{"genre": "Rock"}``; may be empty."""
    published_split: SplitName | None = None
    """Where the dataset itself puts this recording, if it does."""


class Dataset(Protocol):
    """Reader of one dataset's layout."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def kind(self) -> str | None:
        """``speech``, ``music`` or ``environment``; None where that differs from file to file."""

    @property
    def layout(self) -> str:
        """What the folder must hold, as a user would look for it."""

    def recordings(self, folder: Path) -> list[Recording]:
        """Everything usable under ``folder``, sorted by path; raises DatasetError for another layout or no data."""


class NotThisDatasetError(DatasetError):
    """A folder is laid out in another way."""


def not_here(dataset: Dataset, folder: Path) -> NotThisDatasetError:
    """The error of a folder that does not hold the dataset."""
    if not folder.is_dir():
        return NotThisDatasetError(
            f"there is no folder {folder}; give the folder of {dataset.name} that holds {dataset.layout}"
        )
    return NotThisDatasetError(f"{folder} does not hold {dataset.name}: looked for {dataset.layout}")


def known(labels: Mapping[str, str | None]) -> dict[str, str]:
    """Labels that have a value."""
    return {name: value for name, value in labels.items() if value}
