"""Playing files: what reaches the loudspeaker is what the file holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import decode_file, encode_file
from streamcodec.cli import main
from streamcodec.live import player


class Card:
    """What sounddevice is to the player."""

    class PortAudioError(Exception):
        pass

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.opened: list[dict[str, Any]] = []
        self.played: list[NDArray[np.float32]] = []

    def OutputStream(self, **options: Any) -> Any:  # noqa: N802
        if self.refuses:
            raise self.PortAudioError("Invalid sample rate")
        self.opened.append(options)
        return self

    def __enter__(self) -> Any:
        return SimpleNamespace(write=lambda block: self.played.append(block.copy()))

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    made = Card()
    monkeypatch.setattr(player, "sounddevice_module", lambda: made)
    monkeypatch.setattr(player, "check_devices", lambda **_: None)
    return made


@pytest.mark.parametrize("tier", ["neural", "near-lossless", "lossless"])
def test_a_coded_file_is_played_as_it_decodes(
    tier: str, card: Card, tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode_file(fixtures / "speech_44k.flac", tmp_path / "a.sc", tier=tier)  # type: ignore[arg-type]
    decode_file(tmp_path / "a.sc", tmp_path / "a.wav", floats=True)
    assert main(["play", str(tmp_path / "a.sc"), "--output-device", "3"]) == 0
    expected, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(np.concatenate(card.played), expected)
    assert (card.opened[0]["samplerate"], card.opened[0]["channels"], card.opened[0]["device"]) == (rate_hz, 1, 3)
    assert f"{len(expected) / rate_hz:.2f} s" in capsys.readouterr().out


def test_sound_files_are_played_in_turn(card: Card, tmp_path: Path, speech: NDArray[np.float32]) -> None:
    stereo = np.stack([speech[:2_400], -speech[:2_400]], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000, "FLOAT")
    soundfile.write(tmp_path / "b.flac", speech[:1_200], 16_000)
    assert main(["play", str(tmp_path / "a.wav"), str(tmp_path / "b.flac")]) == 0
    np.testing.assert_array_equal(card.played[0], stereo)
    assert [(o["samplerate"], o["channels"]) for o in card.opened] == [(48_000, 2), (16_000, 1)]


def test_a_loudspeaker_that_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speech: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(player, "sounddevice_module", lambda: Card(refuses=True))
    monkeypatch.setattr(player, "check_devices", lambda **_: None)
    soundfile.write(tmp_path / "a.wav", speech[:1_200], 11_025)
    assert main(["play", str(tmp_path / "a.wav")]) == 2
    error = capsys.readouterr().err
    assert "cannot play 1 channels at 11025 Hz" in error
    assert len(error.strip().splitlines()) == 1
