"""A refiner after the decoder's noise: it begins as nothing, carries sound on by its pitch, streams as it trains."""

from __future__ import annotations

import torch

from streamcodec.models.codec import NeuralCodec, context_available
from streamcodec.models.decoder_kinds import CODECS, decoder_kind
from streamcodec.models.neural import add_noise
from streamcodec.models.refiner import Drawn, RefinedCodec, carried_places, likeness
from tests.helpers.tiny_model import TINY

HOPS = 24
FFT, HOP, OVERLAP = TINY.fft_samples, TINY.hop_samples, TINY.overlap_samples


def codec_with(heads: float) -> RefinedCodec:
    """Heads of random weights so large."""
    torch.manual_seed(0)
    codec = RefinedCodec(TINY)
    for head in (codec.decoder.refiner.gains, codec.decoder.refiner.add):
        torch.nn.init.normal_(head.weight, std=heads)
    return codec


def decoded_and_hidden() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    seconds = torch.arange(HOPS * HOP) / TINY.sample_rate_hz
    sound = 0.1 * sum(torch.cos(2 * torch.pi * 150 * k * seconds) / k for k in range(1, 8))
    codec = NeuralCodec(TINY)
    companded = codec.spectrum.compand(codec.spectrum.analyse(sound[None].repeat(2, 1)))
    gain = torch.full((2, HOPS, TINY.bins), 0.05)
    return torch.cat([companded, gain], dim=-1), torch.randn(2, HOPS, TINY.decoder_dim_hop)


def test_it_begins_by_changing_nothing() -> None:
    decoded, hidden = decoded_and_hidden()
    codec = codec_with(0.0)
    torch.manual_seed(2)
    refined = codec._refine(decoded, hidden)
    torch.manual_seed(2)
    torch.testing.assert_close(refined, add_noise(decoded))


def test_a_sound_that_repeats_is_carried_on_as_it_goes_on() -> None:
    period = 160
    sound = torch.zeros(1, FFT + HOPS * HOP + OVERLAP)
    sound[:, FFT:] = torch.sin(2 * torch.pi * torch.arange(sound.shape[1] - FFT) / period)
    places = carried_places(torch.full((1, HOPS), float(period)), HOP, OVERLAP, FFT)
    for t in range(4, HOPS):
        start = FFT + t * HOP
        assert int(places[0, t].max()) < start, "only what is complete before the hop"
        so_far = sound.clone()
        so_far[:, start:] = 0.0
        window = slice(start + HOP + OVERLAP - FFT, start + HOP + OVERLAP)
        torch.testing.assert_close(so_far[0, places[0, t]], sound[0, window], atol=1e-4, rtol=0)


def test_places_are_inside_the_sound_for_the_longest_and_shortest_lags() -> None:
    for lag in (0.0, 1.0, 57.3, 400.0, 4_000.0):
        places = carried_places(torch.full((1, HOPS), lag), HOP, OVERLAP, FFT)
        assert int(places.min()) >= 0
        assert int(places.max()) < FFT + HOPS * HOP


def test_training_hears_what_a_stream_would_play() -> None:
    codec = codec_with(0.05)
    decoded, hidden = decoded_and_hidden()
    torch.manual_seed(4)
    companded = codec._refine(decoded, hidden)
    at_once = codec.spectrum.synthesise(codec.spectrum.expand(companded))
    hop_by_hop: list[torch.Tensor] = []
    roll_out = codec._roll_out
    codec._roll_out = lambda *given: hop_by_hop.append(roll_out(*given)) or hop_by_hop[-1]  # type: ignore[method-assign,func-returns-value]
    torch.manual_seed(4)
    codec._refine(decoded, hidden)
    streamed = hop_by_hop[0][:, FFT : FFT + at_once.shape[1]]
    torch.testing.assert_close(at_once.detach(), streamed, atol=1e-4, rtol=1e-3)
    torch.manual_seed(4)
    plain = codec.spectrum.synthesise(codec.spectrum.expand(add_noise(decoded)))
    assert float((at_once - plain).detach().abs().max()) > 1e-3, "these heads change something"


def test_gradients_reach_every_part() -> None:
    codec = codec_with(0.02)
    sound = 0.1 * torch.randn(2, 12 * TINY.frame_samples)
    quality_index, lost = torch.full((2, 12), 2), torch.zeros(2, 12, dtype=torch.bool)
    out = codec(sound, quality_index, context_available(2, 12, "independent"), lost)
    assert out.samples.shape == sound.shape
    assert out.decoded.shape == (2, 24, 3 * TINY.bins)
    assert not torch.equal(out.samples, out.second)
    out.samples.square().sum().backward()
    refiner = codec.decoder.refiner
    for parameter in (refiner.gains.weight, refiner.add.weight, refiner.enter.weight, refiner.enter_carried.weight):
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0.0


def test_likeness_is_one_for_equal_bands_and_minus_one_for_opposite_ones() -> None:
    spectrum = torch.randn(1, 3, 2 * 32)
    torch.testing.assert_close(likeness(spectrum, 2.0 * spectrum), torch.ones(1, 3, 16), atol=1e-3, rtol=0)
    torch.testing.assert_close(likeness(spectrum, -spectrum), -torch.ones(1, 3, 16), atol=1e-3, rtol=0)


def test_a_hop_of_a_draw_is_that_hop() -> None:
    drawn = Drawn(*(torch.arange(6.0).reshape(1, 3, 2) for _ in range(5)))
    assert drawn.hop(1).noise.tolist() == [[[2.0, 3.0]]]


def test_weights_say_what_kind_of_decoder_they_are_of() -> None:
    for kind, codec in CODECS.items():
        assert decoder_kind(codec(TINY).state_dict()) == kind
