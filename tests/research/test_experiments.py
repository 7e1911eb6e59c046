"""Experiments end to end on generated sound: files written, figures repeated, wrong data told in a sentence."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from streamcodec.cli import main
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.spectral import log_spectral_distance
from streamcodec.evaluation.systems import Coded
from streamcodec.research.experiments import (
    bench_table,
    latent_size,
    linear_latents,
    loss,
    near_lossless,
    representation,
)
from streamcodec.research.experiments.downsampling import Downsampling
from streamcodec.research.experiments.experiment import SCALES, Context, Experiment, Picture, Results, Sound, Table
from streamcodec.research.experiments.material import Material, MaterialError
from streamcodec.research.experiments.registry import NAMES, load, select
from streamcodec.research.experiments.run_notes import note_run, training_minutes, training_table
from streamcodec.research.experiments.runner import run_experiment
from streamcodec.research.experiments.sounds import development_clips, file_names
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.registry import build_model
from streamcodec.research.models.representations import Kind
from streamcodec.research.training.losses import LOSSES

TINY = dataclasses.replace(SCALES["tiny"], dev_s=0.6, segment_s=0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of music to train on and another to judge by, 16 kHz."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    for split in ("train", "dev"):
        (folder / split / "music").mkdir(parents=True)
        tone = 0.3 * np.sin(2 * np.pi * (220 + 400 * time) * time) * (1 + np.sin(2 * np.pi * 3 * time))
        soundfile.write(folder / split / "music" / "a.wav", tone + 0.02 * rng.standard_normal(16_000), 16_000)
    return folder


@pytest.fixture
def few_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that cost nothing and need no package that a test run may lack."""
    monkeypatch.setattr(bench_table, "SCORES", ("snr", "lsd16", "mse"))


def test_an_experiment_writes_everything_and_repeats_its_figures(
    data: Path, tmp_path: Path, few_scores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamcodec.research.experiments.architecture.NAMES", ("frequency-conv", "unet"))
    experiment = load("architecture")
    folder = run_experiment(experiment, data, tmp_path / "first", TINY, seed=4)
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = metrics["tables"][0]["rows"]
    assert {"frequency-conv, Griffin-Lim", "unet, original phase", "downsampling"} < set(rows)
    assert all(row["real kbps"] > 0 and math.isfinite(row["LSD dB"]) for row in rows.values())
    assert "s per s" not in metrics["tables"][0]["columns"]
    timings = json.loads((folder / "timings.json").read_text())
    assert timings["tables"][0]["rows"]["downsampling"]["s per s"] > 0
    assert timings["training_minutes"] >= 0
    trained = metrics["tables"][-1]["rows"]["unet"]
    assert trained["steps"] == TINY.steps
    assert trained["epochs"] == pytest.approx(TINY.steps * TINY.batch_segments * TINY.segment_s, abs=0.06)
    page = (folder / "report.html").read_text()
    assert page.count("<audio") == 1 + len(rows)
    assert page.count("data:image/png") == 2
    assert "http" not in page
    skips = metrics["tables"][1]["rows"]
    assert set(skips) == {"bottom latent", "skip connection 1", "skip connection 2"}
    assert all(row["real kbps"] > 0 for row in skips.values())
    assert sum(row["share"] for row in skips.values()) == pytest.approx(1.0)
    again = run_experiment(experiment, data, tmp_path / "second", TINY, seed=4)
    assert (again / "metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()


def tables_of(name: str, data: Path, out: Path) -> list[dict[str, dict[str, float | str]]]:
    folder = run_experiment(load(name), data, out, TINY, seed=1)
    tables = json.loads((folder / "metrics.json").read_text())["tables"]
    return [table["rows"] for table in tables if table["title"] != "Training"]


def test_the_ladder_has_its_nominal_rates_beside_real_ones(
    data: Path, tmp_path: Path, few_scores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert latent_size.LADDER == {512: 0.867, 256: 0.803, 128: 0.929, 64: 1.24, 32: 1.61}
    assert latent_size.BLOCK_LATENTS == (64, 128, 256, 512)
    monkeypatch.setattr(latent_size, "LADDER", {512: 0.867, 32: 1.61})
    monkeypatch.setattr(latent_size, "BLOCK_LATENTS", (64,))
    codecs, ladder = tables_of("latent-size", data, tmp_path)
    assert {"512-a-frame, Griffin-Lim", "64-a-block, original phase", "downsampling"} < set(codecs)
    assert any(name.startswith("streamcodec, neural tier") for name in codecs)
    assert [row["nominal kbps"] for row in ladder.values()] == [126.0, 7.9]
    assert [row["RMSE published"] for row in ladder.values()] == [0.867, 1.61]
    for row in ladder.values():
        assert float(row["real kbps"]) > 0
        assert 0 < float(row["RMSE here"]) < 10
        assert 0 < float(row["RMSE of downsampling"]) < 10


def test_any_experiment_on_spectra_runs_at_another_rate(
    data: Path, tmp_path: Path, few_scores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_size, "LADDER", {32: 1.61})
    monkeypatch.setattr(latent_size, "BLOCK_LATENTS", (64,))
    at_22k = dataclasses.replace(TINY, rate_hz=22_050)
    folder = run_experiment(load("latent-size"), data, tmp_path, at_22k, seed=1)
    assert sorted(path.name for path in (folder / "clips").iterdir()) == ["22050"]
    config = json.loads((folder / "runs" / "32-a-frame" / "research.json").read_text())["config"]
    assert config["representation"]["sample_rate_hz"] == 22_050
    assert config["latents"] == 32
    tables = {table["title"]: table["rows"] for table in json.loads((folder / "metrics.json").read_text())["tables"]}
    assert list(tables["The ladder: RMSE on spectra"]) == ["32 x 173"]
    assert {each.name for each in select(["all"]) if each.at_any_rate} == {
        "architecture",
        "latent-size",
        "loss",
        "representation",
    }
    with pytest.raises(StreamcodecError, match="near-lossless is run at one sample rate; leave rate_hz out"):
        run_experiment(load("near-lossless"), data, tmp_path, at_22k, seed=1)


def test_every_way_back_to_sound_is_a_row(
    data: Path, tmp_path: Path, few_scores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(representation.KINDS) == set(get_args(Kind)) - {"waveform"}
    monkeypatch.setattr(representation, "KINDS", ("log-mel", "polar"))
    monkeypatch.setattr(representation, "shipped_tiers", list)
    (rows,) = tables_of("representation", data, tmp_path)
    assert set(rows) == {"log-mel, Griffin-Lim", "log-mel, original phase", "polar", "downsampling"}
    assert "not counted" in str(rows["log-mel, original phase"]["beats it"])
    assert {rows["polar"]["beats it"], rows["log-mel, Griffin-Lim"]["beats it"]} <= {"yes", "no"}


def test_one_row_is_trained_against_a_discriminator(
    data: Path, tmp_path: Path, few_scores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "LOSSES", {"l1": LOSSES["l1"]})
    monkeypatch.setattr(loss, "shipped_tiers", list)
    (rows,) = tables_of("loss", data, tmp_path)
    assert {"l1, Griffin-Lim", "l1+adversarial, Griffin-Lim"} < set(rows)
    logs = [(tmp_path / "loss" / "runs" / name / "log.jsonl").read_text() for name in ("l1", "l1+adversarial")]
    assert ["discriminator_loss" in log for log in logs] == [False, True]


def test_near_lossless_puts_both_papers_and_the_exact_tiers_on_one_table(
    data: Path, tmp_path: Path, few_scores: None
) -> None:
    pytest.importorskip("av")
    folder = run_experiment(near_lossless.EXPERIMENT, data, tmp_path, TINY, seed=1)
    rows = json.loads((folder / "metrics.json").read_text())["tables"][0]["rows"]
    assert rows["FLAC"]["MSE"] == rows["ALAC"]["MSE"] == rows["streamcodec lossless"]["MSE"] == 0.0
    assert rows["dense-vae per file, decoder sent"]["real kbps"] > 2 * rows["dense-vae per file"]["real kbps"]
    assert rows["autoencoder-60-linear-path"]["SNR dB"] > rows["autoencoder-60"]["SNR dB"]
    assert rows["autoencoder-35"]["nominal ratio"] == pytest.approx(14.6, abs=0.1)
    assert (folder / "plane.png").is_file()


def test_a_broken_off_run_goes_on_and_other_settings_are_refused(data: Path, tmp_path: Path) -> None:
    calls: list[str] = []

    def run(context: Context) -> Results:
        def work() -> list[float]:
            calls.append("work")
            return [0.1 + 0.2, float(context.seed)]

        kept = context.once("work", work)
        if len(calls) == 1 and not (context.folder / "second").exists():
            (context.folder / "second").mkdir()
            raise RuntimeError("the power went")
        return Results([Table("t", ("name", "value", "clock"), (("a", kept[0], 1.0),), timed=frozenset({"clock"}))])

    experiment = Experiment("interrupted", "for this test", run)
    with pytest.raises(RuntimeError):
        run_experiment(experiment, data, tmp_path, TINY, seed=1)
    folder = run_experiment(experiment, data, tmp_path, TINY, seed=1)
    assert calls == ["work"]
    assert json.loads((folder / "metrics.json").read_text())["tables"][0]["rows"] == {"a": {"value": 0.1 + 0.2}}
    with pytest.raises(StreamcodecError, match="other settings"):
        run_experiment(experiment, data, tmp_path, TINY, seed=2)


def test_the_page_escapes_what_it_is_told(data: Path, tmp_path: Path) -> None:
    def run(context: Context) -> Results:
        sound = context.material.dev[0].path
        return Results(
            [Table("<b>", ("name", "v"), (("<script>", math.nan),))], [], [Sound(sound, "a & b", "x")], ["<i>"]
        )

    folder = run_experiment(Experiment("page", "<h1>", run), data, tmp_path, TINY, seed=1)
    page = (folder / "report.html").read_text()
    assert "<script>" not in page
    assert "a &amp; b" in page
    assert "<td>-" in page
    assert Picture(tmp_path, "caption").caption == "caption"


@pytest.mark.parametrize("kbps", [2.0, 24.0])
def test_downsampling_keeps_to_its_rate_and_gains_by_more(kbps: float) -> None:
    rng = np.random.default_rng(0)
    sound = np.asarray(np.cumsum(rng.standard_normal(16_000)) * 0.01, np.float32)
    sound -= sound.mean()
    baseline = Downsampling([sound], 16_000)
    coded: Coded = baseline(sound, 16_000, kbps)
    assert coded.samples.shape == sound.shape
    assert 0.5 * kbps < coded.payload_bytes * 8e-3 <= kbps
    richer = baseline(sound, 16_000, 2 * kbps)
    poor, rich = (log_spectral_distance(sound, each.samples) for each in (coded, richer))
    assert rich < poor


def test_clips_are_the_loudest_stretch_at_full_scale(data: Path, tmp_path: Path) -> None:
    context = Context(tmp_path, Material.from_folder(data, 2, 1), TINY, seed=1)
    for clip in development_clips(context, 22_050):
        samples, rate_hz = clip.read()
        assert rate_hz == 22_050
        assert samples.size == round(0.6 * 22_050)
        assert np.abs(samples).max() == pytest.approx(1.0, abs=0.01)


@pytest.fixture
def alike(tmp_path: Path) -> Path:
    """Four tones whose files have one stem, in two folders and of two kinds."""
    folder = tmp_path / "alike"
    for k, file in enumerate(("music/a/x.wav", "music/a/x.flac", "music/b/x.wav", "environment/x.wav")):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / file, 0.5 * np.sin(0.02 * (k + 1) * np.arange(44_100)), 44_100)
    return folder


def test_files_of_one_name_keep_clips_of_their_own(alike: Path, tmp_path: Path) -> None:
    material = Material.single_files(alike, 9)
    assert file_names(material.dev) == ["x", "music-a-x.wav", "music-b-x.wav", "environment-x.wav"]
    clips = development_clips(Context(tmp_path, material, TINY, seed=1), 22_050)
    assert len({clip.path.stem for clip in clips}) == 4
    for k, clip in zip((1, 0, 2, 3), clips, strict=True):
        samples, rate_hz = clip.read()
        peak_hz = np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / samples.size
        assert peak_hz == pytest.approx(0.02 * (k + 1) * 44_100 / (2 * np.pi), abs=2)


def test_files_of_one_name_are_rows_of_their_own(
    alike: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_latents, "COUNTS", (35, 1_026))
    folder = run_experiment(load("linear-latents"), alike, tmp_path, dataclasses.replace(TINY, dev_files=9), seed=1)
    reached, needed = json.loads((folder / "metrics.json").read_text())["tables"]
    assert list(needed["rows"]) == ["x", "music-a-x.wav", "music-b-x.wav", "environment-x.wav"]
    assert len({row["MSE"] for name, row in reached["rows"].items() if name.endswith(", 35")}) == 4
    assert json.loads((folder / "config.json").read_text())["dev"] == [
        "x.flac",
        "music/a/x.wav",
        "music/b/x.wav",
        "environment/x.wav",
    ]


def test_a_network_for_each_file_has_a_run_of_its_own_whatever_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = []
    for k, name in enumerate(("Ночь", "День", "a b", "A-b")):
        clips.append(Clip(tmp_path / f"{name}.wav", "music"))
        soundfile.write(clips[-1].path, np.full(80, 0.1 * k), 16_000)
    keys: list[str] = []

    def trained(context: Context, key: str, name: str, config: object, *rest: object) -> ResearchCodec:
        keys.append(key)
        (context.folder / "runs" / key).mkdir(parents=True)
        note_run(context.folder / "runs" / key, 1, 1.0, 1.0, None)
        return ResearchCodec(build_model(name, config), [])

    monkeypatch.setattr(near_lossless, "trained", trained)
    near_lossless._per_file(Context(tmp_path, Material((), ()), TINY, seed=1), clips)
    assert keys == ["per-file--", "per-file---2", "per-file-a-b", "per-file-a-b-2"]


def test_material_is_split_where_the_folder_is_not(tmp_path: Path) -> None:
    for k in range(6):
        soundfile.write(tmp_path / f"{k}.wav", np.zeros(800), 16_000)
    found = Material.from_folder(tmp_path, 10, 10)
    assert len(found.train) == 4
    assert not {clip.path for clip in found.train} & {clip.path for clip in found.dev}


@pytest.mark.parametrize("told_by", ["folders", "manifest"])
def test_a_plain_folder_keeps_speakers_on_one_side(tmp_path: Path, told_by: str) -> None:
    speaker_of = {f"{kind}{k}": f"{kind}-{k % 3}" for kind in ("speech", "music") for k in range(12)}
    rows = ["file,source,speaker"]
    for name, speaker in speaker_of.items():
        kind = name.rstrip("0123456789")
        file = f"{kind}/{speaker}/{name}.wav" if told_by == "folders" else f"{kind}/{name}.wav"
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / file, np.zeros(80), 16_000)
        rows.append(f"{file},studio,{speaker}")
    if told_by == "manifest":
        (tmp_path / "manifest.csv").write_text("\n".join(rows))
    found = Material.from_folder(tmp_path, 100, 100)
    sides = [{speaker_of[clip.path.stem] for clip in clips} for clips in (found.train, found.dev)]
    assert not sides[0] & sides[1]
    assert len(found.train) + len(found.dev) == 24
    assert {clip.kind for clip in found.dev} == {clip.kind for clip in found.train} == {"speech", "music"}


def write_manifest(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    """Sounds and what a manifest says of each: file, speaker, split."""
    for file, _, _ in rows:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / file, np.zeros(80), 16_000)
    lines = [f"{file},studio,{speaker},{split}" for file, speaker, split in rows]
    (folder / "manifest.csv").write_text("\n".join(["file,source,speaker,split", *lines]))


def test_what_a_manifest_holds_back_is_not_trained_on(tmp_path: Path) -> None:
    rows = [(f"{kind}/{k}.wav", f"{kind}{k}", "train") for kind in ("speech", "music") for k in range(4)]
    rows += [("speech/judge.wav", "otto", "test"), ("environment/judge.wav", "rain", "test")]
    write_manifest(tmp_path, [*rows, ("speech/left-out.wav", "eva", "validation")])
    found = Material.from_folder(tmp_path, 100, 100)
    assert len(found.train) == 8
    assert sorted(clip.path.relative_to(tmp_path).as_posix() for clip in found.dev) == [
        "environment/judge.wav",
        "speech/judge.wav",
    ]


def test_a_manifest_that_holds_back_a_speaker_it_trains_on_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, [("a.wav", "anna", "train"), ("b.wav", "anna", "test"), ("c.wav", "otto", "train")])
    with pytest.raises(MaterialError, match="'studio/anna' is both in train"):
        Material.from_folder(tmp_path, 100, 100)


@pytest.mark.parametrize("make", ["nothing", "empty", "one", "text"])
def test_wrong_data_is_one_sentence(tmp_path: Path, make: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sound"
    if make != "nothing":
        folder.mkdir()
    if make == "one":
        soundfile.write(folder / "a.wav", np.zeros(800), 16_000)
    if make == "text":
        (folder / "a.txt").write_text("no sound")
    with pytest.raises(MaterialError) as caught:
        Material.from_folder(folder, 3, 3)
    assert "\n" not in str(caught.value)
    code = main(["experiment", "loss", "--data", str(folder), "--output", str(tmp_path / "out")])
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_what_training_took_is_told_of_every_network_and_in_all(tmp_path: Path) -> None:
    assert training_table(tmp_path) is None
    for name, minutes, settled in (("one", [1.5, 2.25], True), ("two", [40.0], None)):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        rows = [{"step": 1, "validation": 0.5}, *({"step": 2, "minutes": each} for each in minutes)]
        (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        note_run(run, 200, 3.25, minutes[-1], settled)
    assert training_minutes(tmp_path) == 42.2
    table = training_table(tmp_path)
    assert table is not None
    assert table.rows == (("one", 200, 3.2, "yes", 2.25), ("two", 200, 3.2, None, 40.0))
    assert table.timed == {"minutes"}


@pytest.mark.parametrize("option", ["--crop-s", "--epochs", "--files", "--rate-hz", "--seconds", "--steps"])
def test_a_bound_below_the_least_is_one_sentence(option: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "loss", "--data", str(data), option, "0"]) == 2
    assert "at least" in capsys.readouterr().err


def test_a_sample_rate_above_the_highest_is_one_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "loss", "--data", str(data), "--rate-hz", "96000"]) == 2
    assert "at most 48000" in capsys.readouterr().err


def test_names_lead_to_experiments_and_wrong_ones_list_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert [experiment.name for experiment in select(["all"])] == list(NAMES)
    assert main(["experiment", "astrology", "--data", "."]) == 2
    assert "latent-size" in capsys.readouterr().err
