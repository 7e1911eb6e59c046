"""Every research model: shapes, real bytes there and back, weights on disk, quantisers, ways back to sound."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamcodec.errors import FileFormatError, ModelError
from streamcodec.research.models.bottlenecks import ScalarBottleneck, VariationalBottleneck, VectorBottleneck
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.frame_autoencoder import FrameAutoencoderConfig
from streamcodec.research.models.frequency_conv import FrequencyConvConfig
from streamcodec.research.models.registry import (
    CONFIG_FILE,
    MODELS,
    ModelEntry,
    build_model,
    config_from,
    load_model,
    save_model,
)
from streamcodec.research.models.representations import Kind, Representation, RepresentationConfig

torch.set_num_threads(1)
Float32Array = NDArray[np.float32]


def sounds(count: int, samples: int) -> list[Float32Array]:
    rng = np.random.default_rng(3)
    time = np.arange(samples) / 16_000
    return [
        np.asarray(0.3 * np.sin(2 * np.pi * (200 + 90 * k) * time) + 0.03 * rng.standard_normal(samples), np.float32)
        for k in range(count)
    ]


@pytest.fixture(scope="module", params=MODELS)
def codec(request: pytest.FixtureRequest) -> ResearchCodec:
    torch.manual_seed(0)
    model = build_model(request.param)
    model.calibrate(torch.from_numpy(np.stack(sounds(4, 6000))))
    return ResearchCodec.fit(model, sounds(4, 6000))


def test_a_pass_gives_the_shape_it_took_and_a_gradient_everywhere(codec: ResearchCodec) -> None:
    model = codec.model.train()
    found = model(torch.from_numpy(np.stack(sounds(2, 6000))))
    assert found.features.shape == found.target.shape
    assert found.bits.shape == (2,)
    assert bool((found.bits > 0).all())
    ((found.features - found.target).square().mean() + 1e-6 * found.bits.mean() + found.penalty).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    assert missing == []
    model.eval()


@pytest.mark.parametrize("samples", [1, 700, 5003])
def test_bytes_alone_give_what_the_indices_give(codec: ResearchCodec, samples: int) -> None:
    sound = sounds(1, samples)[0]
    coded = codec.encode(sound)
    decoded = codec.decode(coded)
    assert decoded.shape == sound.shape
    np.testing.assert_array_equal(decoded, codec.model.sound(codec.model.indices(sound), samples))
    parts = codec.encode_parts(sound)
    assert len(coded) == 4 * len(parts) + sum(map(len, parts))


def test_damaged_bytes_decode_to_something(codec: ResearchCodec) -> None:
    coded = bytearray(codec.encode(sounds(1, 3000)[0]))
    for place in range(4 * len(codec.coders), len(coded), 7):
        coded[place] ^= 0x55
    assert codec.decode(bytes(coded[: len(coded) - 3])).shape == (3000,)
    with pytest.raises(FileFormatError, match="too few"):
        codec.decode(b"ab")


def test_weights_and_configuration_come_back_from_disk(codec: ResearchCodec, tmp_path: Path) -> None:
    name = next(key for key, entry in MODELS.items() if type(build_model(key)) is type(codec.model))
    save_model(name, codec.model, tmp_path)
    again = load_model(tmp_path)
    assert again.config == codec.model.config
    sound = sounds(1, 3000)[0]
    for a, b in zip(again.indices(sound), codec.model.indices(sound), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nominal_count_is_the_latents_that_are_coded(codec: ResearchCodec) -> None:
    sound = sounds(1, 4000)[0]
    assert codec.latent_count(4000) == sum(indices.size for indices in codec.model.indices(sound))


def test_wrong_names_files_and_configurations_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="choose from frequency-conv"):
        build_model("mp3")
    with pytest.raises(ModelError, match="takes a FrequencyConvConfig"):
        build_model("frequency-conv", FrameAutoencoderConfig())
    with pytest.raises(ModelError, match="no research model"):
        load_model(tmp_path)
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"model": "vae", "config": {"colour": 3}}))
    with pytest.raises(ModelError, match="colour"):
        load_model(tmp_path)


def test_configurations_survive_json() -> None:
    config = FrequencyConvConfig(RepresentationConfig("log-mel", 22_050), (8, 16), 1, 24)
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from(FrequencyConvConfig, content) == config


@pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)
def test_every_configuration_is_frozen_and_has_defaults(entry: ModelEntry) -> None:
    config = entry.config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.latents = 1
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from(entry.config, content) == config


def test_linear_path_starts_as_a_working_transform_codec() -> None:
    clips = sounds(4, 30_000)
    config = FrameAutoencoderConfig(
        RepresentationConfig("complex", 16_000, 1024, 512, compand_power=1.0), latents=60, linear_path=True
    )
    model = build_model("frame-autoencoder", config)
    model.calibrate(torch.from_numpy(np.stack(clips)))
    decoded = model.eval().sound(model.indices(clips[0]), clips[0].size)
    assert np.sum((decoded - clips[0]) ** 2) < 0.1 * np.sum(clips[0] ** 2)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_representations_go_back_with_their_own_or_a_lent_phase(kind: Kind) -> None:
    sound = torch.from_numpy(sounds(1, 6000)[0])[None]
    representation = Representation(RepresentationConfig(kind))
    features = representation.analyse(sound)
    c = representation.config
    assert features.shape == (1, c.channels, c.rows, representation.columns(6000))
    back = representation.invert(features, 6000, sound)
    error = float(((back - sound) ** 2).sum() / (sound**2).sum())
    assert error < (1e-4 if kind not in ("log-mel", "mfcc") else 0.7)


def test_griffin_lim_finds_a_sound_of_those_magnitudes_and_always_the_same() -> None:
    sound = torch.from_numpy(sounds(1, 8000)[0])[None]
    representation = Representation(RepresentationConfig("magnitude"))
    features = representation.analyse(sound)
    first, second = (representation.invert(features, 8000) for _ in range(2))
    assert torch.equal(first, second)
    found = representation.analyse(first)
    assert float((found - features).norm() / features.norm()) < 0.2


def test_scalar_steps_follow_the_price_of_bits() -> None:
    torch.manual_seed(0)
    bottleneck = ScalarBottleneck(3)
    latents = torch.randn(4, 3, 50)
    bottleneck.calibrate(latents)
    before = bottleneck.step.detach().clone()
    optimiser = torch.optim.Adam(bottleneck.parameters(), 1e-2)
    for _ in range(20):
        found = bottleneck(latents)
        optimiser.zero_grad()
        ((found.values - latents).square().mean() + 0.1 * found.bits.mean()).backward()
        optimiser.step()
    assert bool((bottleneck.step > 1.5 * before).all())


def test_posterior_width_sets_the_step() -> None:
    bottleneck = VariationalBottleneck(2).train()
    wide = torch.cat([torch.zeros(8, 2, 40), torch.full((8, 2, 40), 2.0)], dim=1)
    for _ in range(200):
        bottleneck(wide)
    # A deviation of exp(2 - 2) = 1, and rounding noise of the same size.
    np.testing.assert_allclose(bottleneck.step.numpy(), np.sqrt(12.0), rtol=1e-3)


def test_codebooks_use_most_of_their_entries() -> None:
    torch.manual_seed(0)
    bottleneck = VectorBottleneck(8, groups=2, entries=32).train()
    bottleneck.calibrate(torch.randn(8, 8, 60) * 5.0)
    for _ in range(150):
        bottleneck(torch.randn(8, 8, 60))
    latents = torch.randn(8, 8, 60)
    used = [len(set(bottleneck.indices(latents)[:, group].flatten().tolist())) for group in range(2)]
    assert min(used) > 24
    error = (bottleneck(latents).values - latents).square().mean()
    assert float(error.detach()) < 0.6
