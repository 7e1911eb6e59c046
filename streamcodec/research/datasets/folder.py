"""Any folder of sound, with or without a ``manifest.csv`` that says what each file is."""

from __future__ import annotations

from pathlib import Path

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.research.datasets.recording import Recording, SplitName, known, not_here
from streamcodec.training.data import DatasetError, manifest_rows

MANIFEST = "manifest.csv"
COLUMNS = ("kind", "source", "speaker", "split")
SPLITS: dict[str, SplitName] = {"train": "train", "validation": "validation", "dev": "test", "test": "test"}


class Folder:
    """Sound files; with ``manifest.csv`` (columns file, and kind, source, speaker, split if known), its labels.

    Without a manifest the label ``folder`` is the name of the file's folder, and the group too: whoever has one
    folder per speaker or artist gets disjoint splits.
    """

    name = "folder"
    kind = None
    layout = ".wav, .flac, .ogg or .mp3 files"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        root = next((p for p in (folder, *folder.resolve().parents) if (p / MANIFEST).is_file()), None)
        found = [] if root is None else _listed(root / MANIFEST, folder)
        if not found:
            found = [
                Recording(path, str(path.parent.relative_to(folder)), {"folder": path.parent.name})
                for path in sound_files(folder.rglob("*"))
            ]
        if not found:
            raise not_here(self, folder)
        return found


def _listed(manifest: Path, folder: Path) -> list[Recording]:
    """Recordings of a manifest that lie under ``folder``."""
    inside = folder.resolve()
    rows = manifest_rows(manifest)
    if rows and "file" not in rows[0]:
        raise DatasetError(f"{manifest} has no column 'file'; each row must name a sound file")
    found = []
    for row in rows:
        path = manifest.parent.resolve() / row["file"]
        if path.is_relative_to(inside) and path.is_file():
            kind, source, speaker, split = (row.get(name, "") for name in COLUMNS)
            if split and split not in SPLITS:
                raise DatasetError(
                    f"{manifest} puts {row['file']} into the split {split!r}; choose from {', '.join(SPLITS)}"
                )
            found.append(
                Recording(
                    path,
                    f"{source}/{speaker}" if source or speaker else "",
                    known({"kind": kind, "source": source, "speaker": speaker}),
                    SPLITS.get(split),
                )
            )
    return sorted(found, key=lambda recording: recording.path)
