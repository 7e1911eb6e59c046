"""Ablation variants change what they say, and are compared at equal rates."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from bench.training import __main__ as command
from bench.training.__main__ import VariantTask, at_rates
from bench.training.residual_stages import STAGE_BITS, Codebook, FiniteScalars, ResidualCodec, Stage
from bench.training.variants import GruTrunk, variants, with_gru_trunks, without_noise
from streamcodec.models.codec import NeuralCodec, context_available
from tests.helpers.tiny_model import SETTINGS, TINY


def test_rates_are_compared_on_a_logarithmic_scale() -> None:
    qualities = [{"kbps": 2.0, "pesq": 1.0}, {"kbps": 8.0, "pesq": 3.0}]
    (row,) = at_rates(qualities, (1.0, 4.0, 10.0))
    assert row == {"kbps": 4.0, "pesq": pytest.approx(2.0)}


def test_every_variant_codes_as_many_latents_per_second() -> None:
    rates = {variant.model.latents * variant.model.frames_per_second for variant in variants().values()}
    assert rates == {96 * 50.0}


@pytest.mark.parametrize("stage", [Codebook, FiniteScalars])
def test_residual_stages_start_on_what_is_left_and_cost_ten_bits_each(stage: type[Stage]) -> None:
    torch.manual_seed(0)
    codec = ResidualCodec(TINY, stage)
    # Four packets from silence are enough to begin each stage; then each goes on from what the one before has left.
    codec.start_stages(0.1 * torch.randn(512, 4 * 480))
    spread = torch.linspace(0.2, 3.0, TINY.latents)
    known, latents = spread * torch.randn(6_000, TINY.latents), spread * torch.randn(1, 480, TINY.latents)
    errors = []
    with torch.no_grad():
        for part in codec.stages:
            assert isinstance(part, Stage)
            part.start(known)
            known = known - part(known)
        for quality_index in range(TINY.qualities):
            coded = codec.code(latents, torch.full((1, 480), quality_index), torch.zeros(1, 480, 2, dtype=torch.bool))
            assert set(coded.bits_hard.flatten().tolist()) == {
                STAGE_BITS * int(codec.stages_by_quality[quality_index])
            }
            errors.append(float((coded.dequantised - latents).square().mean()))
    assert errors[0] < float(latents.square().mean())
    assert errors[-1] < 0.8 * errors[0]
    assert errors == sorted(errors, reverse=True)


def test_a_codebook_gives_entries_nobody_chooses_to_what_there_is() -> None:
    torch.manual_seed(0)
    book = Codebook(4)
    book.start(torch.randn(2_000, 4))
    elsewhere = torch.randn(2_000, 4) + 30.0
    before = float((book(elsewhere) - elsewhere).square().mean())
    for _ in range(300):
        book(elsewhere)
    assert float((book(elsewhere) - elsewhere).square().mean()) < 0.3 * before
    assert len(set(book.nearest(elsewhere).tolist())) > 500


def test_a_gru_trunk_stepped_equals_the_whole() -> None:
    torch.manual_seed(0)
    trunk = GruTrunk(8, layers=2).eval()
    x = torch.randn(2, 6, 8)
    with torch.no_grad():
        whole, _ = trunk(x, trunk.initial_state(2))
        state, pieces = trunk.initial_state(2), []
        for k in range(6):
            piece, state = trunk(x[:, k : k + 1], state)
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


@pytest.mark.parametrize("noisy", [True, False])
def test_exchanged_networks_run_in_the_codec(noisy: bool) -> None:
    torch.manual_seed(0)
    codec = NeuralCodec(TINY)
    with_gru_trunks(codec)
    if not noisy:
        without_noise(codec)
    nothing_lost = torch.zeros(1, 4, dtype=torch.bool)
    quality_index = torch.zeros(1, 4, dtype=torch.int64)
    with torch.no_grad():
        out = codec(
            0.1 * torch.randn(1, 4 * 480), quality_index, context_available(1, 4, "independent"), nothing_lost
        )
    assert torch.allclose(out.samples, out.second, atol=1e-6) is not noisy


@pytest.mark.parametrize("name", ["base", "gru_trunk", "residual_fsq"])
def test_what_a_variant_adds_is_trained_with_the_rest(name: str, cache: Path) -> None:
    variant = dataclasses.replace(variants()[name], model=TINY)
    task = VariantTask(variant, SETTINGS, cache, bfloat16=False)
    (module,) = task.modules.values()
    moved = [id(p) for group in module.make_optimiser().param_groups for p in group["params"]]
    assert sorted(moved) == sorted(id(p) for p in task.codec.parameters())


def test_the_command_trains_and_scores_every_nth_quality_index(
    cache: Path,
    speech_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = {"base": dataclasses.replace(variants()["base"], model=TINY)}
    monkeypatch.setattr(command, "variants", lambda: tiny)
    monkeypatch.setattr(command, "build_cache", lambda *_: cache)
    monkeypatch.setattr(command, "METRIC_NAMES", ("mel16", "si_sdr"))  # which need no package of their own
    arguments = ["--data", "sound", "--validate", str(speech_file), "--out", str(tmp_path), "--steps", "1"]
    command.main([*arguments, "--batch", "1", "--quality-stride", "3", "--seed", "2"])
    found = json.loads((tmp_path / "ablation_base_seed2.json").read_text())
    assert (found["variant"], found["steps"], found["clips"]) == ("base", 1, 1)
    assert len(found["levels"]) == len(range(0, TINY.qualities, 3))
    assert set(found["levels"][0]) == {"kbps", *command.METRIC_NAMES}
    assert "SI-SDR" in capsys.readouterr().out
