"""Reports and congestion control, end to end on a simulated link."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest

from streamcodec.codec.packet import Packet
from streamcodec.errors import BitrateError, PacketError
from streamcodec.net.congestion import CongestionConfig, CongestionController, SendRate
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, JitterStats
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig, LossModel, NoLoss
from streamcodec.net.lossy_link import LinkConfig, LossyLink
from streamcodec.net.report import REPORT_BYTES, ReceiverReport, ReceptionMonitor
from tests.helpers.report import REPORT
from tests.helpers.simulation import packet


def test_a_report_survives_the_wire() -> None:
    data = REPORT.to_bytes()
    assert len(data) == REPORT_BYTES
    assert ReceiverReport.from_bytes(data) == REPORT


def test_values_out_of_range_are_clamped_and_not_wrapped() -> None:
    wild = replace(REPORT, loss=7.0, jitter_ms=1e9, queue_growth_ms_per_s=-1e9, received_bps=1e12, echo_age_ms=10**7)
    back = ReceiverReport.from_bytes(wild.to_bytes())
    assert (back.loss, back.jitter_ms, back.queue_growth_ms_per_s) == (1.0, 6_553.5, -32_768.0)
    assert (back.received_bps, back.echo_age_ms) == (6_553_500.0, 0xFFFF)


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"\x2a" + d[1:], lambda d: b""])
def test_what_is_not_a_report_is_refused(spoil: object) -> None:
    with pytest.raises(PacketError):
        ReceiverReport.from_bytes(spoil(REPORT.to_bytes()))  # type: ignore[operator]


def test_every_single_bit_error_is_noticed() -> None:
    data = REPORT.to_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError):
            ReceiverReport.from_bytes(bytes(damaged))


def test_round_trip_time() -> None:
    made = replace(REPORT, echo_made_ms=0xFFFFFF00, echo_age_ms=100)
    assert made.round_trip_ms(0x100000000 + 10) == 266 - 100
    assert replace(REPORT, echo_age_ms=0xFFFF).round_trip_ms(5.0) is None


def test_a_monitor_counts_loss_bursts_and_reordering() -> None:
    monitor = ReceptionMonitor()
    assert not monitor.due(0.0)
    with pytest.raises(PacketError, match="before the first packet"):
        monitor.report(0.0, JitterStats())
    for index in (0, 1, 4, 5, 7, 6, 8, 11):
        monitor.observe(packet(index), 100, index * FRAME_MS)
    assert not monitor.due(220.0)
    assert monitor.due(720.0)
    report = monitor.report(720.0, JitterStats(played=6, concealed=2))
    assert report.loss == pytest.approx(4 / 12)
    assert report.mean_burst_packets == pytest.approx(4 / 3)
    assert report.concealed == pytest.approx(0.25)
    assert (report.received_packets, report.lost_packets, report.highest_sequence) == (8, 4, 11)
    assert report.received_bps == pytest.approx(8 * 800 / 0.5)


def test_a_monitor_follows_wraps_and_restarts() -> None:
    monitor = ReceptionMonitor()
    for index in range(65_500, 65_600):
        monitor.observe(packet(index), 100, index * FRAME_MS)
    assert monitor.report(1.0, JitterStats()).lost_packets == 0
    for index in range(20_000, 20_010):
        monitor.observe(packet(index), 100, index * FRAME_MS)
    report = monitor.report(2.0, JitterStats())
    assert (report.received_packets, report.lost_packets, report.loss) == (10, 0, 0.0)


@pytest.mark.parametrize(("pause_s", "skipped_s"), [(3.0, 0.0), (900.0, 900.0), (3_600.0, 0.0)])
def test_a_pause_of_the_sender_is_no_queue(pause_s: float, skipped_s: float) -> None:
    """Time stamps wrap in 22 minutes; those of a sender that was asleep stand still."""
    monitor = ReceptionMonitor()
    reports = []
    for index in range(200):
        after = index >= 100
        now_ms = index * FRAME_MS + 1_000.0 * pause_s * after
        sent = packet(index + round(1_000.0 * skipped_s / FRAME_MS) * after, sequence=index)
        monitor.observe(sent, 100, now_ms)
        if monitor.due(now_ms):
            reports.append(monitor.report(now_ms, JitterStats()))
    assert len(reports) >= 6
    for report in reports:
        assert report.queue_ms < 1.0
        assert report.queue_growth_ms_per_s <= 0.0
        assert report.jitter_ms < 1.0
        assert report.loss == 0.0


@dataclass
class Call:
    """One direction of a call on a simulated clock: sender with a controller, link, receiver with a monitor."""

    link: LossyLink
    controller: CongestionController = field(default_factory=lambda: CongestionController(CONFIG))
    feedback: bool = True
    now_ms: float = 0.0
    index: int = 0
    history: list[tuple[float, SendRate, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.monitor = ReceptionMonitor()
        self.buffer = JitterBuffer()

    def run(self, seconds: float) -> None:
        end_ms = self.now_ms + 1_000.0 * seconds
        while self.now_ms < end_ms:
            rate = self.controller.rate
            payload_bytes = rate.bitrate_bps / 400.0 * (1 + rate.redundancy * CONFIG.redundancy_cost)
            out = replace(packet(self.index), payload=bytes(round(payload_bytes)))
            self.link.send(out.to_bytes(), self.now_ms)
            self.index += 1
            self.now_ms += FRAME_MS
            for arrival_ms, datagram in self.link.receive(self.now_ms):
                arrived = Packet.from_bytes(datagram)
                self.monitor.observe(arrived, len(datagram), arrival_ms)
                self.buffer.put(arrived, arrival_ms)
                self.history.append((self.now_ms, rate, arrival_ms - arrived.sequence * FRAME_MS))
            self.buffer.get(self.now_ms)
            if self.feedback and self.monitor.due(self.now_ms):
                report = self.monitor.report(self.now_ms, self.buffer.stats)
                self.controller.on_report(ReceiverReport.from_bytes(report.to_bytes()), self.now_ms)
            self.controller.on_tick(self.now_ms)

    def delays_ms(self, since_ms: float) -> list[float]:
        return [delay for now, _, delay in self.history if now >= since_ms]


CONFIG = CongestionConfig(minimum_bps=2_000, maximum_bps=64_000, start_bps=16_000)


def link(rate_bps: float | None = None, loss: LossModel | None = None, **kwargs: float) -> LossyLink:
    return LossyLink(
        LinkConfig(delay_ms=30.0, rate_bps=rate_bps, queue_ms=1_000.0, **kwargs), loss or NoLoss(), seed=1
    )


def test_a_free_path_is_used_up_to_the_maximum_without_redundancy() -> None:
    call = Call(link(jitter_ms=15.0))
    call.run(40.0)
    assert call.controller.rate == SendRate(64_000, 0)


def test_a_bottleneck_is_found_and_its_queue_kept_short() -> None:
    # 48 kbps, of which 28 + 9 bytes a packet are headers: 33.2 kbps remain for payload.
    call = Call(link(rate_bps=48_000.0))
    call.run(60.0)
    rates = [rate.bitrate_bps for now, rate, _ in call.history if now > 20_000]
    assert 20_000 < sum(rates) / len(rates) < 33_200
    delays = sorted(call.delays_ms(20_000))
    assert delays[len(delays) * 95 // 100] < 30 + 8 + 120
    assert call.link.stats.overflowed == 0


def test_it_backs_off_within_seconds_when_the_path_shrinks_and_returns_when_it_grows() -> None:
    call = Call(link(rate_bps=96_000.0))
    call.run(25.0)
    assert call.controller.rate.bitrate_bps > 40_000
    call.link.config = replace(call.link.config, rate_bps=40_000.0)
    call.run(6.0)
    assert call.controller.rate.bitrate_bps < 26_000
    call.run(4.0)
    assert max(call.delays_ms(call.now_ms - 1_000)) < 250.0
    call.link.config = replace(call.link.config, rate_bps=96_000.0)
    call.run(25.0)
    assert call.controller.rate.bitrate_bps > 40_000


def test_a_lossy_path_gets_redundancy_and_keeps_its_rate() -> None:
    call = Call(link(loss=GilbertElliott(GilbertElliottConfig(0.1, 2.0), seed=3), jitter_ms=10.0))
    call.run(30.0)
    rate = call.controller.rate
    assert rate.redundancy in (2, 3)
    assert rate.ages[-1] == 5
    assert rate.bitrate_bps > 30_000
    call.link.loss = NoLoss()
    call.run(60.0)
    assert call.controller.rate.redundancy == 0


def test_without_feedback_little_is_sent() -> None:
    call = Call(link())
    call.run(5.0)
    call.feedback = False
    call.run(4.0)
    assert call.controller.rate == SendRate(2_000, 0)
    call.feedback = True
    call.run(30.0)
    assert call.controller.rate.bitrate_bps > 15_000


def bursty(loss: float, burst_packets: float = 2.0) -> GilbertElliott:
    return GilbertElliott(GilbertElliottConfig(loss, burst_packets), seed=3)


def test_heavy_loss_that_does_not_follow_the_rate_leaves_it() -> None:
    """A lower rate is tried for a few seconds, once a minute at most."""
    call = Call(link(loss=bursty(0.45)))
    call.run(200.0)
    rates = [rate.bitrate_bps for now, rate, _ in call.history if now > 80_000]
    assert sum(rate < 50_000 for rate in rates) < 0.15 * len(rates)
    assert sorted(rates)[len(rates) // 2] == CONFIG.maximum_bps
    # Much more than was found bearable is another matter.
    call.link.loss = bursty(0.8, 6.0)
    before = call.controller.rate.bitrate_bps
    call.run(12.0)
    assert min(rate.bitrate_bps for now, rate, _ in call.history if now > 200_000) < 0.75 * before


def test_heavy_loss_that_follows_the_rate_lowers_it() -> None:
    """A policer: a queue so short that delay tells nothing."""
    call = Call(link(rate_bps=40_000.0), CongestionController(replace(CONFIG, start_bps=64_000, max_redundancy=0)))
    call.link.config = replace(call.link.config, queue_ms=20.0)
    call.run(15.0)
    # 14.8 kbps of it are headers.
    assert call.controller.rate.bitrate_bps < 50_000
    call.run(60.0)
    rates = [rate.bitrate_bps for now, rate, _ in call.history if now > 30_000]
    assert sum(rates) / len(rates) < 45_000
    sent = call.link.stats.sent
    lost = call.link.stats.overflowed
    call.run(60.0)
    # At the highest rate half would be.
    assert call.link.stats.overflowed - lost < 0.35 * (call.link.stats.sent - sent)


def test_a_queue_that_grows_ends_the_trial() -> None:
    controller = CongestionController(CONFIG)
    quiet = replace(REPORT, queue_ms=0.0, queue_growth_ms_per_s=0.0, loss=0.4)
    for half in range(20):
        controller.on_report(quiet, half * 500.0)
    tried_bps = controller.rate.bitrate_bps
    for half in range(20, 44):
        controller.on_report(replace(quiet, queue_ms=60.0, queue_growth_ms_per_s=20.0), half * 500.0)
    assert controller.rate.bitrate_bps < 0.2 * tried_bps


def test_a_trial_ends_where_reports_stop() -> None:
    """Or its rate of before would come back at once with the first report."""
    controller = CongestionController(replace(CONFIG, start_bps=64_000))
    quiet = replace(REPORT, queue_ms=0.0, queue_growth_ms_per_s=0.0, loss=0.5)
    now_ms = 0.0
    while controller.rate.bitrate_bps > 50_000:
        controller.on_report(quiet, now_ms)
        now_ms += 500.0
    now_ms += 10_000.0
    controller.on_tick(now_ms)
    assert controller.rate.bitrate_bps == CONFIG.minimum_bps
    for _ in range(3):
        now_ms += 500.0
        assert controller.on_report(replace(quiet, loss=0.0), now_ms).bitrate_bps < 4 * CONFIG.minimum_bps


def test_copies_come_at_once_where_nothing_queues_and_cost_the_primaries_nothing() -> None:
    controller = CongestionController(CONFIG)
    lossy = replace(REPORT, queue_ms=0.0, queue_growth_ms_per_s=0.0, loss=0.2, mean_burst_packets=3.0)
    assert controller.on_report(lossy, 0.0).redundancy >= 2
    assert controller.rate.bitrate_bps >= CONFIG.start_bps


def test_redundancy_gives_way_before_the_primaries_do() -> None:
    controller = CongestionController(replace(CONFIG, start_bps=2_200))
    queued = replace(REPORT, queue_ms=40.0, queue_growth_ms_per_s=20.0, loss=0.2, mean_burst_packets=3.0)
    assert controller.rate.bitrate_bps == 2_200
    assert controller.rate.redundancy == len(controller.rate.ages) >= 1
    for second in range(3):
        controller.on_report(queued, 1_000.0 * second)
    assert controller.rate.redundancy == 0
    assert controller.rate.bitrate_bps >= CONFIG.minimum_bps
    assert math.isfinite(controller.rate.bitrate_bps)
    with pytest.raises(BitrateError, match="minimum <= start"):
        CongestionConfig(minimum_bps=9_000)
    with pytest.raises(BitrateError, match="max_redundancy"):
        CongestionConfig(max_redundancy=9)
