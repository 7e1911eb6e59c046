"""How long waiting for redundant copies is worth it: what share of a stream came only with a packet sent later."""

from __future__ import annotations

MEMORY_PACKETS = 500
CARRIED_MEMORY_PACKETS = 50
"""A few packets without copies, after a pause or for want of room, do not end the wait."""
LONGEST_LAG_PACKETS = 15


class RecoveryDelay:
    """Counts how many packet durations late each packet of a stream became playable.

    As long as nothing is known, packets that carry copies are taken for a sign that the sender expects losses: the
    wait covers the oldest copy carried. Some seconds without a loss end that.
    """

    _PRIOR_PACKETS = 50.0
    _PRIOR_LOST = 1.0

    def __init__(self, worth: float) -> None:
        self._worth = worth
        self._total = self._PRIOR_PACKETS
        self._by_lag = [0.0] * (LONGEST_LAG_PACKETS + 1)
        self._reach = 0
        self._since_carried = 0

    @property
    def wait_packets(self) -> int:
        """Packet durations to wait, so that waiting longer would recover less than the share it is worth for."""
        longer = self._PRIOR_LOST if self._reach else 0.0
        for lag in range(self._reach, 0, -1):
            longer += self._by_lag[lag]
            if longer > self._worth * self._total:
                return lag
        return 0

    def carried(self, oldest_packets: int) -> None:
        """A packet came with copies of others, the oldest sent so long before it; 0 for none."""
        self._since_carried += 1
        if oldest_packets >= self._reach or self._since_carried > CARRIED_MEMORY_PACKETS:
            self._reach = min(oldest_packets, LONGEST_LAG_PACKETS)
            self._since_carried = 0

    def observe(self, lag_packets: int) -> None:
        """Something became playable: by its own packet (0), or by a copy in one sent so much later."""
        self._total += 1.0
        self._by_lag[min(lag_packets, LONGEST_LAG_PACKETS)] += 1.0
        if self._total > self._PRIOR_PACKETS + MEMORY_PACKETS:
            kept = 1.0 - 1.0 / (self._PRIOR_PACKETS + MEMORY_PACKETS)
            self._total *= kept
            self._by_lag = [kept * count for count in self._by_lag]
