"""The sounds of the listening page: mixed, coded, lost and stored as the page says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench import listening

RATE_HZ = 24_000


def test_noise_lies_as_far_below_the_voice_as_is_said(tmp_path: Path) -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    voice = 0.1 * np.sin(2 * np.pi * 500 * time_s)
    noise = 0.3 * np.sin(2 * np.pi * 2_000 * np.arange(16_000) / 16_000)
    soundfile.write(tmp_path / "voice.wav", voice, RATE_HZ)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    clip = listening.Clip("x", "x", "voice.wav", 0.0, 1.0, "CC0", "noise.wav", 10.0)
    mixed, rate_hz = listening.read_clip(tmp_path, clip)
    assert rate_hz == RATE_HZ
    assert np.abs(mixed).max() == pytest.approx(listening.PEAK, abs=0.01)
    spectrum = np.abs(np.fft.rfft(mixed)) ** 2
    measured_db = 10 * np.log10(spectrum[490:510].sum() / spectrum[1_990:2_010].sum())
    assert measured_db == pytest.approx(10.0, abs=0.3)


def test_a_tenth_of_the_packets_is_lost_in_bursts() -> None:
    lost = np.array(listening.losses(20_000))
    starts = np.count_nonzero(np.diff(lost.astype(int)) == 1)
    assert lost.mean() == pytest.approx(listening.LOSS, abs=0.01)
    assert np.count_nonzero(lost) / starts == pytest.approx(listening.MEAN_BURST_PACKETS, rel=0.1)
    assert listening.losses(300) == lost[:300].tolist()


def test_loss_changes_the_sound_where_packets_are_missing(speech: NDArray[np.float32]) -> None:
    whole = listening.streamcodec(6.0)(speech, RATE_HZ)
    lossy = listening.streamcodec(6.0, lossy=True)(speech, RATE_HZ)
    assert len(whole.samples) == len(lossy.samples) == len(speech)
    assert lossy.kbps == whole.kbps == pytest.approx(6.0, rel=0.1)
    first = listening.losses(200).index(True)
    at = first * 480
    assert np.array_equal(whole.samples[: at - 480], lossy.samples[: at - 480])
    assert not np.allclose(whole.samples[at : at + 960], lossy.samples[at : at + 960])


def test_stored_sounds_play_and_do_not_change_from_run_to_run(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    for name in ("one.opus", "two.opus"):
        listening.write_opus(tmp_path / name, speech, RATE_HZ)
    assert (tmp_path / "one.opus").read_bytes() == (tmp_path / "two.opus").read_bytes()
    assert (tmp_path / "one.opus").stat().st_size < 1.3 * listening.PLAYED_BPS / 8 * len(speech) / RATE_HZ
    played, rate_hz = soundfile.read(tmp_path / "one.opus")
    assert len(played) / rate_hz == pytest.approx(len(speech) / RATE_HZ, abs=0.03)
    power = np.mean(np.square(speech, dtype=np.float64))
    assert np.mean(played**2) == pytest.approx(power, rel=0.1)


def test_clips_are_short_and_named_once() -> None:
    names = [clip.name for clip in listening.CLIPS]
    assert len(set(names)) == len(names)
    assert all(clip.seconds < 5 and clip.credit for clip in listening.CLIPS)


def test_missing_clips_are_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listening.main([str(tmp_path), "--out", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 2
    assert "give the folder of development clips" in capsys.readouterr().err
