"""Networks trained on the one file that they code: epochs, resumed to the bit, best weights, real bytes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamcodec.errors import StreamcodecError
from streamcodec.research.experiments import deep_autoencoder, linear_latents, per_file_vae
from streamcodec.research.experiments.deep_autoencoder import PUBLISHED_MSE, RATE_HZ
from streamcodec.research.experiments.experiment import SCALES, Context
from streamcodec.research.experiments.file_figures import FileCodec
from streamcodec.research.experiments.file_run import (
    LAST,
    Trained,
    epoch_curve,
    epoch_errors,
    linear_bound,
    train_on_file,
    without_rounding,
)
from streamcodec.research.experiments.material import Material
from streamcodec.research.experiments.registry import load
from streamcodec.research.experiments.runner import run_experiment
from streamcodec.research.models.dense_vae import DenseVae, DenseVaeConfig
from streamcodec.research.models.frame_autoencoder import FrameAutoencoder, FrameAutoencoderConfig
from streamcodec.research.models.later_bottleneck import LaterBottleneck, set_steps
from streamcodec.research.models.unit_model import UnitModel
from streamcodec.research.training.file_task import FileTraining, file_task
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.task import Figures

SMALL = FrameAutoencoderConfig(hidden=(16,), latents=4, quantised_in_training=False)


def sound(seconds: float = 0.3) -> np.ndarray:
    """Two channels of a chirp and a little noise."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    chirps = [np.sin(2 * np.pi * (f + 300 * time_s) * time_s) for f in (200, 330)]
    return (0.3 * np.stack(chirps) + 0.01 * rng.standard_normal((2, time_s.size))).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data" / "song.wav", sound().T, RATE_HZ)
    return tmp_path / "data"


@pytest.mark.parametrize("model", [FrameAutoencoder(SMALL), DenseVae(DenseVaeConfig(latents=4, ratio=8, hidden=8))])
def test_units_put_together_are_the_sound(model: UnitModel) -> None:
    samples = torch.from_numpy(sound())
    model.calibrate(samples)
    units = model.units(samples)
    assert units.shape[-1] == model.unit_columns
    features = model.joined(units, 2)[..., : model.representation.columns(samples.shape[1])]
    np.testing.assert_allclose(model.invert(features, samples.shape[1]), samples, atol=1e-4)


def test_an_epoch_takes_every_unit_once_and_the_next_in_another_order() -> None:
    model = FrameAutoencoder(SMALL)
    seen: list[torch.Tensor] = []
    units = torch.arange(70.0)[:, None, None, None].expand(70, 2, 513, 1).contiguous()
    settings = FileTraining(batch_units=32)
    task = file_task(model, units, settings)
    model.down.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 0, 0].clone()))
    for step in range(2 * settings.steps(70)):
        next(iter(task.optimiser_steps(step, 0.0)))
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(map(float, range(70)))
    assert first.tolist() != second.tolist()


def test_steps_cost_what_they_may_and_ignore_dead_latents() -> None:
    model = FrameAutoencoder(dataclasses.replace(SMALL, linear_path=True))
    samples = torch.from_numpy(sound())
    model.calibrate(samples)
    assert model.path is not None
    with torch.no_grad():
        model.path.up.weight[:, 3] = 0.0
    units = model.units(samples)
    set_steps(model, units, lost_db=0.5)
    (bottleneck,) = model.bottlenecks
    assert isinstance(bottleneck, LaterBottleneck)
    latents = model.encode(units)[0]

    def error(coarser: float) -> float:
        bottleneck.step.mul_(coarser)
        rounded = bottleneck.values(bottleneck.indices(latents))
        return float((model.decode([rounded], 1) - units).square().mean().detach())

    free = float((model.unquantised(units) - units).square().mean())
    assert free < error(1.0) <= free * 10.0**0.0501
    assert error(2.0) > free * 10.0**0.05
    assert bottleneck.indices(latents)[:, 3].abs().max() < bottleneck.indices(latents)[:, 0].abs().max()


def context_in(folder: Path) -> Context:
    return Context(folder, Material((), ()), SCALES["tiny"], seed=3)


def test_a_broken_off_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    channels, settings = sound(), FileTraining(seed=3, patience=2)

    def run(place: str, stops: tuple[int, ...], most: int) -> list[np.ndarray]:
        context = context_in(tmp_path / place)
        found = train_on_file(context, "key", "frame-autoencoder", SMALL, channels, settings, stops, most)
        return [without_rounding(each.model, channels) for each in found]

    class BrokenOffError(Exception):
        pass

    whole = run("whole", (2, 3), 5)
    kept = TrainingLoop.train_step
    calls = 0

    def stop(loop: TrainingLoop, progress: float) -> Figures:
        nonlocal calls
        calls += 1
        if calls > 6:
            raise BrokenOffError
        return kept(loop, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "train_step", stop)
        with pytest.raises(BrokenOffError):
            run("broken", (2, 3), 5)
    for one, other in zip(whole, run("broken", (2, 3), 5), strict=True):
        np.testing.assert_array_equal(one, other)
    epochs, losses = epoch_curve(context_in(tmp_path / "broken"), "key")
    assert epochs == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert losses[-1] < losses[0]


def test_the_converged_network_is_the_best_one_and_stops_when_nothing_is_gained(tmp_path: Path) -> None:
    channels, context = sound(), context_in(tmp_path)
    settings = FileTraining(seed=3, patience=1, learning_rate=0.3)
    stages = train_on_file(context, "key", "frame-autoencoder", SMALL, channels, settings, (1,), 60)
    _, losses = epoch_curve(context, "key")
    assert stages[-1].name == LAST
    assert stages[-1].epochs == len(losses) < 60
    assert stages[-1].settled
    assert stages[0].settled is None
    model = stages[-1].model
    units = model.units(torch.from_numpy(channels))
    best = float((model.unquantised(units) - units).square().mean())
    assert best == pytest.approx(min(losses), rel=1e-4)


def test_a_run_that_had_not_settled_goes_on_when_it_may_take_more_epochs(tmp_path: Path) -> None:
    settings, channels = FileTraining(seed=3), sound()

    def run(place: str, most: int | None) -> list[Trained]:
        context = context_in(tmp_path / place)
        return train_on_file(context, "key", "frame-autoencoder", SMALL, channels, settings, (1,), most)

    assert [each.name for each in run("bit by bit", None)] == ["1 epochs"]
    assert [each.epochs for each in run("bit by bit", 2)] == [1, 2]
    pieces, whole = run("bit by bit", 4)[-1], run("at once", 4)[-1]
    assert (pieces.epochs, pieces.settled) == (whole.epochs, whole.settled) == (4, False)
    np.testing.assert_array_equal(without_rounding(pieces.model, channels), without_rounding(whole.model, channels))
    assert len(epoch_errors(context_in(tmp_path / "bit by bit"), "key")[1]) == 4


def test_no_network_of_linear_layers_beats_the_linear_bound(tmp_path: Path) -> None:
    channels = sound()
    model = DenseVae(DenseVaeConfig(latents=3, ratio=4, hidden=8))
    model.calibrate(torch.from_numpy(channels))
    bound = float(np.mean((linear_bound(model, channels) - channels) ** 2))
    assert 0.0 < bound < float(np.mean(channels**2))
    rng = np.random.default_rng(1)
    blocks = model.units(torch.from_numpy(channels))[:, 0, 0].numpy()
    basis, _ = np.linalg.qr(rng.standard_normal((blocks.shape[1], 3)))
    projected = blocks @ basis @ basis.T
    spread = float(model.get_buffer("feature_spread"))
    assert float(np.mean((projected - blocks) ** 2)) * spread**2 > bound


def test_a_sent_decoder_counts_its_weights_and_tables() -> None:
    model = DenseVae(DenseVaeConfig(latents=3, ratio=4, hidden=8))
    channels = sound()
    model.calibrate(torch.from_numpy(channels))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    codec = FileCodec(model, channels)
    decoded, size = codec.code(channels)
    assert decoded.shape == channels.shape
    assert size > 0
    weights = sum(p.numel() for p in model.decoder.parameters())
    assert 2 * weights < codec.decoder_bytes() < 2 * weights + 5_000
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def few(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    for name, value in (("EPOCHS", (1,)), ("MOST_EPOCHS", 2), ("waveform_contenders", lambda rate_hz: [])):
        monkeypatch.setattr(module, name, value, raising=False)


def test_both_experiments_run_on_a_single_file_and_repeat_their_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (deep_autoencoder, per_file_vae):
        few(monkeypatch, module)
    monkeypatch.setattr(deep_autoencoder, "LATENTS", (35,))
    monkeypatch.setattr(per_file_vae, "SHAPES", per_file_vae.SHAPES[:1])
    for name in ("deep-autoencoder", "per-file-vae"):
        one, other = (run_experiment(load(name), folder, tmp_path / place, SCALES["tiny"], 1) for place in "ab")
        assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
        tables = json.loads((one / "metrics.json").read_text())["tables"]
        assert not any("minutes" in table["columns"] or "s per s of sound" in table["columns"] for table in tables)
        assert (one / "convergence.png").stat().st_size > 1_000
    found = json.loads((tmp_path / "a" / "deep-autoencoder" / "metrics.json").read_text())
    files, counted, real = found["tables"]
    assert files["rows"]["song"]["channels"] == 2
    called = counted["rows"]["song, 35 latents, 1 epochs"]
    assert (called["called"], called["samples a latent"], called["epochs"]) == (29.26, 14.63, 1)
    coded = real["rows"]["song, 35 latents, in the end"]
    assert coded["real ratio"] > coded["ratio with decoder"] > 0


def test_more_latents_bring_linear_networks_to_the_published_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_latents, "COUNTS", (35, 200, 1_026))
    found = run_experiment(load("linear-latents"), folder, tmp_path / "out", SCALES["tiny"], 1)
    reached, needed = json.loads((found / "metrics.json").read_text())["tables"]
    errors = [row["MSE"] for row in reached["rows"].values()]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > PUBLISHED_MSE > errors[-1]
    channels = sound()
    model = FrameAutoencoder(FrameAutoencoderConfig(latents=35))
    model.calibrate(torch.from_numpy(channels))
    bound = float(np.mean((linear_bound(model, channels) - channels) ** 2))
    assert reached["rows"]["song, 35"]["MSE"] == pytest.approx(bound, rel=1e-2)
    enough = [int(name.split(", ")[1]) for name, row in reached["rows"].items() if row["MSE"] <= PUBLISHED_MSE]
    assert needed["rows"]["song"]["latents at most"] == min(enough)


def test_a_folder_without_sound_is_told(tmp_path: Path) -> None:
    with pytest.raises(StreamcodecError, match=str(tmp_path)):
        run_experiment(load("deep-autoencoder"), tmp_path, tmp_path / "out", SCALES["tiny"], 1)
    soundfile.write(tmp_path / "silence.wav", np.zeros((4_410, 2)), RATE_HZ)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with pytest.raises(StreamcodecError, match="silent"):
        run_experiment(load("deep-autoencoder"), tmp_path, tmp_path / "out", SCALES["tiny"], 1)
