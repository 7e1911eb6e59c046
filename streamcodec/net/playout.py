"""From jitter buffer to loudspeaker: any number of samples at any time, time-scaled as the buffer asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamcodec.codec.options import check_whole
from streamcodec.codec.packet import Packet
from streamcodec.errors import StreamcodecError
from streamcodec.net import time_scale
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import Lost, Play, Silence, TimeScale, Wait
from streamcodec.net.time_scale import Samples

PAUSE = 0.06
"""Share of the loudest of late below which a packet may be a pause: soft consonants are below it too."""
NEAR_FLOOR = 2.0
"""It is one if it is not louder than this many times the quietest of late, the noise behind the speaker."""
PAUSE_S = 0.12
"""A pause has lasted this long before it is taken for one: closures of consonants have not."""
FORGOTTEN = 0.997
"""How the loudest and the quietest are forgotten, a packet: some 1.3 dB a second."""
INAUDIBLE = 1e-4
"""Root mean square of what counts as silence whatever is around it."""


class Decoder(Protocol):
    """What playout needs of a decoder: a packet or nothing in, samples out, never an exception."""

    def push(self, packet: Packet | None, following: Packet | None = None, /) -> Samples:
        """Sound of a packet; None for one that is lost, with the next one that is there, if any.

        Shape: output ``[n]`` or ``[n, channels]``.
        """


_IN_PAUSES = (TimeScale.ACCELERATE_IN_PAUSE, TimeScale.EXPAND_IN_PAUSE)


@dataclass(frozen=True, slots=True)
class PlayoutStats:
    """Samples handed out, and what time-scale modification did to them."""

    samples: int = 0
    accelerated: int = 0
    """Packets shortened."""
    expanded: int = 0
    removed_samples: int = 0
    added_samples: int = 0
    queued_samples: int = 0


class Playout:
    """Pulls packets from a jitter buffer, decodes them and keeps the few samples that a device block left over.

    Memory is bounded: the queue holds less than one decoded packet beyond what a pull asks for. With ``exact``
    nothing is ever shortened or lengthened, whatever the buffer asks: for streams of which every sample counts.
    """

    def __init__(
        self, buffer: JitterBuffer, decoder: Decoder, sample_rate_hz: int, channels: int = 1, *, exact: bool = False
    ) -> None:
        self.buffer = buffer
        self._exact = exact
        self.decoder = decoder
        self.sample_rate_hz = sample_rate_hz
        self._shape = () if channels == 1 else (channels,)
        self._queue: Samples = np.zeros((0, *self._shape), np.float32)
        self._samples = 0
        self._accelerated = 0
        self._expanded = 0
        self._loudest = 0.0
        self._quietest = 1.0
        self._quiet_samples = 0
        self._removed_samples = 0
        self._added_samples = 0

    @property
    def stats(self) -> PlayoutStats:
        """A frozen snapshot."""
        return PlayoutStats(
            samples=self._samples,
            accelerated=self._accelerated,
            expanded=self._expanded,
            removed_samples=self._removed_samples,
            added_samples=self._added_samples,
            queued_samples=len(self._queue),
        )

    def pull(self, now_ms: float, count_samples: int) -> Samples:
        """The next ``count_samples`` to play, zeros while no stream has begun.

        Errors: StreamcodecError for a count that is no whole number from 0 on, or a time that is no finite number.

        Shape: [count] for one channel, else [count, channels].
        """
        if type(count_samples) is not int:
            count_samples = check_whole("count_samples", count_samples, StreamcodecError)
        if count_samples < 0:
            raise StreamcodecError(f"count_samples must be 0 or more, got {count_samples}")
        parts = [self._queue]
        have = len(self._queue)
        block_ms = 1000.0 * count_samples / self.sample_rate_hz
        # A decoder may hold samples back when it starts; a few packets beyond the duration asked for cover that.
        attempts = 4 + int(2 * block_ms / self.buffer.config.frame_ms)
        while have < count_samples and attempts > 0:
            attempts -= 1
            decision = self.buffer.get(now_ms, block_ms, 1000.0 * have / self.sample_rate_hz)
            if isinstance(decision, Wait):
                break
            block = self._decode(decision) if isinstance(decision, Play) else self._conceal(decision)
            parts.append(block)
            have += len(block)
        if have < count_samples:
            parts.append(np.zeros((count_samples - have, *self._shape), np.float32))
        joined = np.concatenate(parts)
        self._queue = joined[count_samples:].copy()
        self._samples += count_samples
        return joined[:count_samples]

    def _conceal(self, decision: Lost | Silence) -> Samples:
        return self.decoder.push(None, decision.following if isinstance(decision, Lost) else None)

    def _decode(self, decision: Play) -> Samples:
        block, scale = self.decoder.push(decision.packet), decision.scale
        pausing = self._pausing(block)
        if scale is TimeScale.KEEP or self._exact or (scale in _IN_PAUSES and not pausing):
            return block
        force = pausing or scale in (TimeScale.ACCELERATE_NOW, TimeScale.EXPAND_NOW)
        if scale in (TimeScale.ACCELERATE, TimeScale.ACCELERATE_IN_PAUSE, TimeScale.ACCELERATE_NOW):
            scaled = time_scale.accelerate(block, self.sample_rate_hz, force=force, most_ms=decision.most_ms)
            self._accelerated += len(scaled) < len(block)
        else:
            scaled = time_scale.expand(block, self.sample_rate_hz, force=force)
            self._expanded += len(scaled) > len(block)
        self._removed_samples += max(0, len(block) - len(scaled))
        self._added_samples += max(0, len(scaled) - len(block))
        return scaled

    def _pausing(self, block: Samples) -> bool:
        rms = float(np.sqrt(np.mean(np.square(block)))) if block.size else 0.0
        self._loudest = max(rms, FORGOTTEN * self._loudest)
        self._quietest = max(min(rms, self._quietest / FORGOTTEN), INAUDIBLE)
        quiet = rms <= min(PAUSE * self._loudest, NEAR_FLOOR * self._quietest)
        self._quiet_samples = self._quiet_samples + len(block) if quiet else 0
        return self._quiet_samples > PAUSE_S * self.sample_rate_hz
