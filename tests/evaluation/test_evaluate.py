"""Evaluation from a folder of sound to table, JSON and plot."""

from __future__ import annotations

import importlib
import io
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from rich.console import Console

from streamcodec.errors import ModelError, StreamcodecError
from streamcodec.evaluation import ArrayCodec, Clip, Coded, EvaluationError, Report, System, evaluate, read_clips
from streamcodec.evaluation.errors import UnknownNameError
from streamcodec.evaluation.libopus import find_library
from streamcodec.evaluation.metrics import METRICS
from streamcodec.evaluation.own import streamcodec_systems
from streamcodec.evaluation.plot import plot_rate_quality
from streamcodec.evaluation.report import ARROWS, Row
from streamcodec.models.shipped import model_names

CHEAP = ["si_sdr", "mel16", "mel24", "lsd16", "stoi"]


class Rounding:
    """A codec that rounds samples to as many bits as the rate allows, 10 ms late."""

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        steps = 2 ** (kbps / 2)
        late = np.pad(np.round(samples * steps) / steps, (sample_rate_hz // 100, 0)).astype(np.float32)
        payload_bytes = round(kbps * 1000 / 8 * len(samples) / sample_rate_hz)
        return Coded(late, sample_rate_hz, payload_bytes, 10, payload_bytes + 500)


@pytest.fixture(scope="module")
def report(sound_folder: Path) -> Report:
    systems = [System("streamcodec", Rounding(), (8.0, 16.0), "rounds"), System("peer", Rounding(), (12.0,))]
    return evaluate(read_clips(sound_folder), systems, CHEAP)


def test_folders_are_read_recursively_by_kind(sound_folder: Path) -> None:
    assert [(clip.name, clip.kind) for clip in read_clips(sound_folder)] == [
        ("a.wav", "speech"),
        ("b.flac", "speech"),
        ("tune.ogg", "music"),
    ]
    assert [clip.name for clip in read_clips(sound_folder, kinds=["music"])] == ["tune.ogg"]
    assert [clip.name for clip in read_clips(sound_folder, kinds=["speech"], limit=1)] == ["a.wav"]
    assert [clip.name for clip in read_clips(sound_folder / "speech" / "a.wav")] == ["a.wav"]


def test_clips_are_mixed_to_mono(sound_folder: Path) -> None:
    samples, sample_rate_hz = read_clips(sound_folder, kinds=["music"])[0].read()
    assert samples.shape == (57_600,)
    assert sample_rate_hz == 48_000


def test_rates_are_real_and_better_rates_score_better(report: Report) -> None:
    coarse, fine, peer = report.summaries("speech")
    assert (coarse.nominal_kbps, fine.nominal_kbps, peer.system) == (8.0, 16.0, "peer")
    assert coarse.payload_kbps == pytest.approx(8.0, rel=1e-3)
    assert coarse.wire_kbps == pytest.approx(8.0 + 500 * 8 / 1000 / 1.6, rel=1e-3)
    assert fine.scores["si_sdr"].mean > coarse.scores["si_sdr"].mean + 20
    assert fine.scores["mel24"].mean < coarse.scores["mel24"].mean
    assert fine.scores["stoi"].count == 2


def test_metrics_are_computed_for_their_kinds_only(report: Report) -> None:
    (music, *_) = report.summaries("music")
    assert "stoi" not in music.scores
    assert math.isfinite(music.scores["si_sdr"].mean)


def test_paired_comparison_uses_the_same_clips(report: Report) -> None:
    gain = report.compare("si_sdr", "speech", ("streamcodec", 16.0), ("streamcodec", 8.0))
    assert gain.low > 0
    with pytest.raises(EvaluationError, match="same speech clips"):
        report.compare("si_sdr", "speech", ("streamcodec", 16.0), ("streamcodec", 99.0))


def test_two_files_of_one_name_are_two_clips(tmp_path: Path) -> None:
    for folder, amplitude in (("a", 0.5), ("b", 0.05)):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", amplitude * np.sin(0.1 * np.arange(24_000)), 24_000)
    soundfile.write(tmp_path / "y.wav", np.sin(0.1 * np.arange(24_000)), 24_000)
    clips = read_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a/x.wav", "b/x.wav", "y.wav"]
    systems = [System(name, Rounding(), (8.0,)) for name in ("one", "other")]
    for named in (clips, [Clip(clip.path, clip.kind) for clip in clips]):
        report = evaluate(named, systems, ["si_sdr"])
        same = report.compare("si_sdr", "speech", ("one", 8.0), ("other", 8.0))
        assert (same.count, same.mean) == (3, 0.0)
    report.rows.pop()
    with pytest.raises(EvaluationError, match="same speech clips"):
        report.compare("si_sdr", "speech", ("one", 8.0), ("other", 8.0))


def test_differences_are_taken_clip_by_clip_at_like_rates(sound_folder: Path) -> None:
    systems = [System("one", Rounding(), (4.0, 8.0, 12.4)), System("peer", Rounding(), (7.6, 12.0))]
    report = evaluate(read_clips(sound_folder), systems, ["si_sdr"])
    found = report.differences("speech", "peer")
    assert [(d.first[1], d.second[1]) for d in found] == [(8.0, 7.6), (12.4, 12.0)]
    for difference in found:
        assert difference.scores["si_sdr"] == report.compare("si_sdr", "speech", difference.first, difference.second)
        assert 0 < difference.scores["si_sdr"].mean < 3
    content = json.loads(report.to_json(against="peer"))
    assert len(content["differences"]) == 2 * len(report.kinds())
    console = Console(file=io.StringIO(), width=160)
    console.print(report.difference_table("speech", "peer"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "difference to peer" in text
    assert f"{found[0].scores['si_sdr'].mean:+.1f}" in text
    with pytest.raises(EvaluationError, match="no system 'nobody'"):
        report.differences("speech", "nobody")


def test_json_holds_the_figures(report: Report, tmp_path: Path) -> None:
    report.write_json(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["systems"] == {"streamcodec": "rounds", "peer": ""}
    assert len(content["rows"]) == 9
    first = content["summaries"][0]
    assert first["payload_kbps"] == pytest.approx(8.0, rel=1e-3)
    assert first["scores"]["si_sdr"]["mean"] == pytest.approx(
        report.summaries("speech")[0].scores["si_sdr"].mean, rel=1e-5
    )
    assert "rows" not in json.loads(report.to_json(clips=False))


def test_table_shows_every_point(report: Report) -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(report.table("speech"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("speech: 2 clips", "streamcodec", "peer", "8.00", "16.00", "SI-SDR dB ↑", "mel24 ↓", "±"):
        assert expected in text


def test_plot_is_a_picture_with_the_panels(report: Report, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    del matplotlib
    from matplotlib.image import imread

    plot_rate_quality(report, tmp_path / "plot.png", "speech")
    picture = imread(tmp_path / "plot.png")
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1000
    coloured = np.abs(picture[..., 0] - picture[..., 1]) > 0.3
    assert coloured.sum() > 500
    with pytest.raises(EvaluationError, match="environment"):
        plot_rate_quality(report, tmp_path / "none.png", "environment")


def test_a_clip_that_cannot_be_scored_is_noted_not_hidden(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    found = evaluate(read_clips(tmp_path), [System("s", Rounding(), (8.0,))], ["si_sdr", "mel16"])
    assert any("silence.wav" in note and "silent" in note for note in found.notes)
    (summary,) = found.summaries("speech")
    assert summary.scores["si_sdr"].count == 0
    assert summary.scores["mel16"].count == 1
    content = json.loads(found.to_json())
    assert content["rows"][0]["scores"]["si_sdr"] is None


def test_workers_find_what_one_process_finds(sound_folder: Path) -> None:
    if find_library() is None:
        pytest.skip("no libopus")
    from streamcodec.evaluation.peers.opus import opus_systems

    clips = read_clips(sound_folder, kinds=["speech"])
    systems = opus_systems([12.0])[:1]
    assert evaluate(clips, systems, ["si_sdr"], workers=2).rows == evaluate(clips, systems, ["si_sdr"]).rows


@dataclass(frozen=True)
class HeaderedPacket:
    """A packet with a header of one byte."""

    payload: bytes

    def to_bytes(self) -> bytes:
        return b"h" + self.payload


def test_the_array_adapter_counts_payload_and_wire() -> None:
    def encode(samples: NDArray[np.float32], sample_rate_hz: int, bitrate_bps: float) -> list[HeaderedPacket]:
        assert (sample_rate_hz, bitrate_bps) == (16_000, 6_000)
        return [HeaderedPacket(np.float16(value).tobytes()) for value in samples]

    def decode(packets: list[HeaderedPacket]) -> NDArray[np.float32]:
        return np.array([np.frombuffer(packet.payload, np.float16)[0] for packet in packets], dtype=np.float32)

    codec = ArrayCodec(encode, decode, list, packets_per_datagram=2, datagram_overhead_bytes=100)
    sound = np.array([0.5, 0.25, -1.0], dtype=np.float32)
    coded = codec(sound, 16_000, 6.0)
    np.testing.assert_array_equal(coded.samples, sound)
    assert (coded.payload_bytes, coded.packets, coded.wire_bytes) == (6, 3, 9 + 200)
    with pytest.raises(EvaluationError, match=r"must give mono samples.*\(3, 1\)"):
        ArrayCodec(encode, lambda packets: decode(packets)[:, None], list)(sound, 16_000, 6.0)


def test_bad_requests_are_one_clear_sentence(sound_folder: Path, tmp_path: Path) -> None:
    clips = read_clips(sound_folder)
    good = System("good", Rounding(), (8.0,))
    (tmp_path / "broken.wav").write_bytes(b"RIFFnonsense")
    for message, call in (
        ("No such file or folder", lambda: read_clips(tmp_path / "absent")),
        ("No sound file of kind music", lambda: read_clips(tmp_path, kinds=["music"])),
        ("Unknown kind 'noise'", lambda: read_clips(sound_folder, kinds=["noise"])),
        ("at least 1, got 0", lambda: read_clips(sound_folder, limit=0)),
        ("Unknown metric 'taste'", lambda: evaluate(clips, [good], ["taste"])),
        ("at least one clip and one system", lambda: evaluate(clips, [])),
        ("a name of its own", lambda: evaluate(clips, [good, good], ["si_sdr"])),
        ("workers must be at least 1", lambda: evaluate(clips, [good], ["si_sdr"], workers=0)),
        ("at least one rate", lambda: System("none", Rounding(), ())),
        ("broken.wav", lambda: evaluate(read_clips(tmp_path), [good], ["si_sdr"])),
    ):
        with pytest.raises(StreamcodecError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert issubclass(UnknownNameError, EvaluationError)


def test_importing_evaluation_needs_neither_torch_nor_the_extra() -> None:
    code = (
        "import sys; import streamcodec.evaluation, streamcodec.evaluation.peers.opus, streamcodec.evaluation.plot; "
        "print([m for m in ('torch', 'pesq', 'soxr', 'pystoi', 'visqol', 'av', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not model_names(), reason="no model is shipped")
def test_streamcodec_itself_is_a_codec_under_test(sound_folder: Path) -> None:
    clips = read_clips(sound_folder, kinds=["speech"])
    coarse, fine, *_ = evaluate(clips, streamcodec_systems([3.0, 9.0]), ["si_sdr", "mel24"]).summaries("speech")
    assert coarse.payload_kbps < fine.payload_kbps
    assert coarse.payload_kbps < coarse.wire_kbps
    assert fine.scores["mel24"].mean < coarse.scores["mel24"].mean


def test_a_model_that_is_not_there_is_a_typed_error() -> None:
    with pytest.raises(ModelError, match="no-such-model"):
        streamcodec_systems([6.0], "no-such-model")


def test_the_bench_prints_one_table(sound_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = importlib.import_module("bench.quality.__main__")
    written = tmp_path / "bench.json"
    own = f"{__name__}:bench_systems"
    arguments = [
        str(sound_folder),
        "--no-opus",
        "--no-streamcodec",
        "--system",
        own,
        "--metric",
        "si_sdr",
        "--rates",
        "8",
        "12",
    ]
    assert bench.main([*arguments, "--json", str(written), "--kind", "speech"]) == 0
    assert "rounding" in capsys.readouterr().out
    assert [s["nominal_kbps"] for s in json.loads(written.read_text())["summaries"]] == [8.0, 12.0]
    assert bench.main([str(tmp_path / "absent")]) == 2
    assert "No such file or folder" in capsys.readouterr().err
    assert bench.main([str(sound_folder), "--no-opus", "--no-streamcodec", "--system", "no.such:thing"]) == 2


def test_the_bench_says_what_the_clips_themselves_score(sound_folder: Path) -> None:
    pytest.importorskip("speechmos")
    bench = importlib.import_module("bench.quality.__main__")
    clips = read_clips(sound_folder, kinds=["speech"])
    (sentence,) = bench.untouched_scores(clips, ["si_sdr", "dnsmos"])
    assert sentence.startswith("The clips themselves: DNSMOS ")
    assert 0.5 < float(sentence.split()[4]) < 5.0
    assert bench.untouched_scores(clips, ["si_sdr"]) == []


def bench_systems(rates_kbps: Any) -> list[System]:
    return [System("rounding", Rounding(), tuple(rates_kbps))]


def test_tables_fit_eighty_columns_without_losing_a_figure() -> None:
    names = list(METRICS)
    scores = dict.fromkeys(names, 1.2345)
    rows = [
        Row("streamcodec independent", kbps, f"{k}.wav", "speech", 2.0, 1_500, 100, 9_000, scores)
        for kbps in (3.0, 6.0)
        for k in range(3)
    ]
    report = Report(rows, names, {"streamcodec independent": ""})
    shown = [name for name in names if "speech" in METRICS[name].kinds]
    console = Console(width=80, record=True, file=io.StringIO())
    for table in report.tables("speech", 80):
        console.print(table)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for name in shown:
        assert f"{METRICS[name].title} {ARROWS[METRICS[name].better]}" in text
    assert text.count("±") >= 2 * len(shown)


def test_a_clip_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.sin(0.1 * np.arange(24_000)), 24_000)
    (tmp_path / "bad.flac").write_bytes(b"fLaC" + bytes(200))
    (tmp_path / "._a.wav").write_bytes(bytes(100))
    clips = read_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a.wav", "b.wav", "bad.flac"]
    report = evaluate(clips, [System("rounds", Rounding(), (8.0,))], ["si_sdr"])
    assert [row.clip for row in report.rows] == ["a.wav", "b.wav"]
    assert len(report.unreadable) == 1
    assert "bad.flac" in report.unreadable[0]
    with pytest.raises(EvaluationError, match="Cannot read"):
        evaluate(clips[2:], [System("rounds", Rounding(), (8.0,))], ["si_sdr"])
