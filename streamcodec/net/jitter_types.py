"""What goes into the jitter buffer and comes out of it: settings, decisions about frames, counts."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from streamcodec.codec.options import check_fields
from streamcodec.codec.packet import Packet
from streamcodec.errors import StreamcodecError
from streamcodec.net.delay_estimator import DelayConfig

FRAME_MS = 20.0


class TimeScale(enum.Enum):
    """What playout should do to the decoded samples of one frame."""

    KEEP = "keep"
    ACCELERATE = "accelerate"
    """Shorten where the signal allows it without being heard."""
    ACCELERATE_NOW = "accelerate now"
    ACCELERATE_IN_PAUSE = "accelerate in a pause"
    """Shorten where nobody speaks."""
    EXPAND = "expand"
    EXPAND_IN_PAUSE = "expand in a pause"
    EXPAND_NOW = "expand now"


class Arrival(enum.Enum):
    """What became of a packet given to :meth:`JitterBuffer.put`."""

    HELD = "held"
    DUPLICATE = "duplicate"
    LATE = "late"
    SUSPECT = "suspect"
    """Far from where the stream should be; believed once a second one agrees."""
    RESTARTED = "restarted"
    """The sender started afresh; the buffer did too, and holds the packet."""


@dataclass(frozen=True, slots=True)
class Play:
    """Decode this packet; ``recovered`` when it was rebuilt from a redundant copy.

    Where ``scale`` shortens, by ``most_ms`` at most.
    """

    packet: Packet
    recovered: bool
    scale: TimeScale
    most_ms: float = math.inf


@dataclass(frozen=True, slots=True)
class Lost:
    """Conceal one frame; ``underrun`` when nothing has come and it is still awaited.

    ``following`` is the next packet that is there.
    """

    underrun: bool
    following: Packet | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """The sender has stopped on purpose, or has been gone for long: comfort noise."""


@dataclass(frozen=True, slots=True)
class Wait:
    """No stream yet, or its first packets are still being gathered: play nothing, ask again."""


Playout = Play | Lost | Silence | Wait


@dataclass(frozen=True, slots=True)
class JitterConfig:
    """Behaviour of the buffer; times in milliseconds. Errors: StreamcodecError for what is out of range."""

    delay: DelayConfig = field(default_factory=DelayConfig)
    frame_ms: float = FRAME_MS
    """Duration of a frame, which timestamps count."""
    slack_below_ms: float = 3.0
    """Playout delay may lie this far below the target before anything is done about it."""
    least_excess_ms: float = 5.0
    """Delay beyond what is needed that is worth shortening a frame for. Needed is up to a block more than the
    target, since the delay moves in steps of what playout asks for at a time."""
    urgent_below_ms: float = 40.0
    urgent_above_ms: float = 100.0
    """Beyond this difference every frame is scaled, whatever the signal. Being late is less of a harm than what
    hurrying does to speech."""
    patience_below_frames: int = 50
    patience_above_frames: int = 500
    """For so long a correction waits for a pause of the speaker's, where it is not heard."""
    scale_spacing_frames: int = 3
    """Gentle corrections are at least this far apart."""
    fast_drift: float = 0.03
    """Unless a sender's clock is off by more than this."""
    resync_ms: float = 5_000.0
    """A packet this far from where the clock says the stream is belongs to a restarted sender."""
    restart_run: int = 5
    """This many stale packets in unbroken order are a restarted sender as well."""
    late_run: int = 12
    """This many packets that all come late, in any order, make the buffer start afresh where they are."""
    stall_ms: float = 400.0
    """After concealing for so long with nothing to come, wait as in a pause: until the target is met again."""

    def __post_init__(self) -> None:
        if not isinstance(self.delay, DelayConfig):
            raise StreamcodecError(f"delay must be a DelayConfig, got {type(self.delay).__name__}")
        check_fields(self, StreamcodecError, "delay")
        if self.frame_ms <= 0:
            raise StreamcodecError(f"frame_ms must be above 0, got {self.frame_ms}")
        if self.resync_ms <= self.delay.maximum_ms:
            raise StreamcodecError(
                f"resync_ms must exceed the largest delay, got {self.resync_ms} and {self.delay.maximum_ms}"
            )


@dataclass(frozen=True, slots=True)
class JitterStats:
    """Counts since the start, in frames, and the delays of the moment.

    ``received`` (duplicates and suspects apart) is ``played + late + discarded + held``. ``lost`` counts sequence
    numbers that never came, as RFC 3550 does; ``recovered`` were played from redundant copies because their own
    packet was lost or late. ``concealed`` counts frames made up by the decoder, for losses and underruns
    alike.
    """

    received: int = 0
    played: int = 0
    late: int = 0
    duplicate: int = 0
    suspect: int = 0
    discarded: int = 0
    lost: int = 0
    recovered: int = 0
    concealed: int = 0
    underruns: int = 0
    silent: int = 0
    restarts: int = 0
    held: int = 0
    depth_ms: float = 0.0
    target_ms: float = 0.0
