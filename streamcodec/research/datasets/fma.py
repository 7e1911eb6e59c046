"""FMA, the Free Music Archive dataset (Defferrard et al., 2017): tracks by artist and genre, MP3."""

from __future__ import annotations

import csv
from pathlib import Path

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.research.datasets.recording import Recording, SplitName, known, not_here
from streamcodec.training.data import DatasetError

SPLITS: dict[str, SplitName] = {"training": "train", "validation": "validation", "test": "test"}


class Fma:
    """``fma_metadata/tracks.csv`` beside ``fma_small/NNN/NNNNNN.mp3``; label ``genre``; group artist."""

    name = "fma"
    kind = "music"
    layout = "fma_metadata/tracks.csv and fma_small/000/000002.mp3 (or fma_medium, fma_large, fma_full)"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        index = next(
            (
                p / "fma_metadata" / "tracks.csv"
                for p in (folder, folder.parent)
                if (p / "fma_metadata" / "tracks.csv").is_file()
            ),
            None,
        )
        files = [f for f in sound_files(folder.rglob("*.mp3")) if f.stem.isdecimal()]
        if index is None or not files:
            raise not_here(self, folder)
        tracks = _tracks(index)
        found = []
        for path in files:
            facts = tracks.get(int(path.stem))
            if facts is not None:
                artist, genre, split = facts
                found.append(Recording(path, artist, known({"genre": genre}), SPLITS.get(split)))
        if not found:
            raise DatasetError(
                f"{index} knows none of the {len(files)} tracks under {folder}; use one version of FMA"
            )
        return found


def _tracks(index: Path) -> dict[int, tuple[str, str, str]]:
    """(artist, top genre, split) by track, from a table under two rows of headings and one that names the key."""
    with index.open(newline="", encoding="utf-8") as handle:
        rows = csv.reader(handle)
        try:
            heading = list(zip(next(rows), next(rows), strict=True))
            columns = [heading.index(k) for k in (("artist", "id"), ("track", "genre_top"), ("set", "split"))]
            next(rows)
            return {int(row[0]): (row[columns[0]], row[columns[1]], row[columns[2]]) for row in rows if row}
        except (StopIteration, ValueError, IndexError) as error:
            raise DatasetError(
                f"{index} is not FMA's table of tracks ({error}); unpack fma_metadata.zip again"
            ) from error
