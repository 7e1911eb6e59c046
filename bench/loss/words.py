"""Words that loss takes away: what a small recogniser hears, beside what it hears in the original."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.errors import UnscorableError, require

RATE_HZ = 16_000
ENGLISH = ("univnet-gt", "voicefixer-vctk")
"""Beginnings of the names of clips in English, the recogniser's only language."""
FEWEST_WORDS = 4


@functools.cache
def _recogniser() -> Any:
    return require("pocketsphinx", "Word errors").Decoder(samprate=RATE_HZ, loglevel="FATAL")


def heard_words(samples: np.ndarray[Any, Any]) -> list[str]:
    """What the recogniser hears.

    Shape: samples ``[n]`` at 16 kHz.
    """
    return _words_in((np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2").tobytes())


@functools.lru_cache(maxsize=16)
def _words_in(sound: bytes) -> list[str]:
    recogniser = _recogniser()
    recogniser.start_utt()
    recogniser.process_raw(sound, full_utt=True)
    recogniser.end_utt()
    found = recogniser.hyp()
    return found.hypstr.split() if found else []


def word_errors(pair: AlignedPair) -> float:
    """Share of the words heard in the original that are not heard in the same order, insertions counted.

    Errors: UnscorableError where the original has hardly any.
    """
    reference, decoded = pair.at(RATE_HZ)
    wanted, got = heard_words(reference), heard_words(decoded)
    if len(wanted) < FEWEST_WORDS:
        raise UnscorableError("the recogniser hears hardly a word in the original")
    return edits(wanted, got) / len(wanted)


def edits(wanted: list[str], got: list[str]) -> int:
    """Least number of words to insert, leave out or replace."""
    row = list(range(len(got) + 1))
    for done, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], done
        for at, other in enumerate(got, 1):
            diagonal, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, diagonal + (word != other))
    return row[-1]


def is_english(name: str) -> bool:
    """Whether a clip's name says so."""
    return any(part in name for part in ENGLISH)
