"""The command line speaks of what was typed, in the units that it was typed in; the API of its own arguments."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from streamcodec import StreamcodecError, StreamEncoder
from streamcodec.cli import main
from streamcodec.cli.common import LOWEST
from streamcodec.cli.model_table import lowest_kbps
from streamcodec.codec import registry
from streamcodec.codec.options import MIN_BITRATE_BPS, NearLosslessOptions, NeuralOptions, encoder_options
from streamcodec.models.shipped import load_model
from streamcodec.wording import given, named

PYTHON_NAME = re.compile(r"\b\w+_(bps|ms|s|hz|db)\b|\w=['\"\d]|=True")


@pytest.fixture(autouse=True)
def _nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with an argument is told before a tier is made."""

    def made(options: object) -> None:
        raise AssertionError(f"a tier was made of {options}")

    monkeypatch.setattr(registry, "make_tier_encoder", made)
    monkeypatch.setattr("streamcodec.codec.stream.make_tier_encoder", made)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kbps", "30"], "1 to 24 kbps, got 30"),
        (["--kbps", "0.5"], "1 to 24 kbps, got 0.5"),
        (["--tier", "lossless", "--kbps", "6"], "--kbps does not apply"),
        (["--ratio", "8"], "--ratio is for the near-lossless tier"),
        (["--snr", "40"], "the neural tier goes by --kbps: --snr is"),
        (["--tier", "lossless", "--packet-ms", "120"], "--packet-ms of the lossless tier must be one of 20"),
        (["--tier", "lossless", "--dtx"], "--constrained and --dtx are for the neural tier"),
        (["--tier", "near-lossless", "--snr", "40", "--optimise", "perceptual"], "with --optimise mse"),
        (["--key-period", "100"], "--key-period must be 0.02 to 10 s, got 100"),
        (["--tier", "near-lossless", "--channels", "2"], "--channels 2 is for the neural tier"),
    ],
)
def test_errors_name_options(
    words: list[str], says: str, fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(fixtures / "music_44k.flac")
    assert main(["encode", source, str(tmp_path / "out.sc"), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in said
    assert not PYTHON_NAME.search(said.replace(source, "")), said
    assert list(tmp_path.iterdir()) == []


def test_the_api_names_its_arguments() -> None:
    assert (named("packet_ms"), given("mode", "stream")) == ("packet_ms", "mode='stream'")
    with pytest.raises(StreamcodecError, match=r"1 to 24 kbps \(bitrate_bps 1000 to 24000\), got 30000"):
        NeuralOptions(24_000, 30_000)


def test_a_ratio_is_refused_as_a_ratio(fixtures: Path) -> None:
    from streamcodec.codec.near_lossless.tier import rate_target

    with pytest.raises(StreamcodecError, match=r"compression ratio \(ratio\) of 0\.128 to 192, got 0\.1"):
        rate_target(NearLosslessOptions(48_000, ratio=0.1))


@pytest.mark.parametrize("burst", ["0.1", "0", "-1", "nan"])
@pytest.mark.parametrize("command", ["roundtrip", "loopback"])
def test_losses_are_one_packet_long_at_the_least(
    command: str, burst: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--burst", burst])
    assert caught.value.code == 2
    assert "1 packet or more" in capsys.readouterr().err


def test_what_cannot_be_written_is_told_first(
    fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(fixtures / "music_44k.flac")
    for words in (
        ["encode", source, str(tmp_path / "none" / "out.sc"), "--tier", "lossless"],
        ["roundtrip", source, str(tmp_path / "none" / "out.wav")],
        ["bench", "--json", str(tmp_path / "none" / "out.json")],
    ):
        assert main(words) == 2
        assert "cannot write" in capsys.readouterr().err


def test_folders_for_files_and_files_for_folders_are_told_first(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("work was done for nothing")

    monkeypatch.setattr("streamcodec.evaluation.read_clips", worked)
    monkeypatch.setattr("streamcodec.codec.files.decoding.decoder_for", worked)
    source, folder, file = str(fixtures / "music_44k.flac"), tmp_path / "folder", tmp_path / "file"
    coded = next(fixtures.rglob("*.sc"))
    folder.mkdir()
    file.write_text("mine")
    for words, says in (
        (["encode", source, str(folder), "--tier", "lossless"], "it is a folder; name a file in it"),
        (["decode", str(coded), str(folder)], "it is a folder; name a file in it"),
        (["eval", "--data", str(fixtures), "--output", str(file)], "is a file; name a folder"),
        (["eval", "--data", str(fixtures), "--output", str(file / "below")], "is a file; name a folder"),
        (["roundtrip", source, "--folder", str(file)], "is a file; name a folder"),
    ):
        assert main(words) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        assert "cannot write" in said
        assert says in said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"packet_ms": 20.0}, ("packet_ms", 20)),
        ({"channels": 1.0}, ("channels", 1)),
        ({"sample_rate_hz": 24_000.0}, ("sample_rate_hz", 24_000)),
        ({"tier": "lossless", "bits_per_sample": 24.0}, ("bits_per_sample", 24)),
        ({"tier": "near-lossless", "step_index": 60.0}, ("step_index", 60)),
    ],
)
def test_whole_numbers_may_come_as_floats(options: dict[str, Any], kept: tuple[str, int]) -> None:
    made = encoder_options(**({"tier": "neural", "sample_rate_hz": 24_000} | options))
    assert getattr(made, kept[0]) == kept[1]
    assert type(getattr(made, kept[0])) is int


@pytest.mark.parametrize(
    "options", [{"packet_ms": 20.5}, {"packet_ms": "20"}, {"constrained": "yes"}, {"dtx": 1}, {"channels": True}]
)
def test_other_numbers_are_one_typed_sentence(options: dict[str, Any]) -> None:
    with pytest.raises(StreamcodecError, match=next(iter(options))):
        StreamEncoder(24_000, **options)


def test_the_lowest_rates_are_those_of_the_model_wherever_they_are_told() -> None:
    lowest = lowest_kbps(load_model())
    assert lowest["independent"] == {"20": 2.0, "60": 1.6, "120": 1.5}
    assert lowest["stream"]["60"] == 1.4
    assert MIN_BITRATE_BPS == 1_000
    for kbps in ("1 to 24", "2.0 at the least in packets of 20 ms", "1.6 of 60 ms", "1.0 of 120 ms and in files"):
        assert kbps in LOWEST
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text("utf-8")
    assert "2.0 to 12 kbps in packets of 20 ms, from 1.0 in" in readme
    assert "1.0 to 12 kbps" in (root / "docs" / "index.md").read_text("utf-8")


def test_the_shipped_models_are_listed_with_their_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--models"]) == 0
    table = capsys.readouterr().out
    assert "pesq 3" in re.sub(r"\s+", " ", table.replace("│", " "))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("module", ["streamcodec.cli", "argparse", "streamcodec.cli.process", "streamcodec.errors"])
def test_ctrl_c_while_the_command_is_being_imported_is_no_traceback(module: str) -> None:
    script = """
    import os, signal, sys

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == sys.argv[1]:
                os.kill(os.getpid(), signal.SIGINT)
            return None

    sys.meta_path.insert(0, Finder)
    from streamcodec.entry import console
    sys.argv = ["streamcodec", sys.argv[1], "--help"]
    console()
    """
    words = [sys.executable, "-c", textwrap.dedent(script), module]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")
