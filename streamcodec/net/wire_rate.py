"""What to send for a given rate on the wire: packet length, payload rate and redundancy, chosen together.

The rate that people pay for is the wire's, and headers are most of it: 51 bytes of every packet on a direct line. So
a longer packet buys payload, at the price of delay; a copy of an earlier packet costs payload and delay and buys
safety. Each way to spend the wire rate is scored as a listener would judge it, and the best is taken:

- quality by payload, as measured (PESQ of this codec, ``docs``), longer packets counted for the bits they save;
- loss: what is left after recovery, and how much coarser copies are than what they replace, both as measured;
- delay: mouth to ear by the E-model (Cole and Rosenbluth 2001, after ITU-T G.107): hardly anything up to 177 ms, much
  beyond it.

Reports of loss, delay and round trip change the choice during the call; congestion lowers the wire rate itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from streamcodec.codec.options import FRAME_MS
from streamcodec.codec.packet import MAX_FRAMES
from streamcodec.errors import BitrateError
from streamcodec.net import copy_plan
from streamcodec.net.congestion import CongestionConfig, CongestionController
from streamcodec.net.listeners import agreed_rate
from streamcodec.net.redundancy import copies_share
from streamcodec.net.report import INTERVAL_MS, ReceiverReport
from streamcodec.wording import named

MIN_WIRE_BPS, MAX_WIRE_BPS = 7_000, 200_000
DIRECT_HEADER_BYTES = 51.0
"""IP, UDP, RTP, one of ours and the tag of SRTP, with a share of what comes now and then."""
RELAY_HEADER_BYTES = 84.0
"""IP, TCP with time stamps, TLS, websocket, peer number and ours."""
OTHER_BPS = 1_100.0
"""Reports, consent checks, pings."""
LONGER_SAVES = 0.15
"""Share of the bits that the frames after a packet's first need less."""
COPY_SHARES = (0.5, 0.35, 0.25)
"""Sizes of a copy beside its packet that are tried."""
COPY_BYTES = 2.5
"""What frames a copy."""
PESQ_BY_KBPS = (
    (1.5, 1.45),
    (2.2, 1.77),
    (3.3, 2.21),
    (6.0, 3.0),
    (9.0, 3.48),
    (12.0, 3.76),
    (16.0, 3.88),
    (20.0, 3.98),
    (24.0, 4.0),
)
"""Of packets of 20 ms that decode alone: nine clips of development speech."""
LOWEST, MAP_SLOPE, MAP_OFFSET = 0.999, 1.3669, 3.8224
"""ITU-T P.862.2: the mapping of PESQ-WB."""
HIGHEST_RAW = 4.5
"""PESQ without its mapping to what listeners say, of sound without disturbance: 4.5 less the disturbance."""
CONCEALED_HARM = 58.0
"""Squares of disturbances add up (PESQ takes a norm over time): what is concealed adds this times its share. Fitted
with the two below, in PESQ, to clips of development speech at 5 and 10 % loss and up to 6 % concealed, error 0.18
(``bench.wire.search``; its own fit, in squares of disturbances, gives 59, 0.95 and 5.5)."""
COPY_HARM = 1.0
"""Copies that are played add this times their share, times by how much the square of their own disturbance exceeds
their packets', ..."""
SWITCH_HARM = 5.0
"""... and this times their share, however fine they are."""
KNEE_MS = 177.3
DELAY_PER_MS, LATE_PER_MS = 0.024 / 20, 0.11 / 20
"""R points of the E-model in terms of the score: about 20 to one."""
CODEC_MS = 10.0
BUFFER_MS = 20.0
LONGEST_PLAYOUT_MS = 100.0
"""What a packet's first frame may wait for its others and a copy: beyond it no copies are sent."""
UNKNOWN_ROUND_TRIP_MS = 80.0
USUAL_LOSS, USUAL_JITTER_MS = 0.1, 20.0
"""What one listener of several is believed alone."""
EXPECTED_LOSS, EXPECTED_PACKETS = 0.04, 18.0
"""Before anything is known, and how many packets' worth of reports weigh as much."""
LONG_MEMORY_PACKETS, SHORT_MEMORY_PACKETS = 300.0, 60.0
"""Loss is what either memory holds it to be, if that is more: a burst now is likely followed by another."""
SMALLEST_GAIN = 0.09
"""Score below which another packet length is not worth the change."""
LONGEST_INTERVAL_MS = 2_000.0
SETTLE_MS = 4_000.0
"""Packets keep their length for at least this long, those of the start from the first report on."""
PATIENCE_MS = 10_000.0
"""For so long another length waits for a pause of the speaker's: receivers change their delay with it."""


@dataclass(frozen=True, slots=True)
class WireRateConfig:
    """The rate on the wire in one direction, all destinations together, and what is not to be chosen.

    Errors: BitrateError on a rate that no call fits in.
    """

    wire_bps: int
    packet_ms: int | None = None
    """Pins the length of packets."""
    bitrate_bps: int | None = None
    """Pins the payload rate; the rest goes into short packets and redundancy."""
    redundancy: int | None = None
    """Pins how many earlier packets each takes along."""
    max_redundancy: int = 3
    minimum_bps: int = 1_500
    maximum_bps: int = 24_000

    def __post_init__(self) -> None:
        if not MIN_WIRE_BPS <= self.wire_bps <= MAX_WIRE_BPS:
            raise BitrateError(
                f"a call takes {MIN_WIRE_BPS // 1_000} to {MAX_WIRE_BPS // 1_000} kbps on the wire, "
                f"got {self.wire_bps / 1_000:g}"
            )
        if self.packet_ms is not None and self.packet_ms not in range(FRAME_MS, FRAME_MS * MAX_FRAMES + 1, FRAME_MS):
            raise BitrateError(f"{named('packet_ms')} must be 20, 40, ... 120, got {self.packet_ms}")


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What the sender should do."""

    bitrate_bps: int
    packet_ms: int
    ages: tuple[int, ...]
    """How many packets ago the copies in each packet were sent."""
    copy_share: float
    """Size of the first of them beside a packet; of others see :func:`copies_share`."""
    wire_bps: int
    """What this is expected to come to on the wire."""
    score: float


class LossEstimate:
    """Share of packets that a path loses: an expectation that gives way to what reports tell, the last above all."""

    def __init__(self, memory_packets: float) -> None:
        self._memory_packets = memory_packets
        self._lost, self._packets = EXPECTED_LOSS * EXPECTED_PACKETS, EXPECTED_PACKETS

    @property
    def loss(self) -> float:
        """0 to 1."""
        return self._lost / self._packets

    def hear(self, loss: float, packets: float) -> None:
        """Take a share lost of so many packets."""
        kept = min(1.0, self._memory_packets / (self._packets + packets))
        self._lost = kept * (self._lost + loss * packets)
        self._packets = kept * (self._packets + packets)


@dataclass(slots=True)
class _Path:
    """One receiver, as its reports tell."""

    congestion: CongestionController
    losses: tuple[LossEstimate, ...] = field(
        default_factory=lambda: (LossEstimate(LONG_MEMORY_PACKETS), LossEstimate(SHORT_MEMORY_PACKETS))
    )
    burst_packets: float = copy_plan.USUAL_BURST_PACKETS
    round_trip_ms: float = UNKNOWN_ROUND_TRIP_MS
    jitter_ms: float = 0.0
    heard_ms: float | None = None

    @property
    def loss(self) -> float:
        """Share of packets lost, as far as is known."""
        return max(each.loss for each in self.losses)


class _Circumstances(NamedTuple):
    """All that a choice rests on: the worst of every path, as far as it is believed."""

    loss: float
    burst_packets: float
    round_trip_ms: float
    jitter_ms: float
    aim_bps: float
    header_bytes: float
    destinations: int


class WireRateController:
    """Feed it reports, paths and what the wire was seen to carry; read :attr:`plan`. Times: the sender's own, ms."""

    def __init__(self, config: WireRateConfig) -> None:
        self.config = config
        self._paths: dict[str, _Path] = {}
        self._header_bytes, self._destinations = DIRECT_HEADER_BYTES, 1
        self._ways: tuple[int, int] | None = None
        self._excess_bps = 0.0
        self._changed_ms = float("-inf")
        self._wanted_since_ms: float | None = None
        self._talking = False
        self._best_for: tuple[_Circumstances | None, dict[int | None, SendPlan]] = (None, {})
        self._steady_since_ms: float | None = None
        self._plan = self._best(None)

    @property
    def plan(self) -> SendPlan:
        """What to do now."""
        return self._plan

    def on_report(
        self, receiver: str, report: ReceiverReport, round_trip_ms: float | None, now_ms: float
    ) -> SendPlan:
        """Take a receiver's report."""
        path = self._paths.get(receiver)
        if path is None:
            if not self._paths:
                self._changed_ms = now_ms
            path = self._paths[receiver] = _Path(CongestionController(self._bounds()))
        path.congestion.on_report(report, now_ms)
        since_ms = INTERVAL_MS if path.heard_ms is None else min(now_ms - path.heard_ms, LONGEST_INTERVAL_MS)
        path.heard_ms = now_ms
        for estimate in path.losses:
            estimate.hear(report.loss, since_ms / self._plan.packet_ms)
        if report.mean_burst_packets >= 1.0:
            # Reports count frames, of which a lost packet takes all.
            lost_packets = max(1.0, report.mean_burst_packets * FRAME_MS / self._plan.packet_ms)
            path.burst_packets += 0.2 * (lost_packets - path.burst_packets)
        path.jitter_ms = report.jitter_ms
        if round_trip_ms is not None:
            path.round_trip_ms += 0.3 * (round_trip_ms - path.round_trip_ms)
        return self._choose(now_ms)

    def on_tick(self, now_ms: float) -> SendPlan:
        """Call several times a second: a receiver that has fallen silent counts as a path that is stuck."""
        for path in self._paths.values():
            path.congestion.on_tick(now_ms)
        return self._choose(now_ms)

    def on_paths(self, direct: int, relayed: int, seal_bytes: int, now_ms: float) -> SendPlan:
        """How many are reached by lines of their own, how many messages to the relay the others take, and what each
        of those is longer for being sealed."""
        if (direct, relayed) != self._ways:
            # Lines cost something to set up, which says nothing of what follows.
            self._ways, self._steady_since_ms = (direct, relayed), now_ms
        self._destinations = max(1, direct + relayed)
        headers = direct * DIRECT_HEADER_BYTES + relayed * (RELAY_HEADER_BYTES + seal_bytes)
        self._header_bytes = headers / (direct + relayed) if direct + relayed else DIRECT_HEADER_BYTES
        return self._choose(now_ms)

    def on_wire(self, sent_bps: float, now_ms: float) -> None:
        """What was measured to go out in the last seconds, about once a second.

        Evens out what the calculation does not know, such as how well the encoder keeps to its rate. Less than was
        planned is mostly a pause of the speaker's, which frees little.
        """
        if self._steady_since_ms is None:
            self._steady_since_ms = now_ms
        if now_ms - self._steady_since_ms < SETTLE_MS:
            return
        error = sent_bps - self._plan.wire_bps - self._excess_bps
        self._excess_bps += 0.1 * error
        most = self.config.wire_bps
        self._excess_bps = min(max(self._excess_bps, -0.02 * most), 0.25 * most)

    def on_voice(self, talking: bool) -> None:
        """Whether what is sent is speech."""
        self._talking = talking

    def forget(self, receiver: str) -> None:
        """A receiver has left."""
        self._paths.pop(receiver, None)

    # -- inside -------------------------------------------------------------------------------------------------

    def _bounds(self) -> CongestionConfig:
        """The congestion controller's, in wire bits instead of payload's; redundancy is chosen here."""
        most = self.config.wire_bps
        return CongestionConfig(min(MIN_WIRE_BPS, most), most, most, max_redundancy=0)

    @property
    def wire_bps(self) -> int:
        """The rate on the wire that is aimed at now: what was asked for, or less on a path that does not carry it.

        Among several listeners no single one decides: see :func:`~streamcodec.net.listeners.agreed_rate`.
        """
        rates = [path.congestion.rate for path in self._paths.values()]
        return agreed_rate(rates, self._bounds()).bitrate_bps if rates else self.config.wire_bps

    def _choose(self, now_ms: float) -> SendPlan:
        best = self._best(None)
        same = best if best.packet_ms == self._plan.packet_ms else self._best(self._plan.packet_ms)
        if best is not same and self._may_change(best, same, now_ms):
            self._changed_ms, self._wanted_since_ms = now_ms, None
        else:
            best = same
        if best.ages != self._plan.ages or abs(best.wire_bps - self._plan.wire_bps) > 0.05 * self._plan.wire_bps:
            self._steady_since_ms = now_ms
        self._plan = best
        return best

    def _may_change(self, best: SendPlan, same: SendPlan, now_ms: float) -> bool:
        """Whether packets may take another length now: where they must, at once, else in a pause."""
        if same.wire_bps > 1.02 * self._aim():
            return True
        if best.score < same.score + SMALLEST_GAIN:
            self._wanted_since_ms = None
            return False
        if self._wanted_since_ms is None:
            self._wanted_since_ms = now_ms
        patient = self._talking and now_ms - self._wanted_since_ms < PATIENCE_MS
        return not patient and now_ms - self._changed_ms >= SETTLE_MS

    def _aim(self) -> float:
        wire_bps = self.wire_bps
        return max(0.5 * wire_bps, wire_bps - self._excess_bps)

    def _best(self, packet_ms: int | None) -> SendPlan:
        now = self._circumstances()
        if self._best_for[0] != now:
            self._best_for = now, {}
        found = self._best_for[1]
        if packet_ms not in found:
            found[packet_ms] = max(self._plans(packet_ms or self.config.packet_ms, now), key=lambda plan: plan.score)
        return found[packet_ms]

    def _circumstances(self) -> _Circumstances:
        paths = self._paths.values()
        return _Circumstances(
            _believed([path.loss for path in paths], USUAL_LOSS) if paths else EXPECTED_LOSS,
            _believed([path.burst_packets for path in paths], copy_plan.USUAL_BURST_PACKETS),
            _believed([path.round_trip_ms for path in paths], UNKNOWN_ROUND_TRIP_MS),
            _believed([path.jitter_ms for path in paths], USUAL_JITTER_MS) if paths else 0.0,
            self._aim(),
            self._header_bytes,
            self._destinations,
        )

    def _plans(self, packet_ms: int | None, now: _Circumstances) -> Iterator[SendPlan]:
        config = self.config
        for frames in range(1, MAX_FRAMES + 1):
            length_ms = FRAME_MS * frames
            if packet_ms is not None and length_ms != packet_ms:
                continue
            most = min(config.max_redundancy, copy_plan.reach(length_ms))
            counts = range(most + 1) if config.redundancy is None else (config.redundancy,)
            for redundancy in counts:
                ages = copy_plan.spread(redundancy, length_ms)
                waited_ms = length_ms - FRAME_MS + max(ages, default=0) * length_ms
                if config.redundancy is None and ages and waited_ms > LONGEST_PLAYOUT_MS:
                    continue
                for copy_share in COPY_SHARES if ages else (0.0,):
                    yield self._plan_for(frames, ages, copy_share, now)

    def _plan_for(self, frames: int, ages: tuple[int, ...], copy_share: float, now: _Circumstances) -> SendPlan:
        config, aim_bps, destinations = self.config, now.aim_bps, now.destinations
        packet_ms = FRAME_MS * frames
        per_second = 1_000.0 / packet_ms
        framing_bps = 8.0 * per_second * (now.header_bytes + COPY_BYTES * len(ages))
        share = 1.0 + copies_share(copy_share, len(ages))
        room_bps = (aim_bps - OTHER_BPS * destinations) / destinations - framing_bps
        bitrate_bps = config.bitrate_bps or min(max(room_bps / share, config.minimum_bps), config.maximum_bps)
        wire_bps = destinations * (framing_bps + share * bitrate_bps + OTHER_BPS)
        left = copy_plan.left_over(now.loss, now.burst_packets, ages)
        kbps = bitrate_bps / 1_000.0 * (1.0 + LONGER_SAVES * (frames - 1) / frames)
        score = pesq(kbps, left, copied=now.loss - left, copy_share=copy_share)
        score -= delay_penalty(_delay_ms(packet_ms, ages, now))
        # What does not fit is a last resort: the less it exceeds the rate, the better.
        excess = wire_bps / aim_bps - 1.0
        if excess > 0.02:
            score -= 10.0 * (1.0 + excess)
        return SendPlan(round(bitrate_bps), packet_ms, ages, copy_share, round(wire_bps), score)


def _believed(reported: list[float], usual: float) -> float:
    """The worst that listeners report; what one of several reports alone, no further than is usual.

    Else a thin line or forged reports of one would cost all the others their sound.
    """
    if len(reported) < 2:
        return max(reported, default=usual)
    second, worst = sorted(reported)[-2:]
    return min(worst, max(second, usual))


def _delay_ms(packet_ms: int, ages: tuple[int, ...], now: _Circumstances) -> float:
    waited_ms = max(ages, default=0) * packet_ms
    return now.round_trip_ms / 2 + packet_ms + CODEC_MS + max(BUFFER_MS + 2.0 * now.jitter_ms, waited_ms)


def pesq(kbps: float, concealed: float, *, copied: float = 0.0, copy_share: float = COPY_SHARES[0]) -> float:
    """What a listener is taken to think of a payload rate, with a share of packets concealed.

    ``copied`` is the share of packets played from copies that have ``copy_share`` of their rate.
    """
    clean = clean_pesq(kbps)
    if concealed + copied <= 0.0:
        return clean
    square = disturbance(clean) ** 2
    if copied > 0.0:
        coarser = disturbance(clean_pesq(copy_share * kbps)) ** 2 - square
        square += copied * (COPY_HARM * coarser + SWITCH_HARM)
    return _mapped(math.sqrt(square + CONCEALED_HARM * concealed))


def disturbance(score: float) -> float:
    """What PESQ found disturbed, of its score as ITU-T P.862.2 maps it."""
    return HIGHEST_RAW - (MAP_OFFSET - math.log(4.0 / (score - LOWEST) - 1.0)) / MAP_SLOPE


def _mapped(disturbance: float) -> float:
    return LOWEST + 4.0 / (1.0 + math.exp(MAP_OFFSET - MAP_SLOPE * (HIGHEST_RAW - disturbance)))


def clean_pesq(kbps: float) -> float:
    """PESQ of a payload rate without loss."""
    points = PESQ_BY_KBPS
    at = min(max(kbps, points[0][0]), points[-1][0])
    for (low, low_score), (high, high_score) in pairwise(points):
        if at <= high:
            share = math.log(at / low) / math.log(high / low)
            return low_score + share * (high_score - low_score)
    return points[-1][1]


def delay_penalty(delay_ms: float) -> float:
    """What a delay from mouth to ear costs of the same score."""
    return DELAY_PER_MS * delay_ms + LATE_PER_MS * max(0.0, delay_ms - KNEE_MS)
