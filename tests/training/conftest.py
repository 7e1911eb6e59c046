"""Training tests run on one thread: the networks are tiny, and threads waiting for each other cost more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamcodec.training.codec_task import CodecTask
from streamcodec.training.data import build_cache
from streamcodec.training.export import export_model, load_checkpoint
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.post_filter import post_filter_parameters
from tests.helpers.tiny_model import FACTS, SETTINGS, TINY

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "speech"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k, rate_hz in enumerate((24_000, 16_000)):
        t = np.arange(rate_hz * 3) / rate_hz
        sound = 0.2 * np.sin(2 * np.pi * (150 + 40 * k) * t) + 0.02 * rng.standard_normal(t.size)
        soundfile.write(folder / f"{k}.wav", sound, rate_hz)
    return build_cache([folder], folder.parent / "cache", 24_000)


@pytest.fixture(scope="session")
def trained(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a tiny model after three steps."""
    run = tmp_path_factory.mktemp("trained") / "run"
    loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache), run)
    for _ in range(3):
        loop.train_step(0.1)
    loop.save()
    return run / "checkpoint.pt"


@pytest.fixture(scope="session")
def exported(trained: Path) -> Path:
    """The same model, exported; the folder of its run lies beside it."""
    folder = trained.parents[1] / "tiny"
    export_model(load_checkpoint(trained), folder, FACTS, post_filter_parameters(TINY))
    return folder
