"""Word errors: what a small recogniser of speech no longer hears as it heard the original.

``pocketsphinx`` (BSD) with the English model inside it. Clips need no transcripts: its own reading of the original is
the reference, so that it is a measure of change; of other languages it hears English-like words, and changes in them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import UnscorableError, require

SAMPLE_RATE_HZ = 16_000


def word_errors(reference: Samples, decoded: Samples) -> float:
    """Words to be put in, taken out or exchanged, in percent of the words heard in the original.

    Shape: inputs ``[samples]`` at 16 kHz.

    Raises:
        UnscorableError: no word is heard in the original.
    """
    heard = _words(reference)
    if not heard:
        raise UnscorableError("Word errors need an original in which words are heard.")
    return 100.0 * edit_distance(heard, _words(decoded)) / len(heard)


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one into the other (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        above, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


def _words(sound: Samples) -> tuple[str, ...]:
    """None in digital silence, in which the recogniser hears some."""
    pcm = np.clip(np.round(np.asarray(sound) * 32767.0), -32768, 32767).astype("<i2")
    return recognise(pcm.tobytes()) if pcm.any() else ()


@functools.lru_cache(maxsize=64)
def recognise(pcm: bytes) -> tuple[str, ...]:
    """Words heard in 16-bit sound at 16 kHz."""
    decoder = _decoder()
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=False, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return tuple(found.hypstr.split()) if found is not None else ()


@functools.cache
def _decoder() -> Any:
    """Cepstral means are those of each sound by itself, so that no result depends on what was heard before."""
    return require("pocketsphinx", "Word errors").Decoder(samprate=SAMPLE_RATE_HZ, cmn="batch", loglevel="FATAL")
