"""A sound card on a simulated clock: calls the engine's callback, 10 ms after 10 ms, as fast as it can."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from streamcodec.live import LoopbackEngine

Samples = NDArray[np.float32]


def play_through(
    engine: LoopbackEngine,
    sound: Samples,
    *,
    asleep: Collection[int] = (),
    channels: int = 1,
    echo_gain: float = 0.0,
    echo_blocks: int = 5,
) -> Samples:
    """What the loudspeaker plays while the microphone hears ``sound``; the codec sleeps in ``asleep`` blocks.

    With ``echo_gain`` the microphone hears the loudspeaker too, ``echo_blocks`` later, clipped at full scale.

    Shape: ``sound`` ``[n]``, result ``[whole blocks]``.
    """
    block = engine.block_samples
    played: list[Samples] = []
    for k in range(len(sound) // block):
        heard = sound[k * block : (k + 1) * block].copy()
        if echo_gain and k >= echo_blocks:
            heard = np.clip(heard + np.float32(echo_gain) * played[k - echo_blocks], -1.0, 1.0)
        out = np.full((block, channels), np.nan, np.float32)
        engine.callback(np.repeat(heard[:, np.newaxis], channels, axis=1), out)
        assert np.array_equal(out[:, 0], out[:, -1])
        played.append(out[:, 0].copy())
        if k not in asleep:
            engine.process()
    return np.concatenate(played)


def delay_ms(source: Samples, heard: Samples, rate_hz: int) -> float:
    """By how much ``heard`` lags ``source``: the peak of their correlation."""
    size = 2 * max(len(source), len(heard))
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(source, size)), size)
    return 1_000.0 * int(np.argmax(np.abs(cross[: size // 2]))) / rate_hz
