"""Notices a loudspeaker that feeds its own microphone, and silences it before it howls.

A howl leaves no pauses and grows, or sits at the top; so may music. What tells them apart is cause: the guard
silences the loudspeaker for a moment, and only a sound that dies with it was feedback.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from streamcodec.codec.options import check_fields, check_number
from streamcodec.errors import StreamcodecError

ADVICE = "the microphone hears the loudspeaker: use headphones, or turn the volume down"
SILENCE_DBFS = -100.0


class GuardState(enum.Enum):
    """What the guard is doing."""

    OPEN = "open"
    PROBING = "probing"
    """Loudspeaker silent for a moment, to see whether the sound dies with it."""
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Thresholds on the microphone's level, root mean square of 10 ms blocks, and times."""

    window_ms: float = 300.0
    """Pauses are looked for in windows of this length: longer than the loop, shorter than a phrase."""
    quiet_dbfs: float = -40.0
    rise_db: float = 1.5
    """The quietest block of a window above that of the window before by this much is a build-up."""
    saturated_dbfs: float = -18.0
    suspicious_windows: int = 2
    probe_ms: float = 400.0
    """Must outlast buffers and devices, since what is in them is still heard."""
    fall_db: float = 12.0
    mute_ms: float = 3_000.0
    longest_mute_ms: float = 60_000.0
    retry_ms: float = 5_000.0
    """After a false alarm no other is raised for this long, and for twice as long each time."""

    def __post_init__(self) -> None:
        check_fields(self, StreamcodecError, "quiet_dbfs", "saturated_dbfs")
        for name in ("quiet_dbfs", "saturated_dbfs"):
            check_number(name, getattr(self, name), StreamcodecError)
        if not (self.probe_ms > 0 and self.window_ms > 0 and self.mute_ms > 0 and self.suspicious_windows >= 1):
            raise StreamcodecError("window, probe and mute of a feedback guard must last longer than nothing")


class FeedbackGuard:
    """Fed with the microphone's level block after block, answers whether the loudspeaker may sound.

    Use: ``gain = guard.step(mic_dbfs)`` once per block of ``block_ms``.
    """

    def __init__(self, block_ms: float = 10.0, config: GuardConfig | None = None) -> None:
        self.config = config or GuardConfig()
        self.state = GuardState.OPEN
        self.confirmed = 0
        """How often feedback was found."""
        self.false_alarms = 0
        self._block_ms = block_ms
        self._mute_ms = self.config.mute_ms
        self._retry_ms = self.config.retry_ms
        self._rest_ms = 0.0
        self._enter(GuardState.OPEN)

    def step(self, mic_dbfs: float) -> float:
        """Take the level of one more block; returns the gain for the loudspeaker, 0 or 1."""
        self._in_state_ms += self._block_ms
        if self.state is GuardState.OPEN:
            self._watch(mic_dbfs)
        elif self.state is GuardState.PROBING:
            self._probe(mic_dbfs)
        elif self._in_state_ms >= self._mute_ms:
            self._mute_ms = min(2 * self._mute_ms, self.config.longest_mute_ms)
            self._enter(GuardState.OPEN)
        return 1.0 if self.state is GuardState.OPEN else 0.0

    def _enter(self, state: GuardState) -> None:
        self.state = state
        self._in_state_ms = 0.0
        self._suspicious = 0
        self._floor_dbfs = 0.0
        self._loudest_after_dbfs = SILENCE_DBFS
        self._begin_window()

    def _begin_window(self) -> None:
        self._window_ms = 0.0
        self._quietest_dbfs = 0.0

    def _watch(self, mic_dbfs: float) -> None:
        self._rest_ms = max(0.0, self._rest_ms - self._block_ms)
        self._quietest_dbfs = min(self._quietest_dbfs, mic_dbfs)
        self._window_ms += self._block_ms
        if self._window_ms < self.config.window_ms:
            return
        floor_dbfs, before_dbfs = self._quietest_dbfs, self._floor_dbfs
        rising = floor_dbfs >= before_dbfs + self.config.rise_db and floor_dbfs > self.config.quiet_dbfs
        suspicious = rising or floor_dbfs > self.config.saturated_dbfs
        self._suspicious = self._suspicious + 1 if suspicious else 0
        self._floor_dbfs = floor_dbfs
        self._begin_window()
        if self._suspicious >= self.config.suspicious_windows and self._rest_ms == 0.0:
            self._enter(GuardState.PROBING)
            self._floor_dbfs = floor_dbfs

    def _probe(self, mic_dbfs: float) -> None:
        if self._in_state_ms > 0.7 * self.config.probe_ms:
            self._loudest_after_dbfs = max(self._loudest_after_dbfs, mic_dbfs)
        if self._in_state_ms < self.config.probe_ms:
            return
        if self._loudest_after_dbfs <= self._floor_dbfs - self.config.fall_db:
            self.confirmed += 1
            self._enter(GuardState.MUTED)
        else:
            self.false_alarms += 1
            self._rest_ms = self._retry_ms
            self._retry_ms *= 2
            self._enter(GuardState.OPEN)
