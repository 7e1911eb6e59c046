"""ESC-50 and ESC-10 (Piczak, 2015): 5 s environmental sounds of 50 classes in five folds, 44.1 kHz."""

from __future__ import annotations

import csv
from pathlib import Path

from streamcodec.research.datasets.recording import Recording, not_here
from streamcodec.training.data import DatasetError


class Esc50:
    """``meta/esc50.csv`` beside ``audio/*.wav``; labels ``class``, ``fold``, ``esc10``; group: source recording."""

    name = "esc50"
    kind = "environment"
    layout = "meta/esc50.csv and audio/*.wav"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        roots = [root for root in (folder, folder / "ESC-50-master") if (root / "meta" / "esc50.csv").is_file()]
        if not roots:
            raise not_here(self, folder)
        index = roots[0] / "meta" / "esc50.csv"
        with index.open(newline="") as handle:
            try:
                described = [
                    Recording(
                        roots[0] / "audio" / row["filename"],
                        row["src_file"],
                        {"class": row["category"], "fold": row["fold"], "esc10": row["esc10"]},
                    )
                    for row in csv.DictReader(handle)
                ]
            except KeyError as error:
                raise DatasetError(f"{index} has no column {error}; unpack ESC-50 again") from error
        found = [recording for recording in described if recording.path.is_file()]
        if not found:
            raise DatasetError(f"{index} names none of the files in {roots[0] / 'audio'}; unpack ESC-50 again")
        return sorted(found, key=lambda recording: recording.path)
