"""Talk indication on a count of samples."""

from __future__ import annotations

import numpy as np
import pytest

from streamcodec.net.voice_activity import PATIENCE_MS, VoiceActivityDetector

RATE_HZ = 24_000


def run(detector: VoiceActivityDetector, quality_index: float, seconds: float, block: int) -> list[bool]:
    """What it says after each block of a tone of this amplitude."""
    said = []
    samples = int(seconds * RATE_HZ)
    tone = np.asarray(quality_index * np.sin(2 * np.pi * 300 * np.arange(samples) / RATE_HZ), np.float32)
    for start in range(0, samples, block):
        before = detector.talking
        assert detector.hear(tone[start : start + block]) == (detector.talking != before)
        said.append(detector.talking)
    return said


@pytest.mark.parametrize("block", [24, 240, 480, 4_800])
def test_it_follows_speech_and_outlasts_pauses_whatever_the_block(block: int) -> None:
    detector = VoiceActivityDetector(RATE_HZ)
    assert not any(run(detector, 0.004, 1.0, block))
    began = run(detector, 0.2, 0.5, block)
    assert began[-1]
    assert (began.index(True) + 1) * block / RATE_HZ <= max(0.1, block / RATE_HZ)
    # A pause between words is shorter than its patience.
    assert all(run(detector, 0.0, 0.3, block))
    assert all(run(detector, 0.1, 0.2, block))
    ended = run(detector, 0.0, 1.5, block)
    assert not ended[-1]
    assert ended.index(False) * block / RATE_HZ >= PATIENCE_MS / 1_000 - block / RATE_HZ


def test_between_the_thresholds_nothing_changes() -> None:
    detector = VoiceActivityDetector(RATE_HZ)
    assert not any(run(detector, 0.010, 2.0, 480))
    run(detector, 0.2, 0.5, 480)
    assert all(run(detector, 0.010, 2.0, 480))


def test_nothing_is_not_a_sound() -> None:
    assert not VoiceActivityDetector(RATE_HZ).hear(np.zeros(0, np.float32))
