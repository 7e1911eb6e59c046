"""Tags and pictures of sound files that libsndfile does not keep, where mutagen is installed."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from streamcodec.codec.files.output_file import describe_error
from streamcodec.errors import FileFormatError

OTHER_KIND, FRONT_COVER, LAST_KIND = 0, 3, 20
"""Kinds of pictures, as ID3 and FLAC count them."""
MAX_FIELD_CHARACTERS = 1 << 15
MAX_PICTURES = 32
NOT_TEXT = frozenset({"metadata_block_picture", "coverart", "coverartmime", "encoder", "encodedby", "length"})
"""Of Vorbis comments and ID3: pictures, and what speaks of the file and not of the sound."""
PEAKS = frozenset({"replaygain_track_peak", "replaygain_album_peak"})
"""Which mutagen gives of ID3 as 0 where there is a gain alone."""
TAGGED = frozenset({"FLAC", "OGG", "MP3"})
"""Formats whose text mutagen writes; into WAV and AIFF it puts pictures alone."""


@dataclass(frozen=True)
class Picture:
    """A picture in a sound file, such as the cover."""

    data: bytes
    mime: str = "image/jpeg"
    kind: int = FRONT_COVER
    """As ID3 and FLAC count them: 3 is the front cover; what they do not know is 0."""
    description: str = ""

    def __post_init__(self) -> None:
        """Keep what any file can hold: a kind that is known, text that can be encoded."""
        object.__setattr__(self, "kind", self.kind if 0 <= self.kind <= LAST_KIND else OTHER_KIND)
        object.__setattr__(self, "mime", self.mime.encode("ascii", "replace").decode())
        object.__setattr__(self, "description", encodable(self.description))


@dataclass(frozen=True)
class Tags:
    """What a file says about its sound besides the sound."""

    fields: dict[str, str]
    pictures: tuple[Picture, ...]


NOTHING = Tags({}, ())


def encodable(text: str) -> str:
    """The text with a question mark in place of halves of characters, which JSON may hold and no file does."""
    return text.encode("utf-8", "replace").decode()


def can_read() -> bool:
    """Whether mutagen is installed."""
    return importlib.util.find_spec("mutagen") is not None


def read_tags(file: Any) -> Tags:
    """Text by lower-case names as of Vorbis comments, and pictures; nothing of what cannot be read.

    The position of ``file`` is anywhere afterwards.
    """
    if not can_read():
        return NOTHING
    import mutagen

    try:
        file.seek(0)
        easy = mutagen.File(file, easy=True)
        file.seek(0)
        whole = mutagen.File(file)
    # Whatever is wrong with tags, and whatever mutagen makes of it, is no reason not to read the sound.
    except Exception:
        return NOTHING
    return Tags(_fields(easy), _pictures(whole)[:MAX_PICTURES])


def _fields(file: Any) -> dict[str, str]:
    tags: Any = getattr(file, "tags", None)
    found: dict[str, str] = {}
    for key in [] if tags is None else sorted(tags.keys()):
        name = str(key).lower()
        with contextlib.suppress(Exception):
            values = tags[key]
            # ID3 of WAV and AIFF comes frame by frame, without names; libsndfile knows the usual ones of these.
            if name in NOT_TEXT or not isinstance(values, list) or not all(isinstance(v, str) for v in values):
                continue
            text = "; ".join(values)
            if name in PEAKS and float(text) == 0.0:
                continue
            if text and len(text) <= MAX_FIELD_CHARACTERS:
                found[name] = text
    return found


def _pictures(file: Any) -> tuple[Picture, ...]:
    found: list[Picture] = []
    tags = getattr(file, "tags", None)
    blocks = list(getattr(file, "pictures", []))
    if tags is not None:
        with contextlib.suppress(Exception):
            found += [_picture(frame) for key, frame in tags.items() if str(key).startswith("APIC")]
        with contextlib.suppress(Exception):
            # 14 is PNG, 13 JPEG.
            found += [
                Picture(bytes(cover), "image/png" if cover.imageformat == 14 else "image/jpeg")
                for cover in tags.get("covr", [])
            ]
        with contextlib.suppress(Exception):
            blocks += [_block(text) for text in tags.get("metadata_block_picture", [])]
    return tuple(found + [_picture(block) for block in blocks])


def _block(text: str) -> Any:
    from mutagen.flac import Picture as Block

    return Block(base64.b64decode(text))


def _picture(block: Any) -> Picture:
    return Picture(bytes(block.data), str(block.mime), int(block.type), str(block.desc))


def write_tags(
    file: Any, form: str, subtype: str, fields: dict[str, str], pictures: tuple[Picture, ...]
) -> list[str]:
    """Put text and pictures into a whole sound file; returns names of what could not be kept.

    ``file`` is open for reading and writing, ``form`` and ``subtype`` are libsndfile's names of its format.
    Errors: FileFormatError where the system refuses, after which the file is not whole.
    """
    names = [*fields, *(["pictures"] if pictures else [])]
    if not names or not can_read():
        return names
    import mutagen

    try:
        left = [] if not fields else _write_fields(file, form, subtype, fields)
        if pictures and not _write_pictures(file, form, subtype, pictures):
            left.append("pictures")
    except mutagen.MutagenError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError):
            raise FileFormatError(f"cannot write tags: {describe_error(cause)}") from error
        return names
    return left


def _opened(file: Any, form: str, subtype: str, easy: bool) -> Any:
    from mutagen.aiff import AIFF
    from mutagen.easyid3 import EasyID3
    from mutagen.flac import FLAC
    from mutagen.mp3 import MP3
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis
    from mutagen.wave import WAVE

    file.seek(0)
    if form == "OGG":
        return OggOpus(file) if subtype == "OPUS" else OggVorbis(file)
    if form == "MP3":
        return MP3(file, ID3=EasyID3) if easy else MP3(file)
    kinds = {"FLAC": FLAC, "WAV": WAVE, "AIFF": AIFF}
    return kinds[form](file) if form in kinds else None


def _write_fields(file: Any, form: str, subtype: str, fields: dict[str, str]) -> list[str]:
    if form not in TAGGED:
        return list(fields)
    sound = _opened(file, form, subtype, True)
    if sound.tags is None:
        sound.add_tags()
    left = [key for key, value in fields.items() if not _kept(sound, key, value)]
    file.seek(0)
    sound.save(file)
    return left


def _kept(sound: Any, key: str, value: str) -> bool:
    try:
        sound[key] = [value]
    except (KeyError, ValueError):
        return False
    return True


def _write_pictures(file: Any, form: str, subtype: str, pictures: tuple[Picture, ...]) -> bool:
    from mutagen.flac import Picture as Block
    from mutagen.id3 import APIC

    sound = _opened(file, form, subtype, False)
    if sound is None:
        return False
    if form in ("FLAC", "OGG"):
        blocks = []
        for picture in pictures:
            block = Block()
            block.data, block.mime, block.type = picture.data, picture.mime, picture.kind
            block.desc = picture.description
            blocks.append(block)
        if form == "FLAC":
            for block in blocks:
                sound.add_picture(block)
        else:
            sound["metadata_block_picture"] = [base64.b64encode(block.write()).decode() for block in blocks]
    else:
        if sound.tags is None:
            sound.add_tags()
        for number, picture in enumerate(pictures):
            # Of two with the same description ID3 keeps one.
            description = picture.description + " " * number
            sound.tags.add(
                APIC(encoding=3, mime=picture.mime, type=picture.kind, desc=description, data=picture.data)
            )
    file.seek(0)
    sound.save(file)
    return True
