"""NSynth (Engel et al., 2017): single notes of 1,006 instruments, 16 kHz, 4 s each."""

from __future__ import annotations

import json
from pathlib import Path

from streamcodec.research.datasets.recording import Recording, SplitName, not_here
from streamcodec.training.data import DatasetError

SPLITS: dict[str, SplitName] = {"nsynth-train": "train", "nsynth-valid": "validation", "nsynth-test": "test"}


class NSynth:
    """Folders ``nsynth-SPLIT`` of ``examples.json``, ``audio/``; labels ``family``, ``source``; group: instrument."""

    name = "nsynth"
    kind = "music"
    layout = "nsynth-train/examples.json and nsynth-train/audio/*.wav (or nsynth-valid, nsynth-test)"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        parts = [folder] if (folder / "examples.json").is_file() else [folder / name for name in SPLITS]
        found = [recording for part in parts for recording in _part(part)]
        if not found:
            raise not_here(self, folder)
        return sorted(found, key=lambda recording: recording.path)


def _part(part: Path) -> list[Recording]:
    index = part / "examples.json"
    if not index.is_file():
        return []
    try:
        examples = json.loads(index.read_text())
        described = [
            (part / "audio" / f"{note}.wav", facts["instrument_str"], facts) for note, facts in examples.items()
        ]
        return [
            Recording(
                path,
                instrument,
                {"family": facts["instrument_family_str"], "source": facts["instrument_source_str"]},
                SPLITS.get(part.name),
            )
            for path, instrument, facts in described
            if path.is_file()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{index} is not an index of NSynth ({error!r}); unpack the archive again") from error
