"""Everything of a call between sound and datagrams: one sender, a receiver for each peer, and the mixer.

No socket, thread or clock lives here. :class:`~streamcodec.net.call.Call` runs it on the codec's thread; a test may
run it on a simulated clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from streamcodec.codec.audio_format import FiniteSamples
from streamcodec.errors import StreamcodecError
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.jitter_types import JitterConfig
from streamcodec.net.mixer import Mixer
from streamcodec.net.playout import Decoder
from streamcodec.net.redundancy import RedundantForm
from streamcodec.net.session import Encoder, MediaReceiver, MediaSender, ReceiverStats, SenderStats
from streamcodec.net.time_scale import Samples
from streamcodec.net.voice_activity import VoiceActivityDetector
from streamcodec.net.wire_rate import SendPlan, WireRateConfig
from streamcodec.net.wire_sender import AdjustableEncoder, WireRateSender

SHORTEST_REPORT_INTERVAL_MS = 150.0
"""Reports come twice a second; what comes more often from one person is ignored."""
OURSELVES = ""
"""Stands for our own voice where a peer's identity would stand."""


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What the sound is like, how fast it is sent and how it is played."""

    sample_rate_hz: int = 24_000
    channels: int = 1
    """Both of what is played; what is sent is as the encoder takes it."""
    spoken_rate_hz: int | None = None
    """Of what is pushed, where that is another."""
    congestion: CongestionConfig | None = field(default_factory=CongestionConfig)
    """None leaves the rate to the encoder."""
    jitter: JitterConfig = field(default_factory=JitterConfig)
    redundancy: int | None = None
    """Redundant copies in each packet; None follows the receivers' reports."""
    wire: WireRateConfig | None = None
    """A rate on the wire to keep to, in place of ``congestion`` and ``redundancy``."""


@dataclass(frozen=True, slots=True)
class MediaStats:
    """A snapshot that no longer changes."""

    sender: SenderStats
    receivers: dict[str, ReceiverStats]
    round_trips_ms: dict[str, float]
    level_rms: float
    """Of our own voice, as it is sent."""
    plan: SendPlan | None = None
    """How the rate on the wire is spent, where one is kept to."""
    not_finite: int = 0
    """Samples pushed that were NaN or infinite."""


class Media:
    """Times are milliseconds of one monotonic clock of the caller's."""

    def __init__(
        self,
        config: MediaConfig,
        encoder: Encoder,
        make_decoder: Callable[[], Decoder],
        encode_redundant: RedundantForm | None = None,
    ) -> None:
        self._config = config
        self._make_decoder = make_decoder
        self._sender = _sender(config, encoder, encode_redundant)
        self._receivers: dict[str, MediaReceiver] = {}
        self._mixer = Mixer(config.sample_rate_hz, config.channels)
        self._voice_activity = VoiceActivityDetector(config.spoken_rate_hz or config.sample_rate_hz)
        self._finite = FiniteSamples()
        self._talking: frozenset[str] = frozenset()
        self._report_ms: dict[str, float] = {}

    @property
    def stats(self) -> MediaStats:
        """A frozen snapshot."""
        receivers = {identity: receiver.stats for identity, receiver in self._receivers.items()}
        plan = self._sender.plan if isinstance(self._sender, WireRateSender) else None
        return MediaStats(
            self._sender.stats,
            receivers,
            self._sender.round_trips_ms,
            self._voice_activity.level_rms,
            plan,
            self._finite.count,
        )

    def push(self, samples: Samples, *, muted: bool = False, counted: bool = True) -> list[bytes]:
        """Datagrams of the packets that these samples complete; of silence in their place while ``muted``.

        They are not ``counted`` where nobody will get them.

        NaN and infinities are cleaned, counted and told once: see :class:`~streamcodec.StreamEncoder`.

        Shape: ``[n]`` or ``[n, channels]``, as the encoder takes them.
        """
        if muted:
            samples = np.zeros_like(samples)
        samples = self._finite.clean(samples)
        changed = self._voice_activity.hear(samples)
        if changed and isinstance(self._sender, WireRateSender):
            self._sender.note_voice(self._voice_activity.talking)
        return self._sender.push(samples, counted=counted)

    def pause(self, pause_ms: float) -> None:
        """For so long nothing was pushed: what comes next is so much later than what came before."""
        self._sender.pause(pause_ms)

    def flush(self, *, counted: bool = True) -> list[bytes]:
        """Datagrams of what is still inside the encoder."""
        return self._sender.flush(counted=counted)

    def come(self, identity: str) -> None:
        """Called when a peer has come."""
        self._receivers[identity] = MediaReceiver(
            self._make_decoder(), self._config.sample_rate_hz, self._config.jitter, self._config.channels
        )

    def leave(self, identity: str) -> None:
        """Called when a peer has left."""
        self._receivers.pop(identity, None)
        self._report_ms.pop(identity, None)
        self._sender.forget(identity)

    def receive(self, identity: str, datagram: bytes, now_ms: float) -> None:
        """Take a datagram of a peer's; those of others are ignored."""
        receiver = self._receivers.get(identity)
        if receiver is None:
            return
        report = receiver.receive(datagram, now_ms)
        if report is not None:
            if now_ms - self._report_ms.get(identity, float("-inf")) < SHORTEST_REPORT_INTERVAL_MS:
                return
            self._report_ms[identity] = now_ms
            self._sender.hear_report(identity, report, now_ms)

    def pull(self, now_ms: float, count_samples: int) -> Samples:
        """Everyone, mixed.

        Shape: ``[count]``, or ``[count, channels]`` for more than one.
        """
        blocks = [receiver.pull(now_ms, count_samples) for receiver in self._receivers.values()]
        return self._mixer.mix(blocks, count_samples)

    def tick(self, now_ms: float) -> list[tuple[str, bytes]]:
        """Call several times a second; (identity, report) of the reports that are due."""
        self._sender.tick(now_ms)
        due = [(identity, receiver.report(now_ms)) for identity, receiver in self._receivers.items()]
        return [(identity, report) for identity, report in due if report is not None]

    def note_paths(self, direct: int, relayed: int, seal_bytes: int, now_ms: float) -> None:
        """How peers are reached: so many direct lines and relayed messages, and what a seal adds to the latter."""
        if isinstance(self._sender, WireRateSender):
            self._sender.note_paths(direct, relayed, seal_bytes, now_ms)

    def note_wire(self, sent_bps: float, now_ms: float) -> None:
        """About once a second: what was measured to go out in the last few."""
        if isinstance(self._sender, WireRateSender):
            self._sender.note_wire(sent_bps, now_ms)

    def voice_activity_changes(self) -> list[tuple[str, bool]]:
        """(identity, whether talking) of everyone for whom it changed since the last call; see OURSELVES."""
        talking = {identity for identity, receiver in self._receivers.items() if receiver.talking}
        if self._voice_activity.talking:
            talking.add(OURSELVES)
        before, self._talking = self._talking, frozenset(talking)
        return [(identity, identity in talking) for identity in sorted(before ^ talking)]


def _sender(config: MediaConfig, encoder: Encoder, encode_redundant: RedundantForm | None) -> MediaSender:
    if config.wire is None:
        return MediaSender(encoder, encode_redundant, config.congestion, config.redundancy)
    if not isinstance(encoder, AdjustableEncoder):
        raise StreamcodecError(
            "a rate on the wire needs an encoder whose packets may change their length (set_packet_ms), such as "
            f"StreamEncoder of the neural tier, got {type(encoder).__name__}"
        )
    return WireRateSender(encoder, encode_redundant, config.wire)
