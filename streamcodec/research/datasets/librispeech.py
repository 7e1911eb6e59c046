"""LibriSpeech (Panayotov et al., 2015): read English speech, 16 kHz, by speaker and chapter."""

from __future__ import annotations

from pathlib import Path

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.research.datasets.recording import Recording, SplitName, known, not_here

SPLITS: dict[str, SplitName] = {"train": "train", "dev": "validation", "test": "test"}


class LibriSpeech:
    """Folders ``train-clean-100/SPEAKER/CHAPTER/*.flac``; labels ``speaker``, and ``sex`` from SPEAKERS.TXT."""

    name = "librispeech"
    kind = "speech"
    layout = "train-clean-100/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac (or dev-*, test-*)"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        root = folder / "LibriSpeech" if (folder / "LibriSpeech").is_dir() else folder
        sexes = _sexes(root / "SPEAKERS.TXT")
        found = []
        for path in sound_files(root.glob("*-*/*/*/*.flac")):
            subset, speaker = path.parts[-4], path.parts[-3]
            split = SPLITS.get(subset.partition("-")[0])
            if split is not None:
                labels = known({"speaker": speaker, "sex": sexes.get(speaker)})
                found.append(Recording(path, speaker, labels, split))
        if not found:
            raise not_here(self, folder)
        return found


def _sexes(path: Path) -> dict[str, str]:
    """Sex by speaker, from lines ``ID | SEX | SUBSET | MINUTES | NAME``."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [[field.strip() for field in line.split("|")] for line in lines if not line.startswith(";")]
    return {row[0]: row[1] for row in rows if len(row) > 1}
