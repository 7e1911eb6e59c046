"""Rooms of the field bench: each does to a clip what its name says, and a table comes out of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.field.__main__ import main, passed_on
from bench.field.rooms import ROOMS, TWICE, in_rooms, level
from streamcodec import decode_array, encode_array
from streamcodec.evaluation import System, read_clips
from streamcodec.evaluation.own import streamcodec_systems
from streamcodec.evaluation.systems import Coded

RATE_HZ = 16_000
SECONDS = 1.0


def voice(pitch_hz: float) -> np.ndarray:
    seconds = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
    sound = sum(np.cos(2 * np.pi * pitch_hz * k * seconds) / k for k in range(1, 30))
    return (0.03 * sound * (1.2 + np.sin(2 * np.pi * 3 * seconds))).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    sounds = {
        "speech/a": voice(120.0),
        "speech/b": voice(190.0),
        "environment/hiss": 0.05 * rng.standard_normal(RATE_HZ // 2),
        "music/chord": 0.1 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ),
    }
    for name, sound in sounds.items():
        path = tmp_path / "dev" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE_HZ)
    return tmp_path / "dev"


def test_every_room_does_what_it_says(folder: Path) -> None:
    voices = read_clips(folder, ["speech"])
    noises, music = read_clips(folder, ["environment"]), read_clips(folder, ["music"])
    heard = {
        room: clips[0].read()[0] for room, clips in in_rooms(voices, noises, music, list(ROOMS), SECONDS).items()
    }
    clean = heard["clean"]
    assert {len(sound) for sound in heard.values()} == {len(clean)}
    assert max(float(np.abs(sound).max()) for sound in heard.values()) <= 1.0
    np.testing.assert_array_equal(heard[TWICE], clean)

    def added_db(room: str) -> float:
        return 20 * np.log10(level(clean, RATE_HZ) / level(heard[room] - clean, RATE_HZ))

    assert added_db("noise, 15 dB") == pytest.approx(15.0, abs=0.5)
    assert added_db("noise, 5 dB") == pytest.approx(5.0, abs=0.5)
    assert added_db("music behind, 10 dB") == pytest.approx(10.0, abs=0.5)
    assert added_db("two talkers") == pytest.approx(0.0, abs=0.5)
    assert 20 * np.log10(np.abs(heard["40 dB down"]).max() / np.abs(clean).max()) == pytest.approx(-40.0, abs=0.1)
    assert np.abs(heard["clipped"]).max() == pytest.approx(np.abs(clean).max() / 3.98, rel=0.01)
    spectrum, before = (np.abs(np.fft.rfft(x)) for x in (heard["telephone band"], clean))
    assert spectrum[4_000:].max() < 1e-3 * before.max()
    assert spectrum[100:190].max() < 1e-3 * before.max()
    np.testing.assert_allclose(spectrum[400:3_300], before[400:3_300], rtol=1e-3, atol=1e-2)
    quiet = np.abs(clean) < 0.2 * np.abs(clean).max()
    assert np.abs(heard["reverb, 0.5 s"])[quiet].mean() > 1.2 * np.abs(clean)[quiet].mean()


def test_levels_leave_pauses_out() -> None:
    sound = voice(120.0)
    with_pause = np.concatenate([sound, np.zeros_like(sound)])
    assert level(with_pause, RATE_HZ) == pytest.approx(level(sound, RATE_HZ), rel=0.02)
    assert np.isfinite(level(np.zeros(10, np.float32), RATE_HZ))


def test_what_is_coded_twice_goes_through_twice() -> None:
    def halves(samples: np.ndarray, sample_rate_hz: int, kbps: float) -> Coded:
        return Coded(0.5 * samples, sample_rate_hz, 10, 1, 20)

    system = passed_on(System("halves", halves, (6.0,), "takes half"))
    coded = system.codec(np.ones(100, np.float32), RATE_HZ, 6.0)
    np.testing.assert_array_equal(coded.samples, np.full(100, 0.25, np.float32))
    assert coded.payload_bytes == 10


def test_our_first_line_of_two_is_decoded_without_post_filter() -> None:
    system = passed_on(streamcodec_systems([6.0])[0])
    sound = np.random.default_rng(1).normal(0.0, 0.05, RATE_HZ // 2).astype(np.float32)
    once = decode_array(encode_array(sound, RATE_HZ, 6_000, mode="independent", packet_ms=20), post_filter=False)
    expected = decode_array(encode_array(once, RATE_HZ, 6_000, mode="independent", packet_ms=20))
    np.testing.assert_array_equal(system.codec(sound, RATE_HZ, 6.0).samples, expected)


def test_a_run_writes_a_row_for_each_room(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "field.json"
    rooms = ["--room", "clean", "--room", TWICE]
    arguments = [str(folder), "--clips", "1", "--rates", "6", "--metric", "mel16", "--no-opus", "--seconds", "0.5"]
    assert main([*arguments, *rooms, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [row["room"] for row in found["rows"]] == ["clean", TWICE]
    once, twice = (row["scores"]["mel16"]["mean"] for row in found["rows"])
    assert 0.0 < once < twice
    assert "coded twice" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
