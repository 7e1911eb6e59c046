"""The datasets that can be asked for by name."""

from __future__ import annotations

import contextlib
from pathlib import Path

from streamcodec.research.datasets.esc50 import Esc50
from streamcodec.research.datasets.fma import Fma
from streamcodec.research.datasets.folder import Folder
from streamcodec.research.datasets.librispeech import LibriSpeech
from streamcodec.research.datasets.nsynth import NSynth
from streamcodec.research.datasets.recording import Dataset, NotThisDatasetError, Recording
from streamcodec.research.datasets.speech_commands import SpeechCommands
from streamcodec.research.datasets.vctk import Vctk
from streamcodec.training.data import DatasetError

_ALL: tuple[Dataset, ...] = (LibriSpeech(), Vctk(), NSynth(), Fma(), Esc50(), SpeechCommands(), Folder())
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def recognise(folder: Path | str) -> tuple[Dataset, list[Recording]]:
    """The first dataset whose layout ``folder`` has, and its recordings; any folder of sound is ``folder``.

    Raises DatasetError for a dataset that is damaged: as any folder it would lose what its publisher holds back.
    """
    for dataset in _ALL[:-1]:
        with contextlib.suppress(NotThisDatasetError):
            return dataset, dataset.recordings(Path(folder))
    return _ALL[-1], _ALL[-1].recordings(Path(folder))


def read_dataset(name: str, folder: Path | str) -> list[Recording]:
    """Recordings of the dataset ``name`` unpacked in ``folder``; raises DatasetError."""
    if name not in DATASETS:
        raise DatasetError(f"there is no dataset {name!r}; choose from {', '.join(DATASETS)}")
    return DATASETS[name].recordings(Path(folder))
