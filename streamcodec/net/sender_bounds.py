"""What one other person may send us: bounds on packets, bytes and work, so that nobody spoils the rest's call."""

from __future__ import annotations

from dataclasses import dataclass

from streamcodec.codec.packet import Tier
from streamcodec.net.relay.rate_limit import RateLimit


@dataclass(frozen=True, slots=True)
class BoundsConfig:
    """Of one sender, in the neural tier and in others. Our own senders stay below a third of it."""

    packets_per_s: float = 200.0
    bytes_per_s: float = 50_000.0
    exact_packets_per_s: float = 600.0
    exact_bytes_per_s: float = 650_000.0
    """Lossless sound of two channels at 96 kHz."""
    burst_s: float = 1.0
    share_of_queue: float = 0.25
    """Of the jobs that may wait for the codec's thread."""


class SenderBounds:
    """Of one other person. ``done`` on the thread that does the work, the rest on the event loop; none waits."""

    def __init__(self, queue_jobs: int, config: BoundsConfig | None = None) -> None:
        config = config or BoundsConfig()
        self._packets = RateLimit(config.packets_per_s, config.packets_per_s * config.burst_s)
        self._bytes = RateLimit(config.bytes_per_s, config.bytes_per_s * config.burst_s)
        self._exact_packets = RateLimit(config.exact_packets_per_s, config.exact_packets_per_s * config.burst_s)
        self._exact_bytes = RateLimit(config.exact_bytes_per_s, config.exact_bytes_per_s * config.burst_s)
        self._most_waiting = max(4, round(config.share_of_queue * queue_jobs))
        # Each is written by one thread alone.
        self._taken = 0
        self._done = 0
        self.refused = 0
        """Datagrams beyond the bounds, thrown away unread."""

    def take(self, size_bytes: int, tier: Tier | None, now_s: float) -> bool:
        """Whether a datagram may be worked on; ``tier`` of the sender's stream, None while it is not known."""
        neural = tier is Tier.NEURAL
        packets, data = (self._packets, self._bytes) if neural else (self._exact_packets, self._exact_bytes)
        allowed = (
            self._taken - self._done < self._most_waiting
            and packets.allow(now_s)
            and data.allow(now_s, float(size_bytes))
        )
        if allowed:
            self._taken += 1
        else:
            self.refused += 1
        return allowed

    def untaken(self) -> None:
        """A datagram that was taken will not be worked on after all."""
        self._taken -= 1

    def done(self) -> None:
        """A datagram that was taken has been worked on."""
        self._done += 1
