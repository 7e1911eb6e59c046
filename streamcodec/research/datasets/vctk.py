"""VCTK (Yamagishi et al.): 110 English speakers, 48 kHz; versions 0.80 (one microphone) and 0.92 (two)."""

from __future__ import annotations

from pathlib import Path

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.research.datasets.recording import Recording, known, not_here

SOUND_FOLDERS = ("wav48_silence_trimmed", "wav48")
SECOND_MICROPHONE = "_mic2"


class Vctk:
    """Folders ``wav48*/SPEAKER/``; the first microphone alone; labels ``speaker``, ``sex``, ``accent``."""

    name = "vctk"
    kind = "speech"
    layout = "wav48_silence_trimmed/pNNN/pNNN_NNN_mic1.flac (or wav48/pNNN/pNNN_NNN.wav)"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        roots = [folder, *sorted(folder.glob("VCTK-Corpus*"))]
        for root in roots:
            for name in SOUND_FOLDERS:
                files = sound_files((root / name).glob("*/*"))
                if files:
                    people = _people(root / "speaker-info.txt")
                    return [_recording(f, people) for f in files if not f.stem.endswith(SECOND_MICROPHONE)]
        raise not_here(self, folder)


def _recording(path: Path, people: dict[str, tuple[str, str]]) -> Recording:
    speaker = path.parent.name
    sex, accent = people.get(speaker, ("", ""))
    return Recording(path, speaker, known({"speaker": speaker, "sex": sex, "accent": accent}))


def _people(path: Path) -> dict[str, tuple[str, str]]:
    """Sex and accent by speaker; the older list leaves the ``p`` of the folders out."""
    if not path.is_file():
        return {}
    people = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 4:
            speaker = fields[0] if fields[0][:1].isalpha() else f"p{fields[0]}"
            people[speaker] = (fields[2], fields[3])
    return people
