"""From any file this project reads to any it writes: sound files and ``.sc`` files, metadata kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from streamcodec.codec.files.container import MAGIC
from streamcodec.codec.files.oneshot import Progress, decode_file, encode_file
from streamcodec.codec.files.sound_file import SoundReader, SoundSource, SoundWriter, open_binary
from streamcodec.codec.packet import Tier
from streamcodec.codec.tiers import TierName


def is_coded(source: SoundSource) -> bool:
    """Whether a file begins as a ``.sc`` file does; raises FileFormatError where it cannot be opened."""
    with open_binary(source, "rb") as file:
        start: bytes = file.read(len(MAGIC))
        if not isinstance(source, str | Path):
            file.seek(0)
    return start == MAGIC


def transcode_file(
    source: SoundSource,
    target: SoundSource,
    *,
    coded: bool | None = None,
    tier: TierName | Tier = "neural",
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Turn a sound file or ``.sc`` file into another: a ``.sc`` file where ``coded``, else a sound file.

    Where ``coded`` is None the target's suffix says which. ``tier`` and ``options``, as for ``encode_file``, say how
    a ``.sc`` file is coded. From ``.sc`` to ``.sc`` the decoded sound is held in memory.
    Raises AudioFormatError, BitrateError, FileFormatError or ModelError.
    """
    if coded is None:
        coded = isinstance(target, str | Path) and Path(target).suffix.lower() == ".sc"
    if is_coded(source):
        if not coded:
            decode_file(source, target, progress=progress)
            return
        decoded = io.BytesIO()
        decode_file(source, decoded)
        decoded.seek(0)
        source = decoded
    if coded:
        encode_file(source, target, tier=tier, progress=progress, **options)
    else:
        _copy_sound(source, target)


def _copy_sound(source: SoundSource, target: SoundSource) -> None:
    """Sound file to sound file: the same samples, with 16 or 24 bits."""
    with SoundReader(source, Tier.NEAR_LOSSLESS) as sound:
        # 16- and 24-bit integers pass through float32 unchanged.
        depth = sound.bits_per_sample
        with SoundWriter(target, sound.sample_rate_hz, sound.channels, depth, sound.metadata) as out:
            for block in sound.blocks():
                out.write(block)
