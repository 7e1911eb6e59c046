"""Losses: what each of them hears, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from streamcodec.training.losses import ReconstructionLoss, loss_weights
from streamcodec.training.loudness import LoudnessDistance
from streamcodec.training.structure import structure_distance


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
