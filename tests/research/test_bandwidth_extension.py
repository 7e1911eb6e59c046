"""Filling what a codec cut off: where there is a cliff and only there, above it and only there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec.cli import main
from streamcodec.evaluation.peers.lossy_files import AacPeer, LossyFilePeer, Mp3Peer
from streamcodec.research.bandwidth_extension import BandwidthExtender, extend_array, find_cutoff_hz

Float32Array = NDArray[np.float32]
RATE_HZ = 48_000


def noise(
    cutoff_hz: float = RATE_HZ / 2, seconds: float = 1.5, rate_hz: int = RATE_HZ, fall_hz: float = 1.0
) -> Float32Array:
    """Noise that falls by 12 dB an octave from 1 kHz on, comes and goes, and falls by 100 dB above a frequency."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(int(seconds * rate_hz)))
    hz = np.linspace(0, rate_hz / 2, len(spectrum))
    spectrum *= np.minimum(1.0, (1_000.0 / np.maximum(hz, 1.0)) ** 2)
    spectrum *= 10.0 ** (-5.0 * np.clip((hz - cutoff_hz) / fall_hz, 0.0, 1.0))
    sound = np.fft.irfft(spectrum)
    sound *= 1.2 + np.sin(2 * np.pi * 3 * np.arange(len(sound)) / rate_hz)
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def band_db(samples: Float32Array, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2 / len(samples)
    hz = np.linspace(0, RATE_HZ / 2, len(power))
    return float(10 * np.log10(power[(hz > low_hz) & (hz < high_hz)].mean() + 1e-20))


@pytest.mark.parametrize("cutoff_hz", [4_000, 8_400, 11_200])
def test_what_was_cut_off_comes_back_and_the_rest_stays(cutoff_hz: float) -> None:
    original, cut = noise(), noise(cutoff_hz)
    found_hz = find_cutoff_hz(cut, RATE_HZ)
    assert found_hz == pytest.approx(cutoff_hz, abs=250)
    restored = extend_array(cut, RATE_HZ)
    assert restored.shape == cut.shape
    for low, high in ((1.05, 1.2), (1.2, 1.4)):
        wanted = band_db(original, low * cutoff_hz, high * cutoff_hz)
        assert band_db(restored, low * cutoff_hz, high * cutoff_hz) == pytest.approx(wanted, abs=10.0)
    assert band_db(restored - cut, 100, cutoff_hz - 400) < band_db(cut, 100, cutoff_hz - 400) - 60
    assert band_db(restored, 20_500, 23_500) < -100


@pytest.mark.parametrize("cutoff_hz", [4_000, 8_000, 12_000])
def test_what_a_resampler_cut_off_comes_back(cutoff_hz: float) -> None:
    cut = noise(cutoff_hz, fall_hz=2_000.0)
    assert find_cutoff_hz(cut, RATE_HZ) == pytest.approx(cutoff_hz, abs=500)
    restored = extend_array(cut, RATE_HZ)
    above = 1.2 * cutoff_hz, 1.4 * cutoff_hz
    assert band_db(restored, *above) == pytest.approx(band_db(noise(), *above), abs=10.0)


@pytest.mark.parametrize("cutoff_hz", [15_500.0, 24_000.0])
def test_sound_that_lacks_nothing_is_left_alone(cutoff_hz: float) -> None:
    whole = noise(cutoff_hz)
    assert find_cutoff_hz(whole, RATE_HZ) is None
    np.testing.assert_array_equal(extend_array(whole, RATE_HZ), whole)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
def test_what_a_converter_takes_just_below_half_the_rate_is_not_missed(rate_hz: int) -> None:
    assert find_cutoff_hz(noise(0.92 * rate_hz / 2, rate_hz=rate_hz), rate_hz) is None


def test_speech_silence_and_almost_nothing_are_left_alone(speech: Float32Array) -> None:
    for sound in (speech, np.zeros(30_000, np.float32), speech[:1], speech[:0], speech * np.float32(1e-6)):
        assert find_cutoff_hz(sound, 24_000) is None
        np.testing.assert_array_equal(extend_array(sound, 24_000), sound)


def test_in_pieces_as_at_once() -> None:
    cut = noise(8_000.0, 0.4)
    extender = BandwidthExtender(RATE_HZ, 8_000.0)
    cuts = np.cumsum([1, 511, 512, 3, 5_000, 0, 1_024])
    pieces = [*(extender.push(piece) for piece in np.split(cut, cuts)), extender.flush()]
    streamed = np.concatenate(pieces)
    assert len(streamed) == len(cut) + extender.delay_samples
    expected = extend_array(cut, RATE_HZ, 8_000.0)
    np.testing.assert_allclose(streamed[extender.delay_samples :], expected, atol=1e-6)


def test_a_block_is_done_before_the_next_comes() -> None:
    """What comes later changes nothing of what went out."""
    cut = noise(8_000.0, 0.4)
    other = cut.copy()
    other[9_000:] = 0.0
    first, second = BandwidthExtender(RATE_HZ, 8_000.0), BandwidthExtender(RATE_HZ, 8_000.0)
    heard, changed = first.push(cut), second.push(other)
    np.testing.assert_array_equal(heard[: 9_000 - 512], changed[: 9_000 - 512])


def test_quieter_sound_gets_quieter_treble_and_the_middle_stays_there() -> None:
    cut = noise(8_000.0, 0.5)
    loud, quiet = extend_array(cut, RATE_HZ, 8_000.0), extend_array(cut * np.float32(0.125), RATE_HZ, 8_000.0)
    np.testing.assert_allclose(quiet, 0.125 * loud, atol=1e-6)
    both = extend_array(np.stack([cut, cut], axis=1), RATE_HZ)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])


@pytest.mark.parametrize(
    ("peer", "kbps", "missing_db"), [(Mp3Peer(), 32, 30), (AacPeer(), 24, 20)], ids=["MP3", "AAC"]
)
def test_a_lossy_file_is_restored_by_the_command(
    peer: LossyFilePeer, kbps: float, missing_db: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    original = noise(rate_hz=44_100)
    heard = peer(original, 44_100, kbps).samples
    soundfile.write(tmp_path / "heard.wav", np.stack([heard, heard], axis=1), 44_100)
    assert main(["restore", str(tmp_path / "heard.wav"), str(tmp_path / "restored.wav"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == len(heard)
    assert 4_000 < told["cutoff_hz"] < 9_700
    restored, rate_hz = soundfile.read(tmp_path / "restored.wav", dtype="float32")
    assert rate_hz == 44_100
    assert restored.shape == (len(heard), 2)
    for low_hz, high_hz in ((10_000, 12_000), (13_000, 16_000)):
        wanted = band_db(original, low_hz, high_hz)
        assert band_db(heard, low_hz, high_hz) < wanted - missing_db
        assert band_db(restored[:, 0], low_hz, high_hz) == pytest.approx(wanted, abs=10.0)


def test_a_file_that_lacks_nothing_is_told_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "whole.flac", noise(), RATE_HZ)
    assert main(["restore", str(tmp_path / "whole.flac"), str(tmp_path / "out.flac")]) == 0
    assert "as they were" in capsys.readouterr().out
    before, after = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("whole.flac", "out.flac"))
    np.testing.assert_array_equal(after, before)
