"""Keys of a telephone through a codec: how many a receiver still reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import Samples, resample
from streamcodec.evaluation.systems import CodecUnderTest

KEYS = "123A456B789C*0#D"
ROWS_HZ, COLUMNS_HZ = (697.0, 770.0, 852.0, 941.0), (1_209.0, 1_336.0, 1_477.0, 1_633.0)
KEY_RATE_HZ, KEY_S, PAUSE_S, TONE_AMPLITUDE = 24_000, 0.1, 0.1, 0.15
READ_HZ, BLOCK = 8_000, 205
"""Rate and block of the receiver: 205 samples keep the eight tones apart (as Goertzel receivers do)."""
CLEAR_DB, TWIST_DB = 6.0, 8.0
"""By how much the loudest tone of each group must lead the next; how far the two may lie apart."""
SHARE = 0.5
"""Least share of a block's power that the two tones must have."""
BLOCKS = 2
"""A key is read where so many blocks in a row say the same."""


def key_tones(keys: str = KEYS) -> NDArray[np.float32]:
    """Keys pressed one after the other, a tenth of a second each, as long a pause after each, half a second before.

    Shape: output ``[samples]`` at 24 kHz.
    """
    seconds = np.arange(round(KEY_S * KEY_RATE_HZ)) / KEY_RATE_HZ
    fade = np.clip(np.minimum(seconds, KEY_S - seconds) / 0.005, 0.0, 1.0)
    pause = np.zeros(round(PAUSE_S * KEY_RATE_HZ))
    parts = [np.zeros(KEY_RATE_HZ // 2)]
    for key in keys:
        row_hz, column_hz = tones_of(key)
        tone = np.sin(2.0 * np.pi * row_hz * seconds) + np.sin(2.0 * np.pi * column_hz * seconds)
        parts += [TONE_AMPLITUDE * fade * tone, pause]
    return np.concatenate(parts).astype(np.float32)


def tones_of(key: str) -> tuple[float, float]:
    """Both frequencies of a key in Hz; raises ValueError for what is none."""
    place = KEYS.index(key)
    return ROWS_HZ[place // 4], COLUMNS_HZ[place % 4]


def read_keys(samples: NDArray[np.floating], sample_rate_hz: int) -> str:
    """Keys that a receiver reads in some sound.

    Shape: ``[samples]``.
    """
    sound = resample(samples, sample_rate_hz, READ_HZ)
    found, last, count = "", "", 0
    for start in range(0, len(sound) - BLOCK + 1, BLOCK // 2):
        key = _key_in(sound[start : start + BLOCK])
        count = count + 1 if key == last else 1
        last = key
        if key and count == BLOCKS:
            found += key
    return found


def keys_read(codec: CodecUnderTest, kbps: float, keys: str = KEYS) -> int:
    """How many keys come through a codec as they were pressed, each sent by itself."""
    right = 0
    for key in keys:
        coded = codec(key_tones(key), KEY_RATE_HZ, kbps)
        right += read_keys(coded.samples, coded.sample_rate_hz) == key
    return right


def _key_in(block: Samples) -> str:
    """The key whose tones a block holds, or nothing."""
    power = float(np.sum(block**2))
    if power < 1e-5 * BLOCK:
        return ""
    places: list[int] = []
    loudest: list[float] = []
    for tones_hz in (ROWS_HZ, COLUMNS_HZ):
        turns = np.exp(-2j * np.pi * np.outer(tones_hz, np.arange(BLOCK)) / READ_HZ)
        powers = np.abs(turns @ block) ** 2
        order = np.argsort(powers)
        if 10.0 * np.log10(powers[order[-1]] / powers[order[-2]]) < CLEAR_DB:
            return ""
        places.append(int(order[-1]))
        loudest.append(float(powers[order[-1]]))
    if abs(10.0 * np.log10(loudest[0] / loudest[1])) > TWIST_DB:
        return ""
    # A tone of amplitude a has a * BLOCK / 2 in its bin and a * a * BLOCK / 2 as power.
    if 2.0 * sum(loudest) / BLOCK < SHARE * power:
        return ""
    return KEYS[4 * places[0] + places[1]]
