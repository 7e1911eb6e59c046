"""Trained weights become a model: packets that the live path decodes alike, band gains, measured rates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from native_dsp.filters.post_filter import neutral_parameters
from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.model import load_runtime, open_runtime
from streamcodec.models.codec import context_available
from streamcodec.models.shipped import read_model
from streamcodec.training.band_gains import BANDS, LARGEST_BAND_GAIN_DB, measure_band_gains_db
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.coded_rate import MODES, cross_entropy_kbps, entropy_gaps, kbps_by_quality, latents_of
from streamcodec.training.export import export_model, load_checkpoint
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.post_filter import calibrated, post_filter_parameters
from streamcodec.training.schedule import QualityCurve
from streamcodec.training.task import TrainingError
from tests.helpers.tiny_model import FACTS, SETTINGS, TINY


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    torch.save({"training_config": {"seed": 1}}, path)
    with pytest.raises(TrainingError, match="no checkpoint that this version can read"):
        load_checkpoint(path)


def test_several_checkpoints_are_averaged(cache: Path, trained: Path, tmp_path: Path) -> None:
    loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache), tmp_path)
    loop.train_step(0.0)
    loop.save()
    one, other = load_checkpoint(trained).state_dict(), load_checkpoint(tmp_path / "checkpoint.pt").state_dict()
    mean = load_checkpoint(trained, tmp_path / "checkpoint.pt").state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in mean)
    for name, values in mean.items():
        torch.testing.assert_close(values, 0.5 * (one[name] + other[name]))
    stranger = CodecTask(dataclasses.replace(TINY, decoder_expansion=5), SETTINGS, cache)
    loop = TrainingLoop(stranger, tmp_path / "stranger")
    loop.train_step(0.0)
    loop.save()
    with pytest.raises(TrainingError, match="different models"):
        load_checkpoint(trained, tmp_path / "stranger" / "checkpoint.pt")


@pytest.mark.parametrize("int8", [False, True])
def test_exported_model_runs_and_agrees_with_torch(
    trained: Path, tmp_path: Path, int8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamcodec.models.weights.INT8_FROM_VALUES", 512 if int8 else 1 << 17)
    codec = load_checkpoint(trained)
    export_model(codec, tmp_path / "tiny", FACTS, post_filter_parameters(TINY), int8)
    assert (b"MatMulNBits" in (tmp_path / "tiny" / "decoder.onnx").read_bytes()) is int8
    name = str(tmp_path / "tiny")
    analysis = LatentAnalysis(load_runtime(name))
    sound = (0.1 * np.random.default_rng(0).standard_normal(480 * 8)).astype(np.float32)
    stepped = np.stack([analysis.step(sound[480 * k : 480 * (k + 1)]).copy() for k in range(8)])
    with torch.no_grad():
        companded = codec.spectrum.compand(codec.spectrum.analyse(torch.from_numpy(sound)[None]))
        expected, _ = codec.encoder(companded, codec.encoder.initial_state(1))
    wanted = expected[0].numpy()
    error = float(np.sqrt(np.mean((stepped - wanted) ** 2) / np.mean(wanted**2)))
    assert error < (0.02 if int8 else 0.003), error
    encoder, decoder = StreamEncoder(24_000, model=name), StreamDecoder(24_000, model=name)
    for packet in encoder.push(sound):
        assert np.isfinite(decoder.push(packet.to_bytes())).all()
    assert decoder.concealed == 0


def test_balance_is_measured_and_evened_out(trained: Path, tmp_path: Path) -> None:
    codec = load_checkpoint(trained)
    sound = (0.1 * np.random.default_rng(2).standard_normal(480 * 50)).astype(np.float32)

    export_model(codec, tmp_path / "plain", FACTS, neutral_parameters(TINY.qualities, TINY.bins))
    plain = read_model(tmp_path / "plain")

    def measured(band_gains_db: NDArray[np.float64]) -> NDArray[np.float64]:
        silent: QualityCurve = ((0.0, 0.0), (1.0, 0.0))
        post_filter = post_filter_parameters(TINY, ((0.0, 1.0), (1.0, 1.0)), silent)
        post_filter = calibrated(TINY, post_filter, band_gains_db)
        runtime = open_runtime(dataclasses.replace(plain, post_filter=post_filter))
        return measure_band_gains_db(runtime, [sound], latents_of(runtime, [sound]))

    plain_db = measured(np.zeros((TINY.qualities, BANDS)))
    assert plain_db.shape == (TINY.qualities, BANDS)
    # What is said to be 1.5 dB too loud comes out 1.5 dB quieter, and the other levels as before.
    too_loud_db = np.zeros((TINY.qualities, BANDS))
    too_loud_db[-1] = 1.5
    quieter_db = measured(too_loud_db)
    np.testing.assert_allclose((plain_db - quieter_db)[-1], 1.5, atol=0.2)
    np.testing.assert_allclose(quieter_db[:-1], plain_db[:-1], atol=0.2)
    left_db = plain_db - np.clip(plain_db, -LARGEST_BAND_GAIN_DB, LARGEST_BAND_GAIN_DB)
    # Neighbouring bands share bins, so a cliff between two cannot be evened out to the decibel.
    np.testing.assert_allclose(measured(plain_db), left_db, atol=1.0)


def test_coded_rate_matches_the_cross_entropy(trained: Path, tmp_path: Path) -> None:
    codec = load_checkpoint(trained)
    export_model(codec, tmp_path / "tiny", FACTS, post_filter_parameters(TINY))
    runtime = load_runtime(str(tmp_path / "tiny"))
    # Sound like the training data: the float form bounds the cost of what it holds for impossible, packets do not.
    packets = 60
    t = np.arange(480 * packets) / 24_000
    noise = 0.02 * np.random.default_rng(1).standard_normal(t.size)
    sound = (0.2 * np.sin(2 * np.pi * 170 * t) + noise).astype(np.float32)
    latents = latents_of(runtime, [sound])
    assert latents[0].shape == (packets, TINY.latents)
    gaps = entropy_gaps(codec, runtime, latents, [1, 2])
    assert [(gap["quality_index"], gap["mode"]) for gap in gaps] == [(lv, mode) for lv in (1, 2) for mode in MODES]
    for gap in gaps:
        real, tables, coded = (float(gap[name]) for name in ("cross_entropy_kbps", "tables_kbps", "bytes_kbps"))
        assert abs(tables / real - 1) < 0.02, gap
        # Whole bytes add less than a byte and the coder's ending to a packet: 50 packets of 8 bits are 0.4 kbps.
        assert 0.0 < coded - tables < 0.5, gap
    assert float(gaps[3]["stream_saving"]) == pytest.approx(
        1 - float(gaps[3]["bytes_kbps"]) / float(gaps[2]["bytes_kbps"]), abs=1e-3
    )
    assert kbps_by_quality(runtime, latents)["stream"][2] == pytest.approx(float(gaps[3]["bytes_kbps"]))
    # What the report calls cross-entropy is the rate that training lowers.
    key_period = 50
    start = sound[: 480 * key_period]
    with torch.no_grad():
        out = codec(
            torch.from_numpy(start)[None],
            torch.full((1, key_period), 1),
            context_available(1, key_period, "stream"),
            torch.zeros(1, key_period, dtype=torch.bool),
        )
    trained_kbps = float(out.frame_bits_hard.mean()) * TINY.frames_per_second / 1000
    first = [latents[0][:key_period]]
    assert cross_entropy_kbps(codec, first, 1, "stream") == pytest.approx(trained_kbps, rel=0.005)
