"""The command line: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from numpy.typing import NDArray

from streamcodec.cli import COMMANDS, main
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.models.shipped import load_model
from tests.helpers.commands import refusal


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(arguments) == 0
    parsed = json.loads(capsys.readouterr().out)
    assert isinstance(parsed, dict)
    return parsed


def test_encode_info_decode(tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coded, decoded = str(tmp_path / "a.sc"), str(tmp_path / "a.wav")
    assert main(["encode", str(speech_file), coded, "--kbps", "6"]) == 0
    assert "kbps" in capsys.readouterr().out
    info = run_json(capsys, "info", coded)
    sound = soundfile.info(speech_file)
    assert info["duration_s"] == pytest.approx(sound.duration, abs=1e-4)
    assert info["sample_rate_hz"] == 24_000
    assert info["channels"] == 1
    assert info["tier"] == "neural"
    assert info["delay_ms"] == 65.0  # files take packets of 60 ms
    assert info["payload_bps"] == pytest.approx(6_000, rel=0.05)
    assert info["payload_bytes"] < info["file_bytes"] < 1.4 * int(str(info["payload_bytes"]))
    assert main(["decode", coded, decoded]) == 0
    assert soundfile.info(decoded).frames == sound.frames


def test_pipes(tmp_path: Path, speech_file: Path) -> None:
    command = [sys.executable, "-c", "from streamcodec.entry import console; console()"]
    coded = subprocess.run(
        [*command, "encode", "-", "-"], input=speech_file.read_bytes(), capture_output=True, check=True, timeout=100
    )
    assert coded.stdout[:4] == b"SCF1"
    decoded = subprocess.run(
        [*command, "decode", "-", "-"], input=coded.stdout, capture_output=True, check=True, timeout=100
    )
    (tmp_path / "a.wav").write_bytes(decoded.stdout)
    assert soundfile.info(tmp_path / "a.wav").frames == soundfile.info(speech_file).frames


def test_nothing_else_is_printed_where_standard_output_is_the_file(tmp_path: Path, speech_file: Path) -> None:
    command = [sys.executable, "-c", "from streamcodec.entry import console; console()"]
    with open(tmp_path / "a.sc", "wb") as out:
        subprocess.run([*command, "encode", str(speech_file), "/dev/stdout"], stdout=out, check=True, timeout=100)
    assert (tmp_path / "a.sc").read_bytes()[:4] == b"SCF1"
    with open(tmp_path / "a.sc", "rb") as coded:
        assert FileReader(coded).total_samples == soundfile.info(speech_file).frames


def test_transcode_keeps_what_is_louder_than_full_scale_where_asked(
    tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, rate_hz = soundfile.read(speech_file, dtype="float32")
    loud = samples[:rate_hz] * np.float32(2.0 / np.abs(samples[:rate_hz]).max())
    soundfile.write(tmp_path / "loud.wav", loud, rate_hz, "FLOAT")
    assert main(["transcode", str(tmp_path / "loud.wav"), str(tmp_path / "same.wav"), "--float"]) == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(soundfile.read(tmp_path / "same.wav", dtype="float32")[0], loud)
    assert main(["transcode", str(tmp_path / "loud.wav"), str(tmp_path / "clipped.flac")]) == 0
    (said,) = capsys.readouterr().err.splitlines()
    assert "was clipped" in said
    assert "--float" in said


def test_a_near_lossless_rate_that_cannot_be_met_is_told(
    tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kbps, told in (("5", True), ("64", False)):
        asked = [str(fixtures / "music_44k.flac"), str(tmp_path / "a.sc"), "--tier", "near-lossless", "--kbps", kbps]
        assert main(["encode", *asked]) == 0
        assert ("kbps were asked for, and this sound takes" in capsys.readouterr().err) is told


def test_transcode_wants_a_name_whose_suffix_says_what_to_write(
    speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "goes by the suffix" in refusal(["transcode", str(speech_file), "-"], capsys)
    assert not Path("-").exists()


def test_what_is_no_sc_file_is_named(speech_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["info", str(speech_file)], ["decode", str(speech_file), str(tmp_path / "a.wav")]):
        assert "speech.flac is not a .sc file" in refusal(command, capsys)


def test_what_is_coded_already_is_called_so(
    speech_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = str(tmp_path / "a.sc")
    for more in ([], ["--kbps", "1.5"]):
        assert main(["encode", str(speech_file), coded, *more]) == 0
        capsys.readouterr()
        for command in (["encode", coded, str(tmp_path / "b.sc")], ["restore", coded, str(tmp_path / "b.wav")]):
            said = refusal(command, capsys)
            assert "a.sc as sound: it is coded already; decode it first, or transcode it" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.sc"]


def test_a_coded_file_does_not_take_the_name_of_a_sound(
    speech_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.WAV"
    there.write_bytes(b"a recording")
    assert refusal(["encode", str(speech_file), str(there)], capsys).endswith("use a .sc name")
    assert there.read_bytes() == b"a recording"


def test_floats_are_not_sent_to_a_format_that_holds_none(
    speech_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = str(tmp_path / "a.sc")
    assert main(["encode", str(speech_file), coded]) == 0
    capsys.readouterr()
    said = refusal(["decode", coded, str(tmp_path / "a.flac"), "--float"], capsys)
    assert said.endswith("FLAC holds no floating-point samples; use a .wav name, or leave --float out")


def test_roundtrip_with_loss(tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "a.wav")
    arguments = ("roundtrip", str(speech_file), out, "--kbps", "6", "--loss", "0.2", "--burst", "2", "--json")
    first = run_json(capsys, *arguments, "--seed", "1")
    assert soundfile.info(out).frames == soundfile.info(speech_file).frames
    packets, lost = int(str(first["packets"])), int(str(first["lost"]))
    assert 0.08 * packets < lost < 0.35 * packets
    assert first["payload_bytes"]
    assert first["delay_ms"] == 25.0
    again = run_json(capsys, *arguments, "--seed", "1")
    assert again["lost"] == lost
    clean = run_json(capsys, "roundtrip", str(speech_file), out, "--json")
    assert clean["lost"] == clean["concealed"] == 0


def similarity(original: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    """Highest correlation at any lag: a receiver may shift what it plays by some tens of milliseconds."""
    correlation = np.abs(scipy.signal.correlate(heard, original, method="fft")).max()
    return float(correlation / (np.linalg.norm(heard) * np.linalg.norm(original)))


def test_roundtrip_redundancy_saves_packets(
    tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def through(*more: str) -> tuple[dict[str, object], float]:
        out = str(tmp_path / "a.wav")
        arguments = ("roundtrip", str(speech_file), out, "--jitter", "10", "--seed", "3", "--json", *more)
        figures = run_json(capsys, *arguments)
        heard, _ = soundfile.read(out)
        original, rate_hz = soundfile.read(speech_file)
        assert heard.size == original.size
        return figures, similarity(original[-rate_hz:], heard[-rate_hz:])

    lossy = ("--loss", "0.1", "--burst", "1.5")
    bare, _ = through(*lossy, "--redundancy", "off")
    saved, _ = through(*lossy, "--redundancy", "2")
    followed, _ = through(*lossy, "--redundancy", "auto")
    clean, alike = through("--redundancy", "1")
    assert alike > 0.5
    assert bare["recovered"] == clean["recovered"] == clean["lost"] == clean["concealed"] == 0
    assert bare["payload_bytes"] == saved["payload_bytes"]
    assert bare["lost"] == saved["lost"]
    concealed = [int(str(figures["concealed"])) for figures in (bare, saved, followed)]
    assert concealed[1] < 0.5 * concealed[0]
    assert concealed[2] < concealed[0]
    assert int(str(saved["recovered"])) > 0
    assert float(str(saved["wire_kbps"])) > float(str(bare["wire_kbps"]))


def test_waveform_tiers_encode_info_decode(
    tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, coded, decoded = str(fixtures / "music_44k.flac"), str(tmp_path / "a.sc"), str(tmp_path / "a.flac")
    assert main(["encode", source, coded, "--tier", "lossless"]) == 0
    capsys.readouterr()
    info = run_json(capsys, "info", coded)
    assert (info["tier"], info["channels"], info["sample_rate_hz"], info["delay_ms"]) == ("lossless", 1, 44_100, 20.0)
    assert main(["transcode", coded, decoded]) == 0
    np.testing.assert_array_equal(soundfile.read(decoded)[0], soundfile.read(source)[0])
    arguments = ("--tier", "near-lossless", "--ratio", "8", "--optimise", "mse", "--json")
    capsys.readouterr()
    info = run_json(capsys, "encode", source, coded, *arguments)
    assert info["tier"] == "near-lossless"
    assert 8.0 <= float(str(info["ratio"])) < 8.6
    # Of a live stream of its packets: five blocks, and the overlap of the transform.
    assert info["delay_ms"] == pytest.approx(1_000 * 6 * 512 / 44_100, abs=0.01)


@pytest.mark.parametrize("tier", ["neural", "lossless"])
def test_key_period_trades_size_for_places_to_begin(
    tier: str, tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, coded = str(fixtures / "speech_44k.flac"), str(tmp_path / "a.sc")
    sizes, keys = [], []
    for period in ("0.25", "1", "10"):
        info = run_json(capsys, "encode", source, coded, "--tier", tier, "--key-period", period, "--json")
        sizes.append(int(str(info["file_bytes"])))
        keys.append(int(str(info["key_packets"])))
    assert keys == sorted(keys, reverse=True)
    assert keys[-1] == 1
    if tier == "lossless":
        assert sizes == sorted(sizes, reverse=True)
    assert main(["encode", source, coded, "--tier", tier, "--key-period", "11"]) == 2
    assert "--key-period must be 0.02 to 10 s, got 11\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "packet_ms"),
    [(["--packet-ms", "120"], 120), (["--tier", "lossless", "--packet-ms", "100", "--mode", "independent"], 100)],
)
def test_roundtrip_counts_packets_however_long_they_are(
    words: list[str], packet_ms: int, tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.wav"
    networks: list[list[str]] = [[], ["--jitter", "1"]] if packet_ms == 120 else [[]]
    for network in networks:
        arguments = ("roundtrip", str(speech_file), str(out), "--loss", "0.2", "--seed", "1", *words, *network)
        figures = run_json(capsys, *arguments, "--json")
        assert 0 < int(str(figures["lost"])) < int(str(figures["packets"])) / 2
        assert figures["concealed"] == figures["lost"]
        assert figures["concealed_ms"] == packet_ms * int(str(figures["lost"]))
        assert soundfile.info(out).frames == soundfile.info(speech_file).frames


@pytest.mark.parametrize("tier", ["lossless", "near-lossless"])
def test_waveform_tiers_round_trip_with_and_without_loss(
    tier: str, tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = fixtures / "speech_44k.flac", tmp_path / "a.wav"
    beside = ("--folder", str(tmp_path)) if tier == "lossless" else ()
    clean = run_json(capsys, "roundtrip", str(source), str(out), *beside, "--tier", tier, "--json")
    for name in ("original.wav", "decoded.wav") if beside else ():
        np.testing.assert_array_equal(soundfile.read(tmp_path / name)[0], soundfile.read(source)[0])
    assert clean["concealed"] == 0
    sound, heard = soundfile.read(source)[0], soundfile.read(out)[0]
    assert heard.shape == sound.shape
    assert np.array_equal(heard, sound) if tier == "lossless" else np.corrcoef(heard, sound)[0, 1] > 0.99
    lossy = run_json(capsys, "roundtrip", str(source), str(out), "--tier", tier, "--loss", "0.05", "--json")
    assert int(str(lossy["concealed"])) > int(str(lossy["lost"])) > 0
    arguments = ("--tier", tier, "--loss", "0.05", "--mode", "independent", "--json")
    alone = run_json(capsys, "roundtrip", str(source), str(out), *arguments)
    assert alone["concealed"] == alone["lost"] == lossy["lost"]
    assert soundfile.info(out).frames == len(sound)


def test_roundtrip_of_stereo_in_the_neural_tier_says_that_it_is_mixed_down(
    tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, rate_hz = soundfile.read(speech_file)
    soundfile.write(tmp_path / "two.wav", np.stack([samples, samples], axis=1)[:rate_hz], rate_hz)
    assert main(["roundtrip", str(tmp_path / "two.wav"), str(tmp_path / "heard.wav")]) == 0
    assert "mixed down from 2 channels to one" in capsys.readouterr().err


def test_roundtrip_of_bundled_speech_draws_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roundtrip", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "delay 25 ms" in printed
    assert "p99" in printed
    assert (tmp_path / "comparison.png").stat().st_size > 20_000
    decoded, rate_hz = soundfile.read(tmp_path / "decoded.wav")
    original, _ = soundfile.read(tmp_path / "original.wav")
    assert rate_hz == 24_000
    assert np.corrcoef(original, decoded)[0, 1] > 0.7


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [0, 1])
def test_roundtrip_of_next_to_nothing_fills_its_folder(samples: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(samples), 24_000)
    assert main(["roundtrip", str(tmp_path / "a.wav"), "--folder", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"original.wav", "decoded.wav", "comparison.png"}


@pytest.mark.parametrize("name", ["original.wav", "decoded.wav"])
def test_roundtrip_does_not_fill_the_folder_of_what_it_reads_or_writes(
    name: str, tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for other in ("original.wav", "decoded.wav"):
        (tmp_path / other).write_bytes(speech_file.read_bytes())
    assert "is the file that is read" in refusal(
        ["roundtrip", str(tmp_path / name), "--folder", str(tmp_path)], capsys
    )
    assert "is written by --folder" in refusal(
        ["roundtrip", str(speech_file), str(tmp_path / name), "--folder", str(tmp_path)], capsys
    )
    for other in ("original.wav", "decoded.wav"):
        assert (tmp_path / other).read_bytes() == speech_file.read_bytes()


def test_info_lists_the_shipped_models(capsys: pytest.CaptureFixture[str]) -> None:
    models = run_json(capsys, "info", "--models", "--json")
    entry = models["speech-24k"]
    assert isinstance(entry, dict)
    assert entry["size_bytes"] <= 10_000_000
    assert entry["lowest_kbps"]["independent"]["20"] == 2.0
    assert entry["figures"]
    assert load_model("speech-24k").kbps_of_packets("stream", 3)[0] <= 1.5
    assert 0.0 < entry["cost"]["p50_ms"] <= entry["cost"]["p99_ms"] <= 1.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["encode", "nowhere.wav", "a.sc"], "no file nowhere.wav"),
        (["decode", "nowhere.sc", "a.wav"], "no file nowhere.sc"),
        (["info", __file__], "does not begin with 'SCF1'"),
        (["encode", __file__, "a.sc"], "as sound"),
        (["encode", "SPEECH", "a.sc", "--kbps", "500"], "1 to 24 kbps, got 500"),
        (["encode", "SPEECH", "no/such/folder/a.sc"], "cannot write"),
        (["roundtrip", "SPEECH", "a.wav", "--loss", "0.9", "--burst", "1"], "--burst 9 or more"),
        (["roundtrip", "SPEECH", "a.wav", "--loss", "0.75", "--burst", "2"], "--burst 3 or more"),
        (["roundtrip", "SPEECH", "a.wav", "--mode", "stream", "--redundancy", "auto"], "leave --mode stream out"),
        (["roundtrip", "SPEECH", "a.wav", "--tier", "lossless", "--jitter", "5"], "leave --tier out"),
        (["roundtrip", "SPEECH", "a.xyz"], "cannot write"),
        (["encode", "SPEECH", "a.sc", "--model", "none"], "no usable model"),
        (["encode", "SPEECH", "a.sc", "--tier", "lossless", "--kbps", "6"], "does not apply"),
        (
            ["encode", "SPEECH", "a.sc", "--tier", "near-lossless", "--ratio", "100000"],
            "compression ratio (--ratio) of 0.064 to 96, got 100000",
        ),
        (["transcode", "nowhere.wav", "a.flac"], "no file nowhere.wav"),
        (["encode", "SPEECH", "a.sc", "--tier", "lossless", "--model", "x"], "--model is for the neural tier"),
        (
            ["encode", "SPEECH", "a.sc", "--tier", "lossless", "--optimise", "mse"],
            "--optimise is for the near-lossless",
        ),
        (["encode", "SPEECH", "a.sc", "--optimise", "mse"], "--optimise is for the near-lossless"),
        (["info", "--models", "x.sc"], "--models is in place of a file"),
        (["info", "x.sc", "--backend", "torch"], "--backend goes with --runtime"),
        (["bench", "--hops", "0"], "--hops must be at least 1"),
        (["transcode", "SPEECH", "a.flac", "--kbps", "9"], "--kbps says how a .sc file is coded, and a.flac"),
        (["transcode", "SPEECH", "a.flac", "--dtx"], "--dtx says how a .sc file is coded"),
        (["transcode", "SPEECH", "a.flac", "--tier", "lossless"], "--tier says how a .sc file is coded"),
        (["transcode", "SPEECH", "a.sc", "--float"], "--float says how plain sound is written, and a.sc"),
        (["transcode", "SPEECH", "a.flac", "--source-model", "x"], "--source-model is of a .sc file"),
        (["token", "room", "--hours", "1e307"], "--hours must be at most 876600 (a century), got 1e+307"),
        (["bench", "--plot", "cost.xyz"], "no kind of picture is called .xyz; use a .png name"),
        (["bench", "--affinity", 30 * "9"], "cannot be used"),
        (["export", "SPEECH", "a", "--data", "."], "cannot be read as a checkpoint"),
        (["experiment", "loss", "--data", ".", "--seconds", "inf"], "of each file of at most 86400"),
        (["encode", "no\nsuch.wav", "a.sc"], "there is no file no\\nsuch.wav"),
        (["train", "--data", "nowhere", "--output", "x"], "no folder nowhere"),
        (["train", "--data", ".", "--output", "SPEECH"], "is a file; name a folder"),
        (["experiment", "loss", "--data", ".", "--output", "SPEECH"], "is a file; name a folder"),
        (["eval", "--data", "nowhere"], "no folder nowhere"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_two(
    arguments: list[str],
    says: str,
    speech_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refusal([str(speech_file) if a == "SPEECH" else a for a in arguments], capsys)
    assert says in error


@pytest.mark.parametrize(
    "arguments",
    [["encode"], ["nonsense"], ["encode", "a", "b", "--kbps", "-3"], ["roundtrip", "a", "b", "--redundancy", "9"]],
)
def test_bad_arguments_exit_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "(choose from "),
        (["encode"], "required: input, output; see 'streamcodec encode --help'"),
        (["encode", "a", "b", "--kbps", "abc"], "--kbps: must be a number above 0, got abc"),
        (["encode", "a", "b", "--kbps"], "--kbps: expected one argument"),
        (["encode", "a", "b", "--tier", "x"], "(choose from "),
        (["encode", "a", "b", "--packet-ms", "x"], "--packet-ms: must be a whole number, got x"),
        (["encode", "a", "b", "--no\nsuch"], "unrecognized arguments"),
        (["roundtrip", "--seed", "1.5"], "--seed: must be a whole number, got 1.5"),
        (["roundtrip", "--loss", "x"], "--loss: must be from 0 to below 1, got x"),
        (["roundtrip", "--jitter", "x"], "--jitter: must be 0 to 1000 ms, got x"),
        (["experiment", "x", "--seconds", "y"], "--seconds: must be a number, got y"),
        (["bench", "--sleep", "inf"], "--sleep: must be 0 to 3600 s, got inf"),
        (["train", "--data", ".", "--output", "a", "--threads", "-1"], "must be a whole number above 0, got -1"),
        (["train", "--data", ".", "--output", "a", "--batch", "0"], "must be a whole number above 0, got 0"),
        (["serve", "--port", "x"], "must be 0 to 65535, got x"),
    ],
)
def test_bad_arguments_are_one_clear_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("streamcodec: ")
    assert line.endswith("--help'")
    assert says in line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "example: streamcodec" in capsys.readouterr().out
