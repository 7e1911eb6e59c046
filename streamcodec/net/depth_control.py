"""How depth is moved to the jitter buffer's target: which frames to shorten or lengthen, and when it is not heard.

Small differences wait for a pause of the speaker's, large ones do not; see the thresholds of
:class:`~streamcodec.net.jitter_types.JitterConfig`.
"""

from __future__ import annotations

import math

from streamcodec.net.jitter_types import JitterConfig, TimeScale

_STEADY_MS = 2.0
"""Playout asks, and packets come, this regularly at the best."""


class DepthControl:
    """One stream's corrections, frame by frame; remembers how long depth has been off and when it was corrected."""

    def __init__(self, config: JitterConfig) -> None:
        self._config = config
        self._since_scaled = 0
        self._off_frames = 0

    def excess_ms(
        self, beyond_ms: float, target_ms: float, block_ms: float, queued_ms: float, *, next_is_held: bool
    ) -> float:
        """What may be taken out so that the next packet is asked for no sooner than the target wants.

        It is asked for when less than a block is queued, so that what is queued can go, and as many whole blocks as
        fit between the delay of the moment, ``beyond_ms`` above the target, and the target.
        """
        config = self._config
        if not next_is_held and beyond_ms + target_ms > config.frame_ms:
            return 0.0  # Nothing to hurry for: what comes next should be there, and is not.
        # A step lower must not lie where it would be mended upwards again.
        steps = math.floor((beyond_ms + config.slack_below_ms - _STEADY_MS) / block_ms)
        return max(0.0, queued_ms + steps * block_ms)

    def scale(self, excess_ms: float, drift: float) -> TimeScale:
        """What to do to the next frame, of a depth so far above (negative: below) what is needed.

        ``drift`` is the sender's clock's, in ms per ms.
        """
        config = self._config
        self._since_scaled += 1
        if not -config.urgent_below_ms <= excess_ms <= config.urgent_above_ms:
            self._since_scaled = 0
            return TimeScale.ACCELERATE_NOW if excess_ms > 0 else TimeScale.EXPAND_NOW
        drifting = abs(drift) > config.fast_drift
        if -config.slack_below_ms <= excess_ms < config.least_excess_ms:
            self._off_frames = 0
            return TimeScale.KEEP
        self._off_frames += 1
        if self._since_scaled < (1 if drifting else config.scale_spacing_frames):
            return TimeScale.KEEP
        self._since_scaled = 0
        patience = config.patience_above_frames if excess_ms > 0 else config.patience_below_frames
        if not drifting and self._off_frames < patience:
            return TimeScale.ACCELERATE_IN_PAUSE if excess_ms > 0 else TimeScale.EXPAND_IN_PAUSE
        return TimeScale.ACCELERATE if excess_ms > 0 else TimeScale.EXPAND
