"""A release: every number of a model is written by one command, and written the same again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder, cli
from streamcodec.models.shipped import MODEL_FILES, load_model
from streamcodec.training import graph_export
from streamcodec.training.card import card_of
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.kept_state import keep_state
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.recipe import read_card, read_recipe
from streamcodec.training.release import main, release
from streamcodec.training.task import TrainingError
from tests.helpers.tiny_model import SETTINGS, TINY

RECIPE = """
checkpoints = ["first/checkpoint.pt", "second/checkpoint.pt"]
rates = "speech"
int8 = true

[post_filter]
low_noise_gains = [[0.0, 0.8], [1.0, 0.9]]
pitch_strengths = [[0.0, 2.0], [1.0, 0.5]]
band_gains = "speech"

[envelope]
data = ["speech"]
segments = 2
steps = 5
hidden = 4
frame_hidden = 3

[temporal]
data = "speech"
clips = 1
steps = 5

[measure]
speech = "speech"
kbps = [3]
metrics = ["stoi", "mel16"]

[card]
what = "a test"
licence = "MIT"
data = [["speech", "nowhere", "CC0", 0.1]]
limits = "It knows nothing."
"""


@pytest.fixture(scope="module")
def workplace(cache: Path, speech: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of a tiny run, a little speech, and a recipe."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "speech").mkdir()
    soundfile.write(folder / "speech" / "a.wav", np.tile(speech, 2), 24_000)
    for name, steps in (("first", 2), ("second", 3)):
        loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache), folder / name)
        for _ in range(steps):
            loop.train_step(0.1)
        loop.save()
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def released(workplace: Path) -> Path:
    release(read_recipe(workplace / "recipe.toml"), workplace / "once" / "tiny")
    return workplace / "once" / "tiny"


def test_the_same_recipe_gives_the_same_bytes_by_the_command(
    workplace: Path, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph_export._templates.cache_clear()
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - whoever draws from the global state must not matter
    monkeypatch.setattr("sys.argv", ["release", str(workplace / "recipe.toml"), str(workplace / "again" / "tiny")])
    assert main() == 0
    names = sorted(path.name for path in released.iterdir())
    assert names == sorted([*MODEL_FILES, "model.json", "README.md"])
    for name in names:
        assert (workplace / "again" / "tiny" / name).read_bytes() == (released / name).read_bytes(), name


def test_what_was_measured_stands_in_the_model_and_on_its_card(released: Path) -> None:
    model = load_model(str(released))
    facts = model.facts
    assert [stage["steps"] for stage in facts["training"]] == [2]
    assert [stage["steps"] for stage in facts["training"][0]["averaged_with"]] == [3]
    assert model.kbps_by_quality("independent") != (1.0, 2.0, 3.0, 4.0)
    assert {row["mode"] for row in facts["entropy_gap"]} == {"independent", "stream"}
    assert facts["envelope_fit"]["frames"] > 10
    assert facts["envelope_fit"]["mean_square_before"] > 0
    assert facts["temporal_fit"]["blocks"] > 10
    assert {row["packets"] for row in facts["figures"]} > {"independent packets of 20 ms"}
    assert all(set(row["scores"]) == {"stoi", "mel16"} for row in facts["figures"])
    assert "cost" not in facts
    parameters = model.post_filter
    share = parameters.noise_gains[: TINY.qualities, 0] / parameters.band_gains[: TINY.qualities, 0]
    np.testing.assert_allclose(share, np.linspace(0.8, 0.9, TINY.qualities), atol=1e-3)
    np.testing.assert_allclose(parameters.pitch_strengths, np.linspace(2.0, 0.5, TINY.qualities))
    assert np.ptp(parameters.band_gains[: TINY.qualities]) > 0.01
    inside = np.arange(TINY.bins) * TINY.sample_rate_hz / TINY.fft_samples < 10_500.0
    assert (parameters.band_gains[-1, inside] == 1.0).all()
    assert parameters.envelope.bin_hidden_bias.size == 4
    card = (released / "README.md").read_text()
    for said in ("# Model card: tiny", model.fingerprint, "| speech | nowhere | CC0 | 0.1 |", "It knows nothing."):
        assert said in card


def test_export_is_a_release_without_a_recipe(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech, more = str(workplace / "speech"), ("--average-with", str(workplace / "second" / "checkpoint.pt"))
    checkpoint, folder = str(workplace / "first" / "checkpoint.pt"), str(tmp_path / "tiny")
    assert cli.main(["export", checkpoint, folder, "--data", speech, "--band-gains", speech, *more]) == 0
    assert "quality index" in capsys.readouterr().out
    model = load_model(folder)
    assert np.ptp(model.post_filter.band_gains[: TINY.qualities]) > 0.01
    assert [stage["steps"] for stage in model.facts["training"][0]["averaged_with"]] == [3]


def test_a_released_model_codes_sound(released: Path, speech: NDArray[np.float32]) -> None:
    encoder, decoder = (make(24_000, model=str(released)) for make in (StreamEncoder, StreamDecoder))
    for packet in encoder.push(speech[:9_600]):
        assert np.isfinite(decoder.push(packet.to_bytes())).all()
    assert decoder.concealed == 0


def test_training_that_goes_on_keeps_post_filter_and_history(
    cache: Path, workplace: Path, released: Path, tmp_path: Path
) -> None:
    loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache, start_from=released, decoder_only=True), tmp_path / "run")
    loop.train_step(0.1)
    loop.save()
    recipe = read_recipe(workplace / "recipe.toml")
    bare = dataclasses.replace(recipe, checkpoints=(tmp_path / "run" / "checkpoint.pt",), measure=None, envelope=None)
    with pytest.raises(TrainingError, match="leave low_noise_gains out"):
        release(bare, tmp_path / "tiny")
    kept = dataclasses.replace(
        bare, post_filter=dataclasses.replace(recipe.post_filter, band_gains=None, low_noise_gains=None)
    )
    model, before = release(kept, tmp_path / "tiny"), load_model(str(released))
    np.testing.assert_array_equal(model.post_filter.band_gains, before.post_filter.band_gains)
    np.testing.assert_array_equal(model.post_filter.noise_gains, before.post_filter.noise_gains)
    assert [stage["steps"] for stage in model.facts["training"]] == [2, 1]
    assert model.facts["training"][1]["decoder_only"]
    assert model.fingerprint == before.fingerprint

    # Kept in 16 bits, it is released all but the same; and bands that training has moved are brought back.
    keep_state(tmp_path / "run" / "checkpoint.pt", str(released), tmp_path / "state")
    state = dataclasses.replace(kept, checkpoints=(tmp_path / "state",))
    again = release(state, tmp_path / "again" / "tiny")
    assert [stage["steps"] for stage in again.facts["training"]] == [2, 1]
    np.testing.assert_array_equal(again.post_filter.noise_gains, model.post_filter.noise_gains)
    for name, values in again.load_weights().items():
        np.testing.assert_allclose(values, model.load_weights()[name], rtol=2e-3, atol=2e-3, err_msg=name)
    bands = dataclasses.replace(state.post_filter, band_gains=recipe.post_filter.band_gains)
    trimmed = release(dataclasses.replace(state, post_filter=bands), tmp_path / "trimmed" / "tiny").post_filter
    scales = trimmed.band_gains[: TINY.qualities, :8] / model.post_filter.band_gains[: TINY.qualities, :8]
    assert np.abs(scales - 1.0).max() > 0.01
    np.testing.assert_allclose(
        trimmed.noise_gains[: TINY.qualities, :8] / model.post_filter.noise_gains[: TINY.qualities, :8],
        scales,
        rtol=3e-3,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("checkpoints =", "checkpoint ="), "there is no 'checkpoint'"),
        (('rates = "speech"\n', ""), "rates is missing"),
        (('rates = "speech"', 'rates = "nowhere"'), "rates: must be the path of something that is there"),
        (("int8 = true", "int8 = 1"), "int8: must be true or false"),
        (("[0.0, 0.8]", "[0.0, 0.8, 1.0]"), "low_noise_gains: must be a list of pairs"),
        (("segments = 2", "segments = -2"), "envelope: segments: must be a whole number"),
        (("[envelope]\n", "[envelope]\nmore = 1\n"), "envelope: there is no 'more'"),
        (("kbps = [3]", 'kbps = ["3"]'), "measure: kbps: must be a number"),
        (('"CC0", 0.1', '"CC0"'), "card: data: must be rows"),
        (("[card]", "[card"), "no recipe"),
    ],
)
def test_recipes_that_are_wrong_are_refused(workplace: Path, change: tuple[str, str], said: str) -> None:
    path = workplace / "wrong.toml"
    assert change[0] in RECIPE
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(TrainingError) as caught:
        read_recipe(path)
    assert said in str(caught.value)


def test_the_command_says_what_is_wrong(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["release", str(workplace / "missing.toml"), str(workplace / "out")])
    assert main() == 2
    assert "missing.toml is no recipe" in capsys.readouterr().err
    assert not (workplace / "out").exists()


def test_the_shipped_card_is_the_one_that_its_recipe_gives() -> None:
    model = load_model()
    assert (model.folder / "README.md").read_text() == card_of(model, read_card(model.folder / "recipe.toml"))


def test_every_number_of_the_shipped_model_is_one_that_a_release_writes(released: Path) -> None:
    written = json.loads((released / "model.json").read_text()).keys() | {"cost"}
    shipped = json.loads((load_model().folder / "model.json").read_text()).keys()
    assert shipped <= written
