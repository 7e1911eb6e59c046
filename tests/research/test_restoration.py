"""Restoration networks: shapes, causality, streaming equal to offline, and the live stage against torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from streamcodec.cli import main
from streamcodec.errors import ModelError
from streamcodec.research.models.causal_restoration import CausalRestorer, PastAttention
from streamcodec.research.models.restoration import (
    FeatureExtractor,
    RestorationConfig,
    RestorationNet,
    restoration_loss,
)
from streamcodec.research.restoration import Restorer, restore_array
from streamcodec.research.restorer import RestorerConfig, load_restorer
from streamcodec.research.training.restoration_task import causal_task, published_task
from streamcodec.research.training.restorer_export import export_restorer

Float32Array = NDArray[np.float32]
SMALL = RestorerConfig(dim=16, memory_hops=5)


def shaken(config: RestorerConfig) -> CausalRestorer:
    """A restorer with every weight moved, so that nothing is the identity."""
    torch.manual_seed(3)
    restorer = CausalRestorer(config)
    with torch.no_grad():
        for parameter in restorer.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return restorer.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("restorer")
    export_restorer(shaken(SMALL), path, {"trained_on": "nothing"})
    return path


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer that has learnt nothing yet, and so changes nothing."""
    path = tmp_path_factory.mktemp("identity")
    export_restorer(CausalRestorer(SMALL), path, {})
    return path


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("samples", [1, 441, 4_410])
def test_published_network_keeps_the_length(samples: int, residual: bool) -> None:
    network = RestorationNet(RestorationConfig(residual=residual))
    sound = 0.1 * torch.randn(2, samples)
    out = network(sound)
    assert out.shape == sound.shape
    if residual:
        assert RestorationConfig.from_json(network.config.to_json()) == network.config


def test_a_fresh_causal_restorer_changes_nothing() -> None:
    sound = 0.1 * torch.randn(2, 4_800)
    restored = CausalRestorer(SMALL).restore(sound)
    lag = SMALL.overlap_samples
    torch.testing.assert_close(restored[:, lag:], sound[:, :-lag], atol=1e-5, rtol=0)


def test_perceptual_loss_is_zero_for_the_original_alone() -> None:
    extractor, original = FeatureExtractor(), 0.1 * torch.randn(2, 1_000)
    assert float(restoration_loss(extractor, original, original, 0.5)) == 0.0
    plain, perceptual = (float(restoration_loss(extractor, 0.9 * original, original, w)) for w in (0.0, 0.5))
    assert 0.0 < plain < perceptual


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_attention_in_chunks_equals_attention_at_once(chunk: int) -> None:
    torch.manual_seed(0)
    attention = PastAttention(8, 2, memory=4)
    torch.nn.init.normal_(attention.leave.weight)
    torch.nn.init.normal_(attention.bias)
    x = torch.randn(1, 14, 8)
    whole, _ = attention(x, attention.initial_state(1))
    state, parts = attention.initial_state(1), []
    for start in range(0, 14, chunk):
        y, state = attention(x[:, start : start + chunk], state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_output_depends_on_the_past_and_one_overlap_alone() -> None:
    restorer, rng = shaken(SMALL), np.random.default_rng(0)
    first = torch.from_numpy(0.1 * rng.standard_normal((1, 4_800)).astype(np.float32))
    second = first.clone()
    second[:, 2_400:] = 0.0
    a, b = restorer.restore(first), restorer.restore(second)
    torch.testing.assert_close(a[:, :2_400], b[:, :2_400], atol=1e-6, rtol=0)
    assert float((a - b)[:, 2_400:].detach().abs().max()) > 1e-3


def test_the_live_stage_is_the_network(folder: Path, speech: Float32Array) -> None:
    sound = speech[:24_000]
    live = Restorer(folder)
    stepped = np.concatenate([live.process(block) for block in sound.reshape(-1, live.block_samples)])
    with torch.no_grad():
        whole = shaken(SMALL).restore(torch.from_numpy(sound[None]))[0].numpy()
    assert np.abs(whole).max() > 0.01
    np.testing.assert_allclose(stepped, np.clip(whole, -1, 1), atol=2e-3)


def test_state_is_a_value(folder: Path, speech: Float32Array) -> None:
    live = Restorer(folder)
    blocks = speech[:9_600].reshape(-1, live.block_samples)
    for block in blocks[:10]:
        live.process(block)
    state = live.state()
    first = [live.process(block) for block in blocks[10:]]
    other = Restorer(folder)
    other.restore(state)
    np.testing.assert_array_equal(first, [other.process(block) for block in blocks[10:]])
    live.reset()
    np.testing.assert_array_equal(live.process(blocks[0]), Restorer(folder).process(blocks[0]))


def test_whole_sounds_keep_length_and_what_lies_above_the_band(identity: Path) -> None:
    restorer = Restorer(identity)
    for rate_hz, samples in ((24_000, 10_001), (44_100, 20_000), (16_000, 1)):
        sound = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
        restored = restore_array(sound, rate_hz, restorer)
        assert restored.shape == sound.shape
        np.testing.assert_allclose(restored, sound, atol=2e-3)


def test_restore_command(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.flac", tmp_path / "out.wav"
    soundfile.write(source, 0.1 * np.random.default_rng(0).standard_normal((9_000, 2)), 44_100)
    assert main(["restore", str(source), str(target), "--restorer", str(folder)]) == 0
    assert "9000 samples" in capsys.readouterr().out
    assert soundfile.read(target)[0].shape == (9_000, 2)
    assert main(["restore", str(source), str(target), "--restorer", str(tmp_path)]) == 2
    assert "no usable restorer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        '"', "[]", "[" * 100_000, '{"config": 5}', '{"config": {"dilations": 5}}', '{"config": {"other": 5}}',
        '{"config": {"dilations": [1], "hop_samples": "240"}}', '{"config": {"dilations": [1], "hop_samples": 0}}',
        '{"config": {"dilations": [1], "fft_samples": 1024}}', '{"config": {"dilations": [1], "fft_samples": 500}}',
        '{"config": {"dilations": [1], "hops_per_step": 4}}',
        '{"config": {"dilations": [1], "overlap_samples": 241}}',
    ],
)  # fmt: skip
def test_a_damaged_restorer_is_one_sentence(folder: Path, tmp_path: Path, damage: str) -> None:
    """Kernels read and write by the description: a graph of other shapes would have them leave their arrays."""
    for name in ("restorer.onnx", "restorer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "restorer.json").write_text(damage)
    with pytest.raises(ModelError) as caught:
        Restorer(tmp_path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("compand_power", 0.7, "compand_power must be 0.5, got 0.7"),
        ("fft_samples", 16_384, "fft_samples must be a power of two from 16 to 8192, got 16384"),
    ],
)
def test_what_kernels_do_not_do_is_refused(folder: Path, tmp_path: Path, field: str, value: float, said: str) -> None:
    """Spectra are companded by the square root alone, and transforms have an end."""
    described = json.loads((folder / "restorer.json").read_text())
    described["config"][field] = value
    (tmp_path / "restorer.json").write_text(json.dumps(described))
    (tmp_path / "restorer.onnx").write_bytes((folder / "restorer.onnx").read_bytes())
    with pytest.raises(ModelError, match=said):
        load_restorer(tmp_path)


def test_restoring_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from streamcodec.research.restoration import Restorer; "
        f"Restorer({str(folder)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def batches(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    original = torch.cumsum(0.01 * torch.randn(2, 4_800, generator=generator), dim=-1).clamp(-1, 1)
    return 0.5 * original, original, torch.full((2,), 12_000.0)


def test_both_tasks_learn_to_undo_a_gain(tmp_path: Path) -> None:
    from streamcodec.training.loop import RunLimits, TrainingLoop

    torch.manual_seed(0)
    for name, task in (
        ("causal", causal_task(CausalRestorer(SMALL), batches, 3e-3)),
        ("published", published_task(RestorationNet(RestorationConfig(residual=True)), batches, 3e-3)),
    ):
        loop = TrainingLoop(task, tmp_path / name)
        first = float(next(iter(task.optimiser_steps(0, 0.0))).loss.detach())
        loop.run(RunLimits(max_steps=60))
        assert float(next(iter(task.optimiser_steps(0, 0.0))).loss.detach()) < 0.8 * first, name
