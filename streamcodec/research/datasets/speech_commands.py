"""Speech Commands (Warden, 2018): one-second words of thousands of speakers, 16 kHz."""

from __future__ import annotations

from pathlib import Path

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.research.datasets.recording import Recording, SplitName, not_here

NOISE_FOLDER = "_background_noise_"
SPEAKER_MARK = "_nohash_"


class SpeechCommands:
    """Folders ``WORD/SPEAKER_nohash_N.wav``; labels ``word``, ``speaker``; its two lists give the published split."""

    name = "speech-commands"
    kind = "speech"
    layout = "WORD/SPEAKER_nohash_N.wav, testing_list.txt and validation_list.txt"

    def recordings(self, folder: Path) -> list[Recording]:
        """See :class:`~streamcodec.research.datasets.recording.Dataset`."""
        listed: dict[str, SplitName] = dict.fromkeys(_list(folder / "testing_list.txt"), "test")
        listed |= dict.fromkeys(_list(folder / "validation_list.txt"), "validation")
        found = []
        for path in sound_files(folder.glob(f"*/*{SPEAKER_MARK}*.wav")):
            word = path.parent.name
            if word != NOISE_FOLDER:
                speaker = path.stem.partition(SPEAKER_MARK)[0]
                split = listed.get(f"{word}/{path.name}", "train") if listed else None
                found.append(Recording(path, speaker, {"word": word, "speaker": speaker}, split))
        if not found:
            raise not_here(self, folder)
        return found


def _list(path: Path) -> list[str]:
    return path.read_text().split() if path.is_file() else []
