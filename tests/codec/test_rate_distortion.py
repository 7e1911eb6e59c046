"""Bitrates below those of the coarsest quality index: packets of 120 ms whose indices are chosen by their cost."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import StreamEncoder
from streamcodec.codec.files.oneshot import decode_array, encode_array
from streamcodec.codec.neural.model import LatentContext, load_runtime
from streamcodec.codec.neural.packet_coder import PacketCoder
from streamcodec.codec.neural.rate_distortion import RateDistortionQuantiser
from streamcodec.models.shipped import DEFAULT_MODEL

Float32Array = NDArray[np.float32]
RATE_HZ = 24_000
PACKET_MS = 120


def kbps(packets: list[Any]) -> float:
    return 8 * sum(len(packet.payload) for packet in packets) / (PACKET_MS * len(packets))


@pytest.mark.parametrize("bitrate_bps", [1_000, 1_200])
@pytest.mark.parametrize("mode", ["independent", "stream"])
def test_a_kilobit_is_met(mode: Any, bitrate_bps: int, speech: Float32Array) -> None:
    sound = np.tile(speech, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = StreamEncoder(RATE_HZ, bitrate_bps, mode=mode, packet_ms=PACKET_MS)
    packets = [*encoder.push(sound), *encoder.flush()]
    assert kbps(packets) == pytest.approx(bitrate_bps / 1000, rel=0.06)


def test_a_file_is_planned_below_the_coarsest_quality(speech: Float32Array) -> None:
    coded = encode_array(speech, RATE_HZ, 1_000, mode="stream", packet_ms=PACKET_MS)
    packets = [timed.packet for timed in coded.packets]
    assert {packet.quality_index for packet in packets} == {0}
    assert 0.9 < kbps(packets) <= 1.0
    decoded = decode_array(coded)
    assert np.std(decoded) > 0.5 * np.std(speech)


def test_longer_packets_alone_can_save(speech: Float32Array) -> None:
    """Others are what they have always been, whatever they are asked for."""
    with pytest.warns(match="at the least"):
        asked = StreamEncoder(RATE_HZ, 1_000, packet_ms=60).push(speech)
    with pytest.warns(match="at the least"):
        more = StreamEncoder(RATE_HZ, 1_100, packet_ms=60).push(speech)
    assert [packet.payload for packet in asked[-5:]] == [packet.payload for packet in more[-5:]]


def test_two_channels_save_as_one_does(speech: Float32Array) -> None:
    sound = np.stack([np.tile(speech, 3), np.tile(speech, 3)[::-1]], axis=1)
    sound = np.ascontiguousarray(sound)
    encoder = StreamEncoder(RATE_HZ, 2_000, channels=2, packet_ms=PACKET_MS)
    packets = encoder.push(sound)
    spent = 8.0 * sum(len(packet.payload) for packet in packets) / (len(packets) * PACKET_MS / 1_000)
    assert spent < 2_250


def test_constrained_packets_save_nothing_and_say_so() -> None:
    with pytest.warns(match="at the least"):
        StreamEncoder(RATE_HZ, 1_000, packet_ms=PACKET_MS, constrained=True)


def test_rates_that_are_met_are_not_touched(speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the rate of quality index 0 packets are plainly rounded, even where the reservoir is overdrawn."""

    def refused(*_: object) -> Float32Array:
        raise AssertionError("latents were chosen by their cost")

    monkeypatch.setattr(RateDistortionQuantiser, "chosen", refused)
    encoder = StreamEncoder(RATE_HZ, 1_500, packet_ms=PACKET_MS)
    qualities = [packet.quality_index for packet in encoder.push(np.tile(speech, 2))]
    assert min(qualities) == 0


def test_chosen_latents_cost_less_and_are_coded_as_they_are() -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    latents = np.random.default_rng(5).laplace(0.0, 4.0, (6, runtime.model.config.latents)).astype(np.float32)
    rate_distortion, coder = RateDistortionQuantiser(runtime), PacketCoder(runtime)
    context = LatentContext(latents.shape[1])
    plain = coder.cost_bits(latents, 0, context)
    costs, errors = [], []
    for saving in (0.5, 1.0, 2.0):
        chosen = rate_distortion.chosen(latents, 0, saving, context)
        assert not context.values.any()
        costs.append(coder.cost_bits(chosen, 0, context))
        errors.append(float(np.square(chosen - latents).sum()))
        # On the grid: without a price they stay where they are.
        np.testing.assert_array_equal(rate_distortion.chosen(chosen, 0, 0.0, context), chosen)
        assert len(coder.code(chosen, 0, LatentContext(latents.shape[1]))) <= costs[-1] / 8 + 2
    assert plain > costs[0] > costs[1] > costs[2]
    assert errors[0] < errors[1] < errors[2]
