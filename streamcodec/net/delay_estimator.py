"""Where the playout delay is decided: a quantile of recent network delay is the target, spikes and drift kept apart.

The quantile of a sliding window follows Moon, Kurose and Towsley, "Packet audio playout delay adjustment" (1998); the
separate treatment of delay spikes follows Ramjee et al., "Adaptive playout mechanisms" (1994): a spike raises
the target at once and is forgotten soon after, unless spikes keep coming. Drift (a clock that is off, a sender that
cannot keep up) is taken out before: see :class:`~streamcodec.net.drift.DriftEstimator`. To the delay of packets comes
what waiting for redundant copies recovers: see :class:`~streamcodec.net.recovery.RecoveryDelay`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

from streamcodec.codec.options import check_fields, check_whole
from streamcodec.errors import StreamcodecError
from streamcodec.net.drift import DriftEstimator
from streamcodec.net.recovery import RecoveryDelay


@dataclass(frozen=True, slots=True)
class DelayConfig:
    """Bounds and memory of the target, times in milliseconds. Errors: StreamcodecError for what is out of range."""

    minimum_ms: float = 12.0
    maximum_ms: float = 1_000.0
    initial_ms: float = 30.0
    quantile: float = 0.99
    margin_ms: float = 6.0
    carrier_quantile: float = 0.9
    """Of packets that bring copies of lost ones: few are both."""
    worth: float = 0.004
    """Share of a stream that waiting a packet longer for copies must recover."""
    longest_wait_ms: float = 120.0
    """Copies that come later than this after their originals are not waited for: senders keep to 100 ms, or to the
    next packet if that is longer."""
    window_packets: int = 200
    window_ms: float = 6_000.0
    spike_ms: float = 40.0
    """A packet this much (or as much again, if more) above the quantile starts a spike."""
    spike_hold_ms: float = 300.0
    spike_longest_ms: float = 1_000.0
    """A spike that lasts longer is a lasting change of delay: the window starts afresh."""
    spike_memory_ms: float = 10_000.0
    spike_recurrence: int = 3
    """This many spikes in memory keep the target at the highest of them."""

    def __post_init__(self) -> None:
        check_fields(self, StreamcodecError)
        if not 0 < self.minimum_ms <= self.initial_ms <= self.maximum_ms:
            raise StreamcodecError(
                f"delay bounds must satisfy 0 < minimum <= initial <= maximum, "
                f"got {self.minimum_ms}, {self.initial_ms}, {self.maximum_ms}"
            )
        if not 0.5 <= self.quantile < 1.0:
            raise StreamcodecError(f"quantile must be at least 0.5 and below 1, got {self.quantile}")
        if self.carrier_quantile >= 1.0:
            raise StreamcodecError(f"carrier_quantile must be below 1, got {self.carrier_quantile}")
        if self.worth > 1.0:
            raise StreamcodecError(f"worth must be at most 1, got {self.worth}")
        for name, least in (("window_packets", 8), ("spike_recurrence", 1)):
            whole = check_whole(name, getattr(self, name), StreamcodecError)
            if whole < least:
                raise StreamcodecError(f"{name} must be at least {least}, got {whole}")
            object.__setattr__(self, name, whole)


class DelayEstimator:
    """Watches transit times (arrival minus media time, any constant offset) and answers with a target delay.

    Delays are relative to the fastest packet in the window, drift taken out, so neither the clocks' offset nor their
    speed matters.
    """

    _SETTLED_PACKETS = 16
    _DOUBT_MS = 100.0

    def __init__(self, config: DelayConfig) -> None:
        self._config = config
        self.recovery = RecoveryDelay(config.worth)
        self._drift = DriftEstimator()
        self._window: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []
        self._quantile_ms = config.initial_ms
        self._carrier_ms = 0.0
        self._floor_ms = config.initial_ms
        # The quantile as it was before the last few packets: a spike must not raise the bar it is measured against.
        self._calm_ms = config.initial_ms
        self._doubtful: deque[tuple[float, float]] = deque(maxlen=64)
        self._in_spike: list[tuple[float, float]] = []
        self._spike_peak_ms = 0.0
        self._spikes: deque[tuple[float, float]] = deque(maxlen=16)

    def base_ms(self, now_ms: float) -> float:
        """Transit time that the fastest packet remembered would have now."""
        return self._sorted[0] + self._drift.offset_ms(now_ms) if self._sorted else 0.0

    @property
    def drift(self) -> float:
        """Growth of transit times in ms per ms."""
        return self._drift.slope

    @property
    def count(self) -> int:
        """Packets in the window."""
        return len(self._window)

    def observe(self, transit_ms: float, arrival_ms: float) -> None:
        """Take the transit time of a packet that came by itself.

        Delays above the usual count only after a moment without a spike: what a stall held back comes in a burst and
        out of order, in part before the spike is noticed or after its end.
        """
        self._drift.observe(transit_ms, arrival_ms)
        transit_ms -= self._drift.offset_ms(arrival_ms)
        relative_ms = transit_ms - (self._sorted[0] if self._sorted else 0.0)
        limit_ms = self._calm_ms + max(self._config.spike_ms, self._calm_ms)
        settled = len(self._window) >= self._SETTLED_PACKETS
        if self._in_spike:
            self._continue_spike(transit_ms, relative_ms, arrival_ms)
        elif settled and relative_ms > limit_ms:
            self._doubtful.clear()
            self._in_spike.append((arrival_ms, transit_ms))
            self._spike_peak_ms = relative_ms
        elif settled and relative_ms > self._calm_ms:
            if not self._spikes or arrival_ms - self._spikes[-1][0] > self._DOUBT_MS:
                self._doubtful.append((arrival_ms, transit_ms))
        else:
            self._insert(arrival_ms, transit_ms)
        while self._doubtful and arrival_ms - self._doubtful[0][0] > self._DOUBT_MS:
            self._insert(*self._doubtful.popleft())
        self._update()

    def target_ms(self, now_ms: float, packet_ms: float) -> float:
        """Delay to play at, counted from the arrival of the fastest packets, within the configured bounds."""
        config = self._config
        while self._spikes and now_ms - self._spikes[0][0] > config.spike_memory_ms:
            self._spikes.popleft()
        wait_ms = min(self.recovery.wait_packets * packet_ms, config.longest_wait_ms)
        # Few packets are both lost and in need of the margin.
        wanted_ms = max(self._quantile_ms, self._carrier_ms + wait_ms - config.margin_ms if wait_ms else 0.0)
        if self._in_spike:
            wanted_ms = max(wanted_ms, self._spike_peak_ms)
        if len(self._spikes) >= config.spike_recurrence:
            wanted_ms = max(wanted_ms, max(peak_ms for _, peak_ms in self._spikes))
        elif self._spikes and now_ms - self._spikes[-1][0] < config.spike_hold_ms:
            wanted_ms = max(wanted_ms, self._spikes[-1][1])
        return min(max(wanted_ms + config.margin_ms, config.minimum_ms), config.maximum_ms)

    def _continue_spike(self, transit_ms: float, relative_ms: float, arrival_ms: float) -> None:
        config = self._config
        start_ms = self._in_spike[0][0]
        if relative_ms <= self._calm_ms + config.spike_ms / 2:
            self._remember_spike(arrival_ms)
            self._in_spike.clear()
            if relative_ms <= self._calm_ms:
                self._insert(arrival_ms, transit_ms)
        elif arrival_ms - start_ms > config.spike_longest_ms:
            self._window.clear()
            self._sorted.clear()
            for old_arrival_ms, old_transit_ms in self._in_spike[-config.window_packets :]:
                self._insert(old_arrival_ms, old_transit_ms)
            self._insert(arrival_ms, transit_ms)
            self._in_spike.clear()
        else:
            self._spike_peak_ms = max(self._spike_peak_ms, relative_ms)
            self._in_spike.append((arrival_ms, transit_ms))
            del self._in_spike[1 : -config.window_packets]

    def _remember_spike(self, end_ms: float) -> None:
        """Merge with the spike before if close: one stall comes in as a burst, out of order."""
        peak_ms = self._spike_peak_ms
        if self._spikes and end_ms - self._spikes[-1][0] < self._config.spike_longest_ms:
            peak_ms = max(peak_ms, self._spikes.pop()[1])
        self._spikes.append((end_ms, peak_ms))

    def _insert(self, arrival_ms: float, transit_ms: float) -> None:
        config = self._config
        if self._window and arrival_ms - self._window[-1][0] > config.window_ms:
            self._floor_ms = self._quantile_ms
        while self._window and (
            len(self._window) >= config.window_packets or arrival_ms - self._window[0][0] > config.window_ms
        ):
            _, old_transit_ms = self._window.popleft()
            del self._sorted[bisect_left(self._sorted, old_transit_ms)]
        self._window.append((arrival_ms, transit_ms))
        insort(self._sorted, transit_ms)

    def _update(self) -> None:
        if not self._sorted:
            return
        count = len(self._sorted)
        index = min(count - 1, int(self._config.quantile * count))
        quantile_ms = self._sorted[index] - self._sorted[0]
        if count < self._SETTLED_PACKETS:
            quantile_ms = max(quantile_ms, self._floor_ms)
        self._quantile_ms = quantile_ms
        self._carrier_ms = self._sorted[int(self._config.carrier_quantile * count)] - self._sorted[0]
        self._calm_ms += (quantile_ms - self._calm_ms) / (64 if quantile_ms > self._calm_ms else 8)
