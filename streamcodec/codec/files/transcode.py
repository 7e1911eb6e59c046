"""From any file this project reads to any it writes: sound files and ``.sc`` files, metadata kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from streamcodec.codec.files.container import is_coded
from streamcodec.codec.files.decoding import Progress, decode_file
from streamcodec.codec.files.oneshot import encode_file
from streamcodec.codec.files.output_file import check_not_read, readable_name
from streamcodec.codec.files.sound_file import SoundReader, SoundSource, open_binary
from streamcodec.codec.files.sound_writer import SoundWriter
from streamcodec.codec.options import MAX_DURATION_S, TierName, tier_of
from streamcodec.codec.packet import Tier
from streamcodec.errors import AudioFormatError, ModelError
from streamcodec.models.config import DEFAULT_MODEL
from streamcodec.wording import given, named

USUAL_CODING = {"constrained": False, "dtx": False, "model": DEFAULT_MODEL}
"""What the options of coding are where nobody says; the others are None."""


def transcode_file(
    source: SoundSource,
    target: SoundSource,
    *,
    coded: bool | None = None,
    tier: TierName | Tier = "neural",
    source_model: str | None = None,
    max_duration_s: float = MAX_DURATION_S,
    floats: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Turn a sound file or ``.sc`` file into another: a ``.sc`` file where ``coded``, else a sound file.

    Where ``coded`` is None the target's suffix says which. ``tier`` and ``options``, as for ``encode_file``, say how
    a ``.sc`` file is coded; for a sound file the tier goes unused, and no options are taken but ``floats``, for
    32-bit floating point. ``source_model`` and ``max_duration_s`` are ``decode_file``'s ``model`` and
    ``max_duration_s``. From ``.sc`` to ``.sc`` the decoded sound goes through a temporary file, without post-filters
    where the neural tier codes it again.
    Raises AudioFormatError, BitrateError, FileFormatError or ModelError.
    """
    if coded is None:
        coded = is_coded_name(target)
    if isinstance(target, str | Path):
        check_not_read(target, source)
    if coded and floats:
        raise AudioFormatError(
            f"{given('floats', True)} says how plain sound is written, and {readable_name(target)} is a .sc file: "
            "leave it out"
        )
    if not coded:
        check_not_told(target, options)
    with open_binary(source) as file:
        if not is_coded(file):
            if source_model is not None:
                raise ModelError(
                    f"{named('source_model')} is of a .sc file, and {readable_name(source)} is plain sound: leave it "
                    "out"
                )
            if coded:
                encode_file(file, target, tier=tier, progress=progress, **options)
            else:
                _copy_sound(file, target, floats)
        elif not coded:
            decode_file(
                file, target, model=source_model, max_duration_s=max_duration_s, floats=floats, progress=progress
            )
        else:
            with tempfile.TemporaryFile() as decoded:
                heard = tier_of(tier) is not Tier.NEURAL
                decode_file(file, decoded, model=source_model, max_duration_s=max_duration_s, post_filter=heard)
                decoded.seek(0)
                encode_file(decoded, target, tier=tier, progress=progress, **options)


def is_coded_name(target: SoundSource) -> bool:
    """Whether a ``.sc`` file is written by this name."""
    return isinstance(target, str | Path) and Path(target).suffix.lower() == ".sc"


def check_not_told(target: SoundSource, options: dict[str, Any]) -> None:
    """Raise AudioFormatError where something is said of how to code what is written as plain sound."""
    told = [name for name, value in options.items() if value not in (None, USUAL_CODING.get(name))]
    if told:
        raise AudioFormatError(
            f"{named(told[0])} says how a .sc file is coded, and {readable_name(target)} is written as plain sound: "
            "leave it out, or name a .sc file"
        )


def _copy_sound(source: SoundSource, target: SoundSource, floats: bool) -> None:
    """Sound file to sound file: the same samples, integers of their depth, floats with 24 bits unless ``floats``."""
    with SoundReader(source) as sound:
        depth = sound.bits_per_sample
        facts = sound.sample_rate_hz, sound.channels, depth, sound.metadata
        with SoundWriter(target, *facts, pictures=sound.pictures, floats=floats) as out:
            for block in sound.blocks(to_code=False):
                out.write(block)
