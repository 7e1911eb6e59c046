"""Training: it learns, resumes exactly, and its weights become packets that the live path decodes alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from native_dsp.filters.post_filter import neutral_parameters
from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.model import load_runtime, open_runtime
from streamcodec.models.codec import NeuralCodec, context_available
from streamcodec.models.config import NeuralConfig
from streamcodec.models.shipped import read_model
from streamcodec.training.band_gains import BANDS, LARGEST_BAND_GAIN_DB, measure_band_gains_db
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.coded_rate import MODES, cross_entropy_kbps, entropy_gaps, kbps_by_quality, latents_of
from streamcodec.training.data import BatchesAhead, DatasetError, SegmentSource, build_cache
from streamcodec.training.export import export_model, load_checkpoint
from streamcodec.training.initialise import grow_from
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.losses import ReconstructionLoss, loss_weights
from streamcodec.training.loudness import LoudnessDistance
from streamcodec.training.post_filter import post_filter_parameters
from streamcodec.training.schedule import QualityCurve, draw_conditions
from streamcodec.training.structure import structure_distance
from streamcodec.training.task import Figures, TrainingError
from tests.helpers.tiny_model import FACTS, SETTINGS, TINY


def test_cache_is_built_once_and_knows_the_bandwidth(cache: Path) -> None:
    clips = json.loads((cache / "clips.json").read_text())
    assert sorted(c["bandwidth_hz"] for c in clips) == [8_000, 12_000]
    assert all(abs(c["samples"] - 72_000) <= 1 for c in clips)
    before = (cache / "samples.i16").stat().st_mtime_ns
    assert build_cache([cache.parents[1] / "speech"], cache.parent, 24_000) == cache
    assert (cache / "samples.i16").stat().st_mtime_ns == before


def test_no_data_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.wav"):
        build_cache([tmp_path], tmp_path / "cache", 24_000)


def test_batches_depend_on_seed_and_step_alone(cache: Path) -> None:
    first, second = (SegmentSource(cache, 4_800, 24_000, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.batch(7, 3)[0], second.batch(7, 3)[0])
    assert not np.array_equal(first.batch(7, 3)[0], first.batch(8, 3)[0])


def test_batches_prepared_ahead_are_the_same_batches(cache: Path) -> None:
    source = SegmentSource(cache, 4_800, 24_000, seed=4)
    ahead = BatchesAhead(source, stride=2)
    for step in (0, 2, 4, 12):
        np.testing.assert_array_equal(ahead.batch(step, 3)[0], source.batch(step, 3)[0])


def loss_of(figures: Figures) -> float:
    loss = figures["loss"]
    assert isinstance(loss, torch.Tensor)
    return float(loss)


def start(cache: Path, folder: Path) -> tuple[TrainingLoop, CodecTask]:
    task = CodecTask(TINY, SETTINGS, cache)
    return TrainingLoop(task, folder), task


def test_a_resumed_run_equals_an_unbroken_one(cache: Path, tmp_path: Path) -> None:
    whole, unbroken = start(cache, tmp_path / "whole")
    whole.run(RunLimits(max_steps=4))
    first, _ = start(cache, tmp_path / "broken")
    for step in range(2):
        first.train_step(step / 4)
    first.save()
    second, resumed = start(cache, tmp_path / "broken")
    assert second.step == 2
    second.run(RunLimits(max_steps=4))
    for name, value in unbroken.codec.state_dict().items():
        assert torch.equal(resumed.codec.state_dict()[name], value), name


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    torch.save({"training_config": {"seed": 1}}, path)
    with pytest.raises(TrainingError, match="no checkpoint that this version can read"):
        load_checkpoint(path)


def test_training_lowers_the_loss_and_writes_its_log(cache: Path, tmp_path: Path) -> None:
    from streamcodec.training.pictures import draw_curves, draw_samples

    loop, task = start(cache, tmp_path)
    rows: list[dict[str, object]] = []
    loop.run(RunLimits(minutes=10, max_steps=34, log_steps=10), rows.append)
    assert float(str(rows[-1]["mel"])) < 0.8 * float(str(rows[0]["mel"])), [r["mel"] for r in rows]
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 34
    assert {"loss", "kbps", "audio_s_per_s"} <= logged[-1].keys()
    draw_curves(tmp_path)
    draw_samples(task, tmp_path / "samples.png", segments=1)
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    assert (tmp_path / "samples.png").stat().st_size > 5_000


def test_energy_distance_prefers_noise_to_silence_and_tones() -> None:
    torch.manual_seed(0)
    loss = ReconstructionLoss(24_000)
    band, weights = torch.full((1,), 12_000.0), loss_weights(torch.zeros(1), 1.0)
    t = torch.arange(24_000) / 24_000

    def score(draw: object) -> float:
        assert callable(draw)
        values = [float(loss(draw(), draw(), 0.1 * torch.randn(1, 24_000), band, weights)[0]) for _ in range(3)]
        return sum(values) / len(values)

    noise = score(lambda: 0.1 * torch.randn(1, 24_000))
    tones = score(lambda: sum(0.02 * torch.sin(2 * torch.pi * f * t) for f in range(200, 12_000, 400))[None])
    silence = score(lambda: torch.zeros(1, 24_000))
    assert noise < tones < silence


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100])
def test_losses_are_numbers_at_any_rate(rate_hz: int) -> None:
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(3, 1, rate_hz)
    total, terms = ReconstructionLoss(rate_hz)(
        *sound, torch.full((1,), rate_hz / 2), loss_weights(torch.zeros(1), 1.0)
    )
    assert total.isfinite().all()
    assert all(0.0 < float(term) < 10.0 for term in terms.values()), terms


def test_structure_hears_movement_and_not_level() -> None:
    torch.manual_seed(0)
    envelope = torch.randn(1, 40, 24).cumsum(1)
    louder = structure_distance(envelope + 1.5, envelope).mean()
    noisy = structure_distance(envelope + 0.5 * torch.randn_like(envelope), envelope).mean()
    stranger = structure_distance(torch.randn(1, 40, 24).cumsum(1), envelope).mean()
    silence = torch.zeros_like(envelope)
    assert louder < 1e-3
    assert 0.02 < noisy < 0.3 < stranger, (noisy, stranger)
    assert structure_distance(silence, silence).abs().max() < 1e-6


def test_loudness_hears_what_was_added_before_what_is_missing() -> None:
    torch.manual_seed(0)
    # A voice of 150 Hz and the noise between its harmonics.
    t = torch.arange(24_000) / 24_000
    voice = sum(0.02 * torch.sin(2 * torch.pi * f * t) for f in range(150, 4_000, 150))
    assert isinstance(voice, torch.Tensor)
    measure = LoudnessDistance(24_000, 1024)

    def points(decoded: torch.Tensor, original: torch.Tensor, band_hz: float = 12_000.0) -> float:
        powers = (
            torch.fft.rfft(x.unfold(-1, 1024, 256) * torch.hann_window(1024) * 0.088).abs() ** 2
            for x in (decoded, original)
        )
        return float(measure(*(x[None] for x in powers), torch.tensor([band_hz])))

    noise = 0.02 * torch.randn(24_000)
    silence, hiss = torch.zeros(24_000), torch.where(t < 0.5, voice, 1e-4 * torch.randn(24_000))
    assert points(voice, voice) < 0.01
    assert points(voice + 0.003 * torch.randn(24_000), voice) < 0.5 * points(voice + noise, voice)
    assert points(voice + noise, voice) > 2.0 * points(voice, voice + noise)
    assert points(4.0 * (voice + noise), 4.0 * voice) == pytest.approx(points(voice + noise, voice), rel=0.02)
    assert points(2e-6 * torch.randn(24_000), silence) < 0.05, "silence is not speech to be brought to level"
    assert points(torch.where(t < 0.5, voice, silence), hiss) < 0.1, "what nobody hears does not count"
    beyond = voice + 0.02 * torch.sin(2 * torch.pi * 6_000 * t)
    assert points(beyond, voice, band_hz=5_000.0) < 0.1 * points(beyond, voice)


def test_a_loss_computes_what_it_is_asked_for() -> None:
    torch.manual_seed(0)
    sound, band = 0.1 * torch.randn(3, 1, 24_000), torch.full((1,), 12_000.0)
    loss, weights = ReconstructionLoss(24_000), loss_weights(torch.zeros(1), 1.0)
    total, terms = loss(*sound, band, weights)
    assert terms.keys() == weights.keys()
    for name, weight in weights.items():
        one, only = loss(*sound, band, {name: weight})
        assert only.keys() == {name}
        torch.testing.assert_close(only[name], terms[name])
        total = total - one
    assert abs(float(total)) < 1e-4


def test_masked_bands_do_not_count() -> None:
    torch.manual_seed(0)
    loss = ReconstructionLoss(24_000)
    weights = loss_weights(torch.zeros(1), 1.0)
    low = 0.05 * torch.randn(1, 24_000)
    high = low + 0.2 * torch.sin(2 * torch.pi * 10_500 * torch.arange(24_000) / 24_000)[None]
    narrow = loss(high, high, low, torch.full((1,), 8_000.0), weights)[1]["fine"]
    wide = loss(high, high, low, torch.full((1,), 12_000.0), weights)[1]["fine"]
    assert narrow < 0.3 * wide, (narrow, wide)
    # Structure is a matter of long windows below 8 kHz: a tone that comes and goes where the original has none.
    t = torch.arange(24_000) / 24_000
    tone = low + (0.3 * torch.sin(2 * torch.pi * 6_500 * t) * torch.sin(2 * torch.pi * 3 * t))[None]
    bands_hz = torch.tensor([4_000.0]), torch.tensor([12_000.0])
    narrow, wide = (loss(tone, tone, low, band_hz, weights)[1]["structure"] for band_hz in bands_hz)
    assert narrow < 0.2 * wide, (narrow, wide)


def test_bins_weigh_what_they_take_of_the_mel_scale() -> None:
    torch.manual_seed(0)
    weights, band = loss_weights(torch.zeros(1), 1.0), torch.full((1,), 12_000.0)
    sound, t = 0.05 * torch.randn(1, 24_000), torch.arange(24_000) / 24_000
    # The same error, 400 Hz wide, at 400 Hz and at 9 kHz.
    carrier = 0.05 * torch.randn(24_000).cumsum(0) / 12
    errors = [sound + (carrier * torch.sin(2 * torch.pi * f * t))[None] for f in (400, 9_000)]

    def share_of_low(by_ear: bool, term: str) -> float:
        loss = ReconstructionLoss(24_000, by_ear=by_ear)
        same = float(loss(sound, sound, sound, band, weights)[1][term])
        low, high = (float(loss(error, error, sound, band, weights)[1][term]) - same for error in errors)
        return low / (low + high)

    for term in ("fine", "companded", "magnitude"):
        assert 0.3 < share_of_low(False, term) < 0.7, term
        assert share_of_low(True, term) > 0.8, term


def test_a_grown_model_begins_where_the_smaller_one_stood() -> None:
    torch.manual_seed(0)
    small = NeuralCodec(TINY)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    large = NeuralCodec(dataclasses.replace(TINY, encoder_dilations_frame=(1, 2, 4, 8), decoder_expansion=5))
    grow_from(large, small.state_dict())
    sound, quality_index = 0.1 * torch.randn(2, 480 * 6), torch.full((2, 6), 2)
    nothing = context_available(2, 6, "independent"), torch.zeros(2, 6, dtype=torch.bool)
    outputs = []
    for codec in (small, large):
        torch.manual_seed(1)
        outputs.append(codec(sound, quality_index, *nothing))
    torch.testing.assert_close(outputs[0].samples, outputs[1].samples)
    torch.testing.assert_close(outputs[0].packet_bits_hard, outputs[1].packet_bits_hard)
    with pytest.raises(ValueError, match="has no place"):
        grow_from(small, large.state_dict())


def test_a_run_started_from_another_begins_with_its_averaged_weights(cache: Path, tmp_path: Path) -> None:
    first, _ = start(cache, tmp_path / "first")
    for _ in range(3):
        first.train_step(0.1)
    first.save()
    task = CodecTask(TINY, SETTINGS, cache, start_from=tmp_path / "first" / "checkpoint.pt")
    second = TrainingLoop(task, tmp_path / "second")
    assert second.step == 0
    average = first.optimiser_states["codec"].average
    assert average is not None
    assert all(torch.equal(task.codec.state_dict()[name], value) for name, value in average.items())


def test_a_bfloat16_step_is_close_to_a_float32_one(cache: Path, tmp_path: Path) -> None:
    losses = []
    for bfloat16 in (False, True):
        task = CodecTask(TINY, SETTINGS, cache, bfloat16=bfloat16)
        loop = TrainingLoop(task, tmp_path / str(bfloat16))
        losses.append(loss_of(loop.train_step(0.1)))
        assert all(p.dtype == torch.float32 for p in task.codec.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_drawn_conditions_are_possible_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = draw_conditions(NeuralConfig(), 64, 40, generator)
    assert not drawn.available[:, 0].any()
    assert not drawn.available[:, 1, 1].any()
    # The packet before the last is only ever used beside the last one.
    assert not (drawn.available[..., 1] & ~drawn.available[..., 0]).any()
    assert 0 < drawn.lost.float().mean() < 0.1


def test_offline_network_equals_stepped_network() -> None:
    torch.manual_seed(1)
    codec = NeuralCodec(TINY).eval()
    sound = 0.1 * torch.randn(1, 10 * TINY.frame_samples)
    companded = codec.spectrum.compand(codec.spectrum.analyse(sound))
    with torch.no_grad():
        whole, _ = codec.encoder(companded, codec.encoder.initial_state(1))
        state, pieces = codec.encoder.initial_state(1), []
        for k in range(10):
            piece, state = codec.encoder(companded[:, 2 * k : 2 * k + 2], state)
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def trained(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    loop, _ = start(cache, folder)
    for _ in range(3):
        loop.train_step(0.1)
    loop.save()
    return folder / "checkpoint.pt"


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

    def measured(band_gains_db: NDArray[np.float64] | None) -> NDArray[np.float64]:
        silent: QualityCurve = ((0.0, 0.0), (1.0, 0.0))
        post_filter = post_filter_parameters(TINY, ((0.0, 1.0), (1.0, 1.0)), silent, band_gains_db)
        runtime = open_runtime(dataclasses.replace(plain, post_filter=post_filter))
        return measure_band_gains_db(runtime, [sound], latents_of(runtime, [sound]))

    plain_db = measured(None)
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
    assert [(gap["level"], gap["mode"]) for gap in gaps] == [(lv, mode) for lv in (1, 2) for mode in MODES]
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
    trained_kbps = float(out.packet_bits_hard.mean()) * TINY.packets_per_second / 1000
    first = [latents[0][:key_period]]
    assert cross_entropy_kbps(codec, first, 1, "stream") == pytest.approx(trained_kbps, rel=0.005)
