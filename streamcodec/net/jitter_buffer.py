"""Adaptive jitter buffer: packets in at any time and order, one decision out for each frame of playout.

No clock, socket or task lives here: the caller passes milliseconds of its own monotonic clock to
:meth:`JitterBuffer.put` and :meth:`JitterBuffer.get`. Packets of several frames come frame by frame. Timestamps here
are *extended*: media time in frames that does not wrap, as packets' timestamps do.

The playout delay of a frame is how long after the fastest packet of its age it is asked for. It is held to the target
of :class:`~streamcodec.net.delay_estimator.DelayEstimator` by time-scale instructions
(:class:`~streamcodec.net.depth_control.DepthControl`), which makes growth, draining after a spike and clock drift one
and the same thing. When the buffer runs dry it waits without giving the awaited frame up, so a stall of the network
delays speech and does not swallow it; a gap with something behind it is a loss.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from streamcodec.codec.options import check_number
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, PacketFlags
from streamcodec.errors import PacketError, StreamcodecError
from streamcodec.net.delay_estimator import DelayEstimator
from streamcodec.net.depth_control import DepthControl
from streamcodec.net.jitter_types import Arrival, JitterConfig, JitterStats, Lost, Play, Playout, Silence, Wait
from streamcodec.net.wrapped_numbers import extend


class _State(enum.Enum):
    IDLE = enum.auto()
    PRIMING = enum.auto()
    PLAYING = enum.auto()
    SILENT = enum.auto()


@dataclass(slots=True)
class _Slot:
    packet: Packet
    sequence: int | None
    """Extended sequence number of a primary; None for a rebuilt copy."""


@dataclass(slots=True)
class _Counts:
    received: int = 0
    played: int = 0
    late: int = 0
    duplicate: int = 0
    suspect: int = 0
    discarded: int = 0
    recovered: int = 0
    concealed: int = 0
    underruns: int = 0
    silent: int = 0
    restarts: int = 0
    lost_before_restart: int = 0


class JitterBuffer:
    """One sender's packets, put in order and in time.

    Memory is bounded: at most ``CAPACITY_FRAMES`` frames ahead of playout are held.
    """

    CAPACITY_FRAMES = 256
    _SEEN_FRAMES = 1024
    _LONGEST_LOSS_FRAMES = 16

    def __init__(self, config: JitterConfig | None = None) -> None:
        self.config = config or JitterConfig()
        self._frame_ms = self.config.frame_ms
        self._counts = _Counts()
        self._state = _State.IDLE
        self._target_ms = self.config.delay.initial_ms
        self._depth_ms = 0.0
        self._suspect: tuple[list[Packet], float] | None = None
        """Frames of one packet far from where the stream should be, and when it came."""
        self._clear()

    @property
    def stats(self) -> JitterStats:
        """A frozen snapshot."""
        counts = self._counts
        return JitterStats(
            received=counts.received,
            played=counts.played,
            late=counts.late,
            duplicate=counts.duplicate,
            suspect=counts.suspect,
            discarded=counts.discarded,
            lost=counts.lost_before_restart + self._lost_since_restart(),
            recovered=counts.recovered,
            concealed=counts.concealed,
            underruns=counts.underruns,
            silent=counts.silent,
            restarts=counts.restarts,
            held=self._held_primaries(),
            depth_ms=self._depth_ms,
            target_ms=self._target_ms,
        )

    @property
    def contents(self) -> tuple[tuple[int, bool], ...]:
        """What is held, in playout order: (extended timestamp, rebuilt from a copy)."""
        return tuple((timestamp, self._slots[timestamp].sequence is None) for timestamp in sorted(self._slots))

    @property
    def next_timestamp(self) -> int | None:
        """The extended timestamp playout will ask for next; None before the first packet."""
        return None if self._state is _State.IDLE else self._next

    def put(self, packet: Packet, arrival_ms: float) -> Arrival:
        """Take a packet that arrived at ``arrival_ms``, with the redundant copies it carries, frame by frame; returns
        what became of its last frame.

        Errors: PacketError for what is no Packet, StreamcodecError for a time that is no finite number.
        """
        if not isinstance(packet, Packet):
            raise PacketError(
                f"a jitter buffer takes Packet objects, got {type(packet).__name__}: Packet.from_bytes makes one of "
                "bytes"
            )
        arrival_ms = _time_ms("arrival_ms", arrival_ms)
        arrival = Arrival.HELD
        for frame in packet.each_frame():
            arrival = self._put(frame, arrival_ms)
        return arrival

    def _put(self, packet: Packet, arrival_ms: float) -> Arrival:
        if self._state is _State.IDLE:
            self._begin(packet, arrival_ms)
        timestamp = extend(packet.timestamp, self._expected_timestamp(arrival_ms))
        sequence = extend(packet.sequence, self._highest_sequence)
        if abs(timestamp - self._expected_timestamp(arrival_ms)) * self._frame_ms > self.config.resync_ms:
            return self._doubt(packet, arrival_ms)
        self._suspect = None
        arrival = self._file(packet, timestamp, sequence, arrival_ms)
        if arrival is Arrival.HELD:
            self._stale_run = self._late_run = 0
            return arrival
        self._late_run += arrival is Arrival.LATE
        if self._continues_stale_run(packet, sequence) or self._late_run >= self.config.late_run:
            self._uncount(arrival)
            return self._restart((packet,), arrival_ms)
        return arrival

    def get(self, now_ms: float, block_ms: float = 10.0, queued_ms: float = 0.0) -> Playout:
        """Decide what to play for the next frame.

        The device takes ``block_ms`` at a time, and ``queued_ms`` of what was decoded before is still to be played.
        Errors: StreamcodecError for a time that is no finite number.
        """
        now_ms = _time_ms("now_ms", now_ms)
        self._target_ms = self._delay.target_ms(now_ms, self._frame_ms)
        if self._state in (_State.PRIMING, _State.SILENT) and not self._resume(now_ms):
            if self._state is _State.PRIMING:
                return Wait()
            self._counts.silent += 1
            return Silence()
        if self._state is _State.IDLE:
            return Wait()
        if self._slots:
            # Else nothing is waiting, however long ago the next was due.
            self._depth_ms = self._delay_ms(self._next, now_ms)
        self._skip_overdue(now_ms)
        if self._next not in self._slots:
            missing = self._miss(now_ms)
            if missing is not None:
                return missing
        return self._play(now_ms, block_ms, queued_ms)

    # -- arrivals ------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._delay = DelayEstimator(self.config.delay)
        self._next = 0
        self._first_timestamp = 0
        self._origin_ms = 0.0
        self._first_sequence = 0
        self._highest_sequence = 0
        self._unique = 0
        self._seen_sequences = [-1] * self._SEEN_FRAMES
        self._heard_timestamps = [-1] * self._SEEN_FRAMES
        self._last_played_sequence: int | None = None
        self._waited = 0
        self._depth = DepthControl(self.config)
        self._stale_run = 0
        self._stale_sequence = -1
        self._late_run = 0
        self._ended = False

    def _begin(self, packet: Packet, arrival_ms: float) -> None:
        # One modulus up, so that neither a reordered first packet nor an old copy makes a negative timestamp.
        timestamp = packet.timestamp + SEQUENCE_MODULUS
        self._first_sequence = self._highest_sequence = packet.sequence + SEQUENCE_MODULUS
        self._origin_ms = arrival_ms - timestamp * self._frame_ms
        self._first_timestamp = self._next = timestamp
        self._state = _State.PRIMING

    def _expected_timestamp(self, arrival_ms: float) -> int:
        base_ms = self._delay.base_ms(arrival_ms)
        return round((arrival_ms - self._origin_ms - base_ms) / self._frame_ms)

    def _file(self, packet: Packet, timestamp: int, sequence: int, arrival_ms: float) -> Arrival:
        counts = self._counts
        if self._seen_sequences[sequence % self._SEEN_FRAMES] == sequence:
            counts.duplicate += 1
            return Arrival.DUPLICATE
        self._seen_sequences[sequence % self._SEEN_FRAMES] = sequence
        counts.received += 1
        self._unique += 1
        self._highest_sequence = max(self._highest_sequence, sequence)
        if sequence < self._first_sequence and self._state is _State.PRIMING:
            self._first_sequence = sequence
        self._time(timestamp, arrival_ms)
        self._make_room(timestamp)
        if self._state is _State.PRIMING and timestamp < self._next and not self._ended:
            self._next = timestamp
        self._store_redundancy(packet, timestamp, arrival_ms)
        if timestamp < self._next:
            counts.late += 1
            return Arrival.LATE
        held = self._slots.get(timestamp)
        if held is not None and held.sequence is not None:
            counts.received -= 1
            counts.duplicate += 1
            return Arrival.DUPLICATE
        self._slots[timestamp] = _Slot(packet, sequence)
        return Arrival.HELD

    def _store_redundancy(self, packet: Packet, timestamp: int, arrival_ms: float) -> None:
        self._delay.recovery.carried(max((copy.age for copy in packet.redundant), default=0))
        for copy in packet.redundant:
            if not copy.payload:
                continue
            copied_timestamp = timestamp - copy.age
            self._recovered(copied_timestamp, copy.age)
            if copied_timestamp < self._next:
                continue
            held = self._slots.get(copied_timestamp)
            if held is not None and (held.sequence is not None or held.packet.quality_index >= copy.quality_index):
                continue
            rebuilt = Packet(
                tier=packet.tier,
                sequence=(packet.sequence - copy.age) % SEQUENCE_MODULUS,
                timestamp=copied_timestamp % SEQUENCE_MODULUS,
                quality_index=copy.quality_index,
                flags=copy.flags,
                payload=copy.payload,
                frames=packet.frames,
                part=packet.part,
            )
            self._slots[copied_timestamp] = _Slot(rebuilt, None)

    def _time(self, timestamp: int, arrival_ms: float) -> None:
        """Give the estimator the moment at which a frame came by its own packet."""
        self._delay.observe(arrival_ms - self._origin_ms - timestamp * self._frame_ms, arrival_ms)
        if self._first_heard(timestamp):
            self._delay.recovery.observe(0)

    def _recovered(self, timestamp: int, age: int) -> None:
        if timestamp >= self._first_timestamp and self._first_heard(timestamp):
            self._delay.recovery.observe(age)

    def _first_heard(self, timestamp: int) -> bool:
        """Whether nothing of a frame had come before; takes note that now something has."""
        if self._heard_timestamps[timestamp % self._SEEN_FRAMES] >= timestamp:
            return False
        self._heard_timestamps[timestamp % self._SEEN_FRAMES] = timestamp
        return True

    def _make_room(self, timestamp: int) -> None:
        while timestamp - self._next >= self.CAPACITY_FRAMES:
            if not self._slots:
                self._next = timestamp
                return
            self._next = max(min(self._slots), timestamp - self.CAPACITY_FRAMES + 1)
            for old in [held for held in self._slots if held < self._next]:
                self._discard(old)

    def _discard(self, timestamp: int) -> None:
        if self._slots.pop(timestamp).sequence is not None:
            self._counts.discarded += 1

    def _doubt(self, packet: Packet, arrival_ms: float) -> Arrival:
        frames, began_ms = self._suspect or ([], 0.0)
        # Frames of one packet agree with each other, which proves nothing.
        alone = packet.part and frames and packet.sequence == (frames[-1].sequence + 1) % SEQUENCE_MODULUS
        if frames and not alone and self._agrees(packet, arrival_ms, frames[-1], began_ms):
            self._counts.suspect -= len(frames)
            return self._restart((*frames, packet), arrival_ms)
        self._suspect = ([*frames, packet], began_ms) if alone else ([packet], arrival_ms)
        self._counts.suspect += 1
        return Arrival.SUSPECT

    def _agrees(self, packet: Packet, arrival_ms: float, earlier: Packet, earlier_ms: float) -> bool:
        """Whether a packet follows another, with losses between them at most, no sooner than time allows."""
        skipped = (packet.sequence - earlier.sequence) % SEQUENCE_MODULUS
        later_ms = (packet.timestamp - earlier.timestamp) % SEQUENCE_MODULUS * self._frame_ms
        latest_ms = arrival_ms - earlier_ms + self.config.stall_ms
        return 1 <= skipped <= self._LONGEST_LOSS_FRAMES and later_ms <= latest_ms

    def _continues_stale_run(self, packet: Packet, sequence: int) -> bool:
        # Packets are counted, however many frames they have.
        follows = sequence == self._stale_sequence + 1
        self._stale_run = self._stale_run + (not packet.part) if follows else 1
        self._stale_sequence = sequence
        return self._stale_run >= (2 if self._ended else self.config.restart_run)

    def _uncount(self, arrival: Arrival) -> None:
        """Take back what a stale packet was counted as, before it is filed again as the first of a new stream."""
        if arrival is Arrival.LATE:
            self._counts.late -= 1
            self._counts.received -= 1
        else:
            self._counts.duplicate -= 1

    def _restart(self, packets: tuple[Packet, ...], arrival_ms: float) -> Arrival:
        counts = self._counts
        counts.restarts += 1
        counts.lost_before_restart += self._lost_since_restart()
        counts.discarded += self._held_primaries()
        self._suspect = None
        self._clear()
        self._begin(packets[0], arrival_ms)
        for packet in packets:
            sequence = extend(packet.sequence, self._highest_sequence)
            self._file(packet, extend(packet.timestamp, self._next), sequence, arrival_ms)
        return Arrival.RESTARTED

    def _lost_since_restart(self) -> int:
        if self._unique == 0:
            return 0
        return max(0, self._highest_sequence - self._first_sequence + 1 - self._unique)

    def _held_primaries(self) -> int:
        return sum(slot.sequence is not None for slot in self._slots.values())

    # -- playout -------------------------------------------------------------------------------------------------

    def _delay_ms(self, timestamp: int, now_ms: float) -> float:
        return now_ms - self._origin_ms - self._delay.base_ms(now_ms) - timestamp * self._frame_ms

    def _resume(self, now_ms: float) -> bool:
        """Start playing the earliest held frame if it is due; a pause is where depth is corrected for nothing."""
        if not self._slots:
            return False
        head = min(self._slots)
        if self._delay_ms(head, now_ms) < self._target_ms - self.config.slack_below_ms:
            return False
        self._next = head
        self._waited = 0
        self._state = _State.PLAYING
        return True

    def _skip_overdue(self, now_ms: float) -> None:
        """After a stall, what is older than the largest delay, as long as as much lies behind it."""
        limit_ms = self.config.delay.maximum_ms + self.config.urgent_below_ms
        if not self._slots or self._delay_ms(self._next, now_ms) <= limit_ms:
            return
        last = max(self._slots)
        while self._delay_ms(self._next, now_ms) > limit_ms and (last - self._next) * self._frame_ms > limit_ms:
            if self._next in self._slots:
                self._discard(self._next)
            self._next += 1

    def _miss(self, now_ms: float) -> Lost | Silence | None:
        """Decide about an absent frame; None when playout may go on with a later one that is now ``_next``."""
        counts = self._counts
        if not self._slots:
            self._waited += 1
            counts.concealed += 1
            counts.underruns += 1
            if self._waited * self._frame_ms >= self.config.stall_ms:
                self._state = _State.SILENT
            return Lost(underrun=True)
        head = min(self._slots)
        if self._slots[head].sequence is not None and self._slots[head].sequence == self._after_last_played():
            self._state = _State.SILENT
            if not self._resume(now_ms):
                counts.silent += 1
                return Silence()
            return None
        # Playing earlier than wanted: waiting costs nothing that expanding would not, and the packet may still come.
        if self._delay_ms(self._next, now_ms) < self._target_ms - self._frame_ms:
            self._waited += 1
            counts.concealed += 1
            return Lost(underrun=False, following=self._slots[head].packet)
        # What was concealed while waiting stands for frames that are missing now.
        stood_in = min(self._waited, head - self._next)
        self._next += stood_in
        self._waited = 0
        if self._next == head:
            return None
        self._next += 1
        counts.concealed += 1
        return Lost(underrun=False, following=self._slots[head].packet)

    def _after_last_played(self) -> int | None:
        return None if self._last_played_sequence is None else self._last_played_sequence + 1

    def _play(self, now_ms: float, block_ms: float, queued_ms: float) -> Play:
        slot = self._slots.pop(self._next)
        beyond_ms = self._delay_ms(self._next, now_ms) - self._target_ms
        excess_ms = self._depth.excess_ms(
            beyond_ms, self._target_ms, block_ms, queued_ms, next_is_held=self._next + 1 in self._slots
        )
        scale = self._depth.scale(excess_ms if excess_ms > 0.0 else min(beyond_ms, 0.0), self._delay.drift)
        self._next += 1
        self._waited = 0
        if slot.sequence is None:
            self._counts.recovered += 1
            self._last_played_sequence = None
        else:
            self._counts.played += 1
            self._last_played_sequence = slot.sequence
        if slot.packet.flags & PacketFlags.SILENCE:
            self._state = _State.SILENT
        if slot.packet.flags & PacketFlags.END:
            self._state = _State.PRIMING
            self._ended = True
        return Play(slot.packet, slot.sequence is None, scale, excess_ms)


def _time_ms(name: str, value: float) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    return check_number(name, value, StreamcodecError)
