"""A decoder that shapes harmonics, its losses and judges, and runs that go on from kept state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from streamcodec.models.codec import NeuralCodec, context_available
from streamcodec.models.harmonic import HarmonicCodec, draw
from streamcodec.models.refiner import RefinedCodec
from streamcodec.models.shipped import load_model
from streamcodec.models.voice_judges import VoiceJudges, VoiceJudgesConfig
from streamcodec.training import mean_state
from streamcodec.training.adversarial_task import AdversarialConfig, AdversarialTask
from streamcodec.training.codec_run import CodecRunOptions, make_task
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.from_shipped import codec_of
from streamcodec.training.harmonicity import HarmonicityDistance
from streamcodec.training.initialise import grow_from
from streamcodec.training.kept_state import keep_state, read_kept_state
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.refined_task import RefinedTask
from streamcodec.training.task import TrainingError
from tests.helpers.tiny_model import SETTINGS, TINY

JUDGES = VoiceJudgesConfig(bands=((512, 0.0, 4_000.0),), channels=4, layers=2, periods=(3,), period_channels=(4, 4))
CROP = 2_048


def adversarial(cache: Path, exported: Path) -> AdversarialTask[RefinedTask]:
    task = RefinedTask(TINY, SETTINGS, cache, start_from=exported, decoder_only=True)
    return AdversarialTask(
        task, AdversarialConfig(discriminator=JUDGES, head_start_steps=0, crop_samples=CROP, features_share=1.5)
    )


@pytest.fixture(scope="module")
def run(cache: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps."""
    folder = tmp_path_factory.mktemp("refined") / "run"
    loop = TrainingLoop(adversarial(cache, exported), folder)
    for _ in range(3):
        loop.train_step(0.5)
    loop.save()
    return folder


def test_a_harmonic_decoder_starts_with_what_the_plain_one_predicts() -> None:
    torch.manual_seed(0)
    plain, harmonic = NeuralCodec(TINY), HarmonicCodec(TINY)
    harmonic.load_state_dict(plain.state_dict(), strict=False)
    latents, quality_index = torch.randn(1, 6, TINY.latents), torch.full((1, 6), 2)
    one, _ = plain.decoder(latents, quality_index, plain.decoder.initial_state(1))
    other, _ = harmonic.decoder(latents, quality_index, harmonic.decoder.initial_state(1))
    torch.testing.assert_close(other[..., : 3 * TINY.bins], one)
    mix = other[..., 3 * TINY.bins :]
    assert (mix > 0.0).all()
    assert (mix < 1.0).all()


def test_what_is_drawn_keeps_its_power_however_it_is_mixed() -> None:
    torch.manual_seed(0)
    gain = torch.full((1, 400, TINY.bins), 0.7)
    excitation = torch.nn.functional.normalize(torch.randn(1, 400, 2, TINY.bins), dim=2).reshape(1, 400, -1)
    for mix in (0.0, 0.5, 0.9, 1.0):
        decoded = torch.cat([torch.zeros(1, 400, 2 * TINY.bins), gain, torch.full_like(gain, mix)], -1)
        drawn = draw(decoded, excitation, torch.ones(1, 400, 1))
        power = (drawn.reshape(1, 400, 2, TINY.bins).square().sum(2) ** 2).mean()
        assert float(power) == pytest.approx(0.7**4, rel=0.02)
    still = draw(decoded, excitation, torch.zeros(1, 400, 1))
    assert not torch.allclose(still, draw(decoded, excitation, torch.zeros(1, 400, 1)))


def test_a_voice_is_decoded_with_pulses_and_gradients_reach_the_mix() -> None:
    torch.manual_seed(0)
    codec = HarmonicCodec(TINY)
    seconds = torch.arange(24_000) / 24_000
    sound = 0.1 * sum(torch.cos(2 * torch.pi * 150 * k * seconds) / k for k in range(1, 8))
    _, voicing, lags = codec.follower(codec.spectrum, codec.spectrum.analyse(sound[None]))
    assert float(voicing[0, 10:].mean()) > 0.95
    assert float(lags[0, 50]) == pytest.approx(160.0, rel=0.02)
    quality_index, lost = torch.full((1, 50), 3), torch.zeros(1, 50, dtype=torch.bool)
    out = codec(sound[None], quality_index, context_available(1, 50, "independent"), lost)
    assert out.samples.shape == (1, 24_000)
    out.samples.square().sum().backward()
    assert torch.isfinite(codec.decoder.noise.weight.grad).all()  # type: ignore[arg-type]


def test_harmonicity_is_nothing_for_a_copy_and_much_for_noise() -> None:
    distance = HarmonicityDistance(24_000)
    seconds = torch.arange(24_000) / 24_000
    pulses = 0.1 * sum(torch.cos(2 * torch.pi * 150 * k * seconds) for k in range(1, 50))[None]
    lags, voicing, band = torch.full((1, 100), 160.0), torch.ones(1, 100), torch.tensor([12_000.0])
    noise = [0.5 * torch.randn(1, 24_000, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    assert float(distance((pulses, pulses), pulses, lags, voicing, band)) == pytest.approx(0.0, abs=1e-6)
    assert float(distance((noise[0], noise[1]), pulses, lags, voicing, band)) > 0.5
    assert float(distance((noise[0], noise[1]), pulses, lags, 0 * voicing, band)) == 0.0
    still = torch.zeros(1, 24_000, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance((still, still), 1e-5 * pulses, lags, voicing, band), still)
    assert torch.isfinite(gradient).all()


def test_voice_judges_are_blind_above_the_trusted_band() -> None:
    torch.manual_seed(0)
    judges = VoiceJudges(VoiceJudgesConfig(periods=()), 24_000)
    seconds = torch.arange(8_192) / 24_000
    sound = 0.1 * torch.sin(2 * torch.pi * 400 * seconds)[None]
    high = sound + 0.1 * torch.sin(2 * torch.pi * 5_000 * seconds)[None]
    narrow, wide = torch.tensor([4_000.0]), torch.tensor([12_000.0])
    for one, other in zip(judges(sound, narrow), judges(high, narrow), strict=True):
        torch.testing.assert_close(one.score, other.score, atol=0.01, rtol=0)
    assert any(
        not torch.allclose(one.score, other.score, atol=0.05)
        for one, other in zip(judges(sound, wide), judges(high, wide), strict=True)
    )


def test_kept_state_is_small_and_brings_everything_back(
    cache: Path, exported: Path, run: Path, tmp_path: Path
) -> None:
    size = keep_state(run / "checkpoint.pt", str(exported), tmp_path / "state")
    assert size < (run / "checkpoint.pt").stat().st_size / 4
    kept = read_kept_state(tmp_path / "state")
    assert kept.decoder == "refined"
    assert kept.judges == JUDGES
    assert kept.facts["steps"] == 3
    # The encoder stood still, so the base has it.
    assert not [name for name in kept.weights if name.startswith(("encoder", "entropy", "quantizer"))]
    trained = torch.load(run / "checkpoint.pt", weights_only=True)["players"]
    options = CodecRunOptions(
        data=[],
        folder=tmp_path / "on",
        model=TINY,
        adversarial_from=0.0,
        decoder_only=True,
        continue_from=tmp_path / "state",
    )
    task = make_task(options, cache, "cpu")
    assert isinstance(task, AdversarialTask)
    loop = TrainingLoop(task, tmp_path / "on")
    codec = task.judged.codec.state_dict()
    for name, values in trained["codec"]["average"].items():
        torch.testing.assert_close(codec[name], values, atol=2e-3, rtol=2e-3, msg=name)
    for name, values in task.discriminator.state_dict().items():
        torch.testing.assert_close(values, trained["discriminator"]["weights"][name], atol=2e-3, rtol=2e-3)
    assert task.judged.gains is not None
    assert (task.config.features_share, task.config.crop_samples) == (1.5, CROP)
    assert task.judged.config.repulsion == SETTINGS.repulsion
    figures = loop.train_step(0.1)
    assert "adversarial" in figures
    assert np.isfinite(float(figures["loss"]))  # type: ignore[arg-type]


def test_kept_state_of_a_plain_run_without_judges(cache: Path, exported: Path, tmp_path: Path) -> None:
    loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache, start_from=exported, decoder_only=True), tmp_path / "run")
    loop.train_step(0.1)
    loop.save()
    keep_state(tmp_path / "run" / "checkpoint.pt", str(exported), tmp_path / "state")
    kept = read_kept_state(tmp_path / "state")
    assert kept.decoder == "plain"
    assert kept.judges is None
    assert kept.weights
    with pytest.raises(TrainingError, match="other networks"):
        dataclasses.replace(kept, weights={"decoder.nothing": torch.zeros(1)}).fill(NeuralCodec(TINY))


def test_the_mean_of_a_state_and_a_model_lies_between_them(
    exported: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_state(run / "checkpoint.pt", str(exported), tmp_path / "state")
    sources = [f"{tmp_path / 'state'}=0.25", f"{exported}=0.75"]
    monkeypatch.setattr("sys.argv", ["mean_state", str(tmp_path / "mean"), *sources])
    assert mean_state.main() == 0
    start, kept, mean = RefinedCodec(TINY), RefinedCodec(TINY), RefinedCodec(TINY)
    grow_from(start, codec_of(load_model(str(exported))).state_dict())
    read_kept_state(tmp_path / "state").fill(kept)
    found = read_kept_state(tmp_path / "mean")
    found.fill(mean)
    name = "decoder.up.weight"
    one, other, between = (codec.state_dict()[name] for codec in (start, kept, mean))
    assert not torch.equal(one, other)
    torch.testing.assert_close(between, 0.75 * one + 0.25 * other, atol=1e-3, rtol=1e-3)
    assert found.judges == JUDGES
    assert [source["share"] for source in found.stages[-1]["mean_of"]] == [0.25, 0.75]
    monkeypatch.setattr("sys.argv", ["mean_state", str(tmp_path / "mean"), f"{exported}=1"])
    assert mean_state.main() == 2
    assert "wants a kept state among its sources" in capsys.readouterr().err


def test_what_is_no_kept_state_is_one_sentence(exported: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no kept state"):
        read_kept_state(tmp_path)
    with pytest.raises(TrainingError, match="another model"):
        keep_state(run / "checkpoint.pt", "speech-24k", tmp_path / "state")
    keep_state(run / "checkpoint.pt", str(exported), tmp_path / "state")
    text = (tmp_path / "state" / "state.json").read_text()
    (tmp_path / "state" / "state.json").write_text(text.replace('"format": 3', '"format": 9'))
    with pytest.raises(TrainingError, match="another version"):
        read_kept_state(tmp_path / "state")
    (tmp_path / "state" / "state.json").write_text(text)
    (tmp_path / "state" / "codec.safetensors").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="holds no kept state"):
        read_kept_state(tmp_path / "state")
