"""A rate on the wire: kept to, spent well, changed by reports, on a simulated clock."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.errors import BitrateError, StreamcodecError
from streamcodec.net.framing import Framer
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
from streamcodec.net.media import Media, MediaConfig
from streamcodec.net.report import ReceiverReport
from streamcodec.net.wire_rate import (
    OTHER_BPS,
    SendPlan,
    WireRateConfig,
    WireRateController,
    delay_penalty,
    pesq,
)
from tests.helpers.fake_codec import FakeDecoder, FakeEncoder

AROUND_BYTES = 28 + 12 + 10
"""IP, UDP, RTP and tag of an SRTP packet over IPv4."""


def report(loss: float = 0.0, burst: float = 0.0, queue_ms: float = 0.0, growth: float = 0.0) -> ReceiverReport:
    return ReceiverReport(loss, 0.0, burst, 0, 2.0, queue_ms, growth, 40.0, 6_000.0, 0, 0, 0)


def settled(config: WireRateConfig, round_trip_ms: float = 20.0, **told: float) -> SendPlan:
    """The plan after half a minute of the same reports."""
    controller = WireRateController(config)
    for tick in range(60):
        controller.on_report("bob", report(**told), round_trip_ms, 500.0 * tick)
    return controller.plan


def cost_bps(plan: SendPlan) -> float:
    """What a plan comes to, counted independently: headers, payload, copies at a share of its rate, the rest."""
    packets = 1_000 / plan.packet_ms
    redundancy = len(plan.ages)
    copies = plan.copy_share * (1.0, 1.0, 1.8, 2.6)[redundancy] * bool(redundancy)
    return packets * 8 * (AROUND_BYTES + 1 + 2.5 * redundancy) + plan.bitrate_bps * (1 + copies) + OTHER_BPS


@pytest.mark.parametrize("kbps", [8, 10, 13, 16, 20, 24, 28, 36, 44])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.1, 0.2])
def test_plans_come_to_what_was_asked_for(kbps: int, loss: float) -> None:
    plan = settled(WireRateConfig(1_000 * kbps), loss=loss, burst=2.0 * (loss > 0))
    assert cost_bps(plan) <= 1_020 * kbps
    assert plan.bitrate_bps == 24_000 or cost_bps(plan) >= 960 * kbps
    assert plan.wire_bps == pytest.approx(cost_bps(plan), rel=0.01)


def test_thin_wires_get_long_packets_and_lossy_ones_copies() -> None:
    clean = [settled(WireRateConfig(1_000 * kbps)) for kbps in (8, 12, 20, 28, 44, 64)]
    lengths = [plan.packet_ms for plan in clean]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (120, 20)
    assert all(not plan.ages for plan in clean)
    lossy = settled(WireRateConfig(24_000), loss=0.1, burst=2.0)
    assert lossy.ages
    assert lossy.bitrate_bps < settled(WireRateConfig(24_000)).bitrate_bps


def test_a_long_way_makes_packets_shorter() -> None:
    near, far = (settled(WireRateConfig(17_000), round_trip_ms) for round_trip_ms in (20.0, 300.0))
    assert far.packet_ms < near.packet_ms


def changes_of_length(plans: list[SendPlan]) -> int:
    return sum(one.packet_ms != other.packet_ms for one, other in pairwise(plans))


@pytest.mark.parametrize("kbps", range(8, 30, 2))
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_a_call_keeps_the_length_that_it_starts_with(kbps: int, loss: float) -> None:
    """Reports of the first seconds: the rate's usual length is right whether they tell of losses or not."""
    controller = WireRateController(WireRateConfig(1_000 * kbps))
    controller.on_voice(True)
    told = report(loss, 2.0 * (loss > 0))
    later = [controller.on_report("bob", told, 60.0 + 40.0 / tick, 500.0 * tick) for tick in range(1, 20)]
    assert changes_of_length([WireRateController(controller.config).plan, *later]) == 0


@pytest.mark.parametrize(("pause_ms", "changed_ms"), [(0.0, 4_000.0), (7_000.0, 7_000.0), (float("inf"), 11_000.0)])
def test_another_length_waits_for_a_pause_but_not_for_ever(pause_ms: float, changed_ms: float) -> None:
    """A way that turns out to lose much asks for shorter packets, with copies."""
    controller = WireRateController(WireRateConfig(16_000))
    plans = [controller.plan]
    for tick in range(1, 50):
        controller.on_voice(500.0 * tick < pause_ms)
        told = report(0.2, 2.0 * controller.plan.packet_ms / 20)
        plans.append(controller.on_report("bob", told, 20.0, 500.0 * tick))
    assert changes_of_length(plans) == 1
    changed = next(tick for tick in range(1, 50) if plans[tick].packet_ms != plans[0].packet_ms)
    assert plans[changed].packet_ms < plans[0].packet_ms
    assert 500.0 * changed == pytest.approx(changed_ms, abs=1_600.0)


def test_what_is_pinned_stays() -> None:
    for config in (
        WireRateConfig(20_000, packet_ms=20),
        WireRateConfig(20_000, bitrate_bps=6_000),
        WireRateConfig(30_000, redundancy=2),
    ):
        plan = settled(config, loss=0.1, burst=2.0)
        assert config.packet_ms in (None, plan.packet_ms)
        assert config.bitrate_bps in (None, plan.bitrate_bps)
        assert config.redundancy in (None, len(plan.ages))


def test_several_listeners_share_the_rate() -> None:
    controller = WireRateController(WireRateConfig(40_000))
    alone = controller.plan
    controller.on_paths(3, 0, 0, 0.0)
    plan = controller.on_tick(10_000.0)
    assert plan.wire_bps <= 41_000
    assert plan.bitrate_bps < alone.bitrate_bps
    assert 3 * cost_bps(plan) == pytest.approx(plan.wire_bps, rel=0.02)


@pytest.mark.parametrize("kbps", [40, 80])
@pytest.mark.parametrize("forged", [{"queue_ms": 6_000.0, "growth": 30_000.0}, {"loss": 1.0, "burst": 31.0}])
def test_forged_reports_of_one_listener_cost_the_others_half_at_most(kbps: int, forged: dict[str, float]) -> None:
    def plan_after(**told: float) -> SendPlan:
        controller = WireRateController(WireRateConfig(1_000 * kbps))
        for tick in range(120):
            for listener in ("bob", "cid"):
                controller.on_report(listener, report(), 60.0, 500.0 * tick)
            controller.on_report("eve", report(**told), 1e9 if told else 60.0, 500.0 * tick)
        return controller.plan

    honest, plan = plan_after(), plan_after(**forged)
    assert plan.wire_bps >= 0.5 * min(honest.wire_bps, 1_000 * kbps)
    assert plan.packet_ms <= 100
    assert plan.bitrate_bps > 5_000


def test_the_relay_and_its_seal_are_reckoned_with() -> None:
    controller = WireRateController(WireRateConfig(24_000))
    direct = controller.plan
    relayed = controller.on_paths(0, 1, 0, 0.0)
    sealed = controller.on_paths(0, 1, 29, 10_000.0)
    for plan, header_bytes in ((direct, 51), (relayed, 84), (sealed, 113)):
        packets = 1_000 / plan.packet_ms
        cost = cost_bps(plan) + 8 * packets * (header_bytes - AROUND_BYTES - 1)
        assert cost == pytest.approx(plan.wire_bps, rel=0.01)
        assert cost <= 24_500
    assert sealed.packet_ms >= relayed.packet_ms >= direct.packet_ms


def test_growing_delay_lowers_the_wire_rate_and_calm_raises_it_again() -> None:
    controller = WireRateController(WireRateConfig(30_000))
    for tick in range(10):
        controller.on_report("bob", report(queue_ms=60.0 + 20 * tick, growth=40.0), 50.0, 500.0 * tick)
    low = controller.plan
    assert low.wire_bps < 20_000
    for tick in range(10, 80):
        controller.on_report("bob", report(), 50.0, 500.0 * tick)
    assert controller.plan.wire_bps > 28_000


def test_a_silent_receiver_is_a_path_that_is_stuck() -> None:
    controller = WireRateController(WireRateConfig(30_000))
    controller.on_report("bob", report(), 50.0, 0.0)
    controller.on_tick(5_000.0)
    assert controller.plan.wire_bps < 8_000
    controller.forget("bob")
    assert controller.on_tick(6_000.0).wire_bps > 28_000


def test_what_the_wire_was_seen_to_carry_corrects_the_plan() -> None:
    """An encoder that overshoots, or headers that nobody knew of: a tenth too much."""
    controller = WireRateController(WireRateConfig(20_000, packet_ms=40, redundancy=0))
    for second in range(60):
        controller.on_tick(1_000.0 * second)
        controller.on_wire(1.1 * controller.plan.wire_bps, 1_000.0 * second)
    assert 1.1 * controller.plan.wire_bps == pytest.approx(20_000, rel=0.03)


def test_lengths_do_not_flap() -> None:
    """Loss that comes and goes every second changes the length of packets seldom."""
    controller = WireRateController(WireRateConfig(20_000))
    lengths = []
    for tick in range(240):
        loss = 0.15 if tick % 4 < 2 else 0.0
        lengths.append(controller.on_report("bob", report(loss, 2.0), 50.0, 500.0 * tick).packet_ms)
    changes = sum(one != other for one, other in pairwise(lengths))
    assert changes <= 4


def test_the_judge_is_monotonic() -> None:
    rates = np.linspace(1.0, 30.0, 60)
    assert np.all(np.diff([pesq(rate, 0.0) for rate in rates]) >= 0)
    assert np.all(np.diff([pesq(6.0, loss) for loss in np.linspace(0, 0.5, 20)]) < 0)
    assert np.all(np.diff([delay_penalty(delay) for delay in np.linspace(0, 500, 50)]) > 0)
    assert pesq(6.0, 0.0) == pytest.approx(3.0)
    assert pesq(6.0, 0.05) == pytest.approx(2.1, abs=0.1)


def test_rates_that_no_call_fits_in_are_refused() -> None:
    with pytest.raises(BitrateError, match="7 to 200 kbps"):
        WireRateConfig(3_000)
    with pytest.raises(BitrateError, match="20, 40"):
        WireRateConfig(20_000, packet_ms=30)
    with pytest.raises(StreamcodecError, match="set_packet_ms"):
        Media(MediaConfig(wire=WireRateConfig(20_000)), FakeEncoder(), FakeDecoder)


def simulate(wire_kbps: int, loss: float, speech: np.ndarray[Any, Any], seconds: float) -> dict[str, Any]:
    """A speaker and a listener with the real codec over a line that loses packets; the wire counted as SRTP."""
    config = WireRateConfig(1_000 * wire_kbps)
    encoder = StreamEncoder(24_000)
    speaker = Media(MediaConfig(wire=config), encoder, lambda: StreamDecoder(24_000), encoder.encode_redundant)
    deaf = StreamEncoder(24_000)
    listener = Media(MediaConfig(), deaf, lambda: StreamDecoder(24_000))
    speaker.come("listener")
    listener.come("speaker")
    line = GilbertElliott(GilbertElliottConfig(loss, 2.0), 1) if loss else None
    framer = Framer(numbered=True)
    wire: list[tuple[float, int]] = []
    played = []
    for tick in range(round(100 * seconds)):
        now_ms = 10.0 * tick
        at = 240 * tick % (len(speech) - 240)
        for datagram in speaker.push(speech[at : at + 240]):
            wire.append((now_ms, AROUND_BYTES + len(framer.frame(datagram))))
            if line is None or not line.lost():
                listener.receive("speaker", datagram, now_ms + 20.0)
        played.append(listener.pull(now_ms, 240))
        if tick % 10 == 0:
            speaker.tick(now_ms)
            for _, back in listener.tick(now_ms):
                speaker.receive("listener", back, now_ms + 20.0)
        if tick % 100 == 0:
            sent = sum(size for when_ms, size in wire if now_ms - when_ms < 3_000.0)
            speaker.note_wire(8 * sent / min(3.0, max(1.0, now_ms / 1_000)) + OTHER_BPS, now_ms)
    half_ms = 500.0 * seconds
    late = sum(size for when_ms, size in wire if when_ms >= half_ms)
    return {
        "wire_kbps": 8 * late / half_ms + OTHER_BPS / 1_000,
        "plan": speaker.stats.plan,
        "stats": listener.stats.receivers["speaker"],
        "played": np.concatenate(played),
    }


@pytest.mark.parametrize(("wire_kbps", "loss"), [(12, 0.0), (24, 0.1)])
def test_a_call_keeps_to_its_rate_and_nothing_is_lost_at_changes(
    wire_kbps: int, loss: float, speech: np.ndarray[Any, Any]
) -> None:
    result = simulate(wire_kbps, loss, speech, 20.0)
    assert result["wire_kbps"] == pytest.approx(wire_kbps, rel=0.06)
    stats = result["stats"]
    if not loss:
        assert stats.jitter.lost == 0
        # Longer packets ask for a deeper buffer, which is concealed or stretched over once.
        assert stats.jitter.concealed <= 12
    else:
        assert result["plan"].ages
        assert stats.jitter.concealed < 0.06 * (stats.jitter.played + stats.jitter.recovered)
