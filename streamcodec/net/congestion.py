"""How much to send and how redundantly, from receiver reports: growing delay means congestion, loss alone does not.

Delay governs the rate (additive growth, multiplicative retreat, as in LEDBAT, RFC 6817, and Google's congestion
control); loss without delay is taken for a lossy path and answered with redundancy. Where it is heavy it may still be
congestion, of a queue too short to show in the delay (a policer): then it follows the rate, which is tried out. Less
is sent for some seconds; if as much is lost as before, the rate is not to blame and comes back. Redundancy is there
from the first packet on, since nobody knows the path yet, and goes when the path has shown that it loses nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streamcodec.codec.options import check_fields
from streamcodec.codec.packet import MAX_REDUNDANT
from streamcodec.errors import BitrateError
from streamcodec.net import copy_plan
from streamcodec.net.jitter_types import FRAME_MS
from streamcodec.net.report import ReceiverReport

RECENT_REPORTS = 8
"""What a lower rate is compared with: these reports before it."""


@dataclass(frozen=True, slots=True)
class CongestionConfig:
    """Bounds and thresholds."""

    minimum_bps: int = 1_500
    maximum_bps: int = 12_000
    start_bps: int = 6_000
    max_redundancy: int = 4
    redundancy_cost: float = 0.6
    """Size of a coarser copy relative to its packet, with what frames it."""
    copy_worth: float = 0.004
    """Share of packets that a further copy in each must save from being lost."""
    expected_loss: float = 0.1
    """What a path is taken to lose before it has been reported on: redundancy to begin with."""
    packet_ms: float = 20.0
    """Duration of the packets sent: what a copy that comes a packet later costs in delay."""
    queue_ms: float = 30.0
    """Queueing delay above which growing delay is congestion."""
    growth_ms_per_s: float = 10.0
    full_queue_ms: float = 120.0
    """Queueing delay that is congestion unless it shrinks."""
    heavy_loss: float = 0.3
    """Loss, averaged over some seconds, above which a lower rate is tried whatever the delay."""
    trial_ms: float = 5_000.0
    """How long the lower rate is tried, after ``hold_ms``."""
    excused_ms: float = 60_000.0
    """After a trial that did not help, no other one for this long, unless more is lost than then; after one that did,
    the lower rate is not exceeded for this long."""
    excused_more: float = 0.1
    """More than this."""
    retreat: float = 0.7
    advance_per_s: float = 0.08
    hold_ms: float = 1_000.0
    """After a retreat, wait this long for its effect."""
    feedback_timeout_ms: float = 2_500.0
    less_redundancy_after_ms: float = 5_000.0

    def __post_init__(self) -> None:
        check_fields(self, BitrateError)
        if not 0 < self.minimum_bps <= self.start_bps <= self.maximum_bps:
            raise BitrateError(
                f"bitrates must satisfy 0 < minimum <= start <= maximum, "
                f"got {self.minimum_bps}, {self.start_bps}, {self.maximum_bps}"
            )
        if not 0 <= self.max_redundancy <= MAX_REDUNDANT:
            raise BitrateError(f"max_redundancy must be 0 to {MAX_REDUNDANT}, got {self.max_redundancy}")
        if not 0.0 <= self.expected_loss < 1.0:
            raise BitrateError(f"expected_loss must be at least 0 and below 1, got {self.expected_loss}")


@dataclass(frozen=True, slots=True)
class SendRate:
    """What the sender should do: payload bits per second of the primaries, and copies of earlier packets in each."""

    bitrate_bps: int
    redundancy: int
    ages: tuple[int, ...] = ()
    """Of which packets: how many packets ago they were sent, ascending."""


@dataclass(slots=True)
class _Trial:
    """A lower rate for a while, where much is lost."""

    begun_ms: float
    loss: float
    """Before."""
    budget_bps: float
    """What to come back to if the rate is not to blame."""
    lost: float = 0.0
    reports: int = 0


class CongestionController:
    """Feed it reports and the time; read :attr:`rate`. Times are milliseconds of the sender's own clock."""

    def __init__(self, config: CongestionConfig | None = None) -> None:
        self.config = config or CongestionConfig()
        self._loss = self.config.expected_loss
        self._burst_packets = copy_plan.USUAL_BURST_PACKETS
        self._ages = self._wanted()
        # The copies to begin with come on top: so small a stream hurts no path, and delay would tell within a second.
        self._budget_bps = float(self.config.start_bps) * self._share(len(self._ages))
        self._fewer_since_ms: float | None = None
        self._mean_loss = 0.0
        self._last_report_ms: float | None = None
        self._last_retreat_ms = float("-inf")
        self._starved = False
        self._losses: deque[float] = deque(maxlen=RECENT_REPORTS)
        self._trial: _Trial | None = None
        self._excused_loss, self._excused_until_ms = 0.0, float("-inf")
        self._ceiling_bps, self._ceiling_until_ms = float("inf"), float("-inf")

    @property
    def rate(self) -> SendRate:
        """The budget, split between primaries and copies; redundancy gives way before the primaries do."""
        config = self.config
        ages = self._ages
        while ages and self._budget_bps / self._share(len(ages)) < config.minimum_bps:
            ages = ages[:-1]
        bitrate_bps = self._budget_bps / self._share(len(ages))
        return SendRate(round(min(max(bitrate_bps, config.minimum_bps), config.maximum_bps)), len(ages), ages)

    def _share(self, redundancy: int) -> float:
        return 1.0 + redundancy * self.config.redundancy_cost

    def on_report(self, report: ReceiverReport, now_ms: float) -> SendRate:
        """Take a report that arrived at ``now_ms``; returns the new rate."""
        elapsed_ms = 500.0 if self._last_report_ms is None else min(now_ms - self._last_report_ms, 2_000.0)
        self._last_report_ms = now_ms
        self._starved = False
        # Up at once, down slowly: a burst now is likely followed by another.
        weight = 0.5 if report.loss > self._loss else 0.1
        self._loss += weight * (report.loss - self._loss)
        self._mean_loss += 0.1 * (report.loss - self._mean_loss)
        self._losses.append(report.loss)
        if report.mean_burst_packets >= 1.0:
            # Reports count frames, of which a lost packet takes all.
            lost_packets = max(1.0, report.mean_burst_packets * FRAME_MS / self.config.packet_ms)
            self._burst_packets += 0.2 * (lost_packets - self._burst_packets)
        before = len(self._ages)
        self._choose_ages(now_ms)
        if len(self._ages) > before and report.queue_ms < self.config.queue_ms:
            # Copies are small beside a datagram's headers, so where nothing queues they need not be saved up for.
            self._budget_bps *= self._share(len(self._ages)) / self._share(before)
        if self._congested(report):
            self._trial = None
            self._retreat(now_ms, self.config.retreat)
        elif self._trial is not None:
            self._try_on(self._trial, report.loss, now_ms)
        elif self._mean_loss > self._bearable_loss(now_ms):
            self._try(sum(self._losses) / len(self._losses), self._budget_bps, now_ms)
        elif report.queue_ms < self.config.queue_ms and now_ms - self._last_retreat_ms > self.config.hold_ms:
            self._budget_bps *= 1.0 + self.config.advance_per_s * elapsed_ms / 1_000.0
        if now_ms < self._ceiling_until_ms:
            self._budget_bps = min(self._budget_bps, self._ceiling_bps)
        self._bound()
        return self.rate

    def on_tick(self, now_ms: float) -> SendRate:
        """Call now and then: without reports for long, the rate falls to the minimum and redundancy stops."""
        last_ms = self._last_report_ms
        if last_ms is not None and not self._starved and now_ms - last_ms > self.config.feedback_timeout_ms:
            self._starved = True
            self._budget_bps = float(self.config.minimum_bps)
            self._ages = ()
            self._trial = None
        return self.rate

    def _congested(self, report: ReceiverReport) -> bool:
        config = self.config
        growing = report.queue_ms > config.queue_ms and report.queue_growth_ms_per_s > config.growth_ms_per_s
        return growing or (report.queue_ms > config.full_queue_ms and report.queue_growth_ms_per_s >= 0.0)

    def _retreat(self, now_ms: float, factor: float) -> None:
        if now_ms - self._last_retreat_ms >= self.config.hold_ms:
            self._last_retreat_ms = now_ms
            self._budget_bps *= factor

    def _bearable_loss(self, now_ms: float) -> float:
        excused = self._excused_loss if now_ms < self._excused_until_ms else 0.0
        return max(self.config.heavy_loss, excused)

    def _try(self, loss: float, budget_bps: float, now_ms: float) -> None:
        self._trial = _Trial(now_ms, loss, budget_bps)
        self._last_retreat_ms = now_ms
        self._budget_bps *= self.config.retreat

    def _try_on(self, trial: _Trial, loss: float, now_ms: float) -> None:
        """Whether a lower rate has helped: of what a full link loses, all that is sent less would get through."""
        config = self.config
        elapsed_ms = now_ms - trial.begun_ms
        if elapsed_ms < config.hold_ms:
            return
        trial.lost += loss
        trial.reports += 1
        if elapsed_ms < config.hold_ms + config.trial_ms:
            return
        now_lost = trial.lost / trial.reports
        if_full = max(0.0, 1.0 - (1.0 - trial.loss) / config.retreat)
        self._trial = None
        self._mean_loss = now_lost
        if now_lost > 0.5 * (trial.loss + if_full):
            self._budget_bps = trial.budget_bps
            self._excused_loss = max(now_lost, trial.loss) + config.excused_more
            self._excused_until_ms = now_ms + config.excused_ms
        elif now_lost > config.heavy_loss:
            self._try(now_lost, trial.budget_bps, now_ms)
        else:
            self._ceiling_bps, self._ceiling_until_ms = self._budget_bps, now_ms + config.excused_ms

    def _bound(self) -> None:
        config = self.config
        highest_bps = config.maximum_bps * self._share(len(self._ages))
        self._budget_bps = min(max(self._budget_bps, float(config.minimum_bps)), highest_bps)

    def _wanted(self) -> tuple[int, ...]:
        config = self.config
        return copy_plan.plan(
            self._loss, self._burst_packets, config.packet_ms, config.max_redundancy, config.copy_worth
        )

    def _choose_ages(self, now_ms: float) -> None:
        """What :func:`~streamcodec.net.copy_plan.plan` says; more copies at once, fewer only after a while."""
        wanted = self._wanted()
        if len(wanted) >= len(self._ages):
            self._ages = wanted
            self._fewer_since_ms = None
        elif self._fewer_since_ms is None:
            self._fewer_since_ms = now_ms
        elif now_ms - self._fewer_since_ms >= self.config.less_redundancy_after_ms:
            self._ages = wanted
            self._fewer_since_ms = now_ms
