"""A sender that keeps to a rate on the wire; see :mod:`streamcodec.net.wire_rate`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from streamcodec.net.congestion import SendRate
from streamcodec.net.redundancy import FIRST_SHARE, RedundantForm
from streamcodec.net.report import ReceiverReport
from streamcodec.net.session import Encoder, MediaSender
from streamcodec.net.wire_rate import SendPlan, WireRateConfig, WireRateController


@runtime_checkable
class AdjustableEncoder(Encoder, Protocol):
    """An encoder whose packets may become longer or shorter as it goes."""

    def set_packet_ms(self, packet_ms: int, /) -> None:
        """Make packets of 20, 40, ... 120 ms from the next one on."""


class WireRateSender(MediaSender):
    """As :class:`~streamcodec.net.session.MediaSender`, at a rate that counts everything.

    ``encoder`` must take other packet lengths in mid-stream.
    """

    def __init__(
        self, encoder: AdjustableEncoder, encode_redundant: RedundantForm | None, config: WireRateConfig
    ) -> None:
        super().__init__(encoder, encode_redundant)
        self._adjustable = encoder
        self._wire = WireRateController(config)
        self._packet_ms: int | None = None
        self._follow(self._wire.plan)

    @property
    def plan(self) -> SendPlan:
        """What is sent now, and what it is expected to cost."""
        return self._wire.plan

    def hear_report(self, receiver: str, report: ReceiverReport, now_ms: float) -> None:
        """Take a report of one receiver, and change what is sent if it says so."""
        super().hear_report(receiver, report, now_ms)
        self._follow(self._wire.on_report(receiver, report, self._round_trips_ms.get(receiver), now_ms))

    def tick(self, now_ms: float) -> None:
        """Call several times a second."""
        super().tick(now_ms)
        self._follow(self._wire.on_tick(now_ms))

    def forget(self, receiver: str) -> None:
        """A receiver has left."""
        super().forget(receiver)
        self._wire.forget(receiver)

    def note_paths(self, direct: int, relayed: int, seal_bytes: int, now_ms: float) -> None:
        """Over how many lines and relayed messages everybody is reached, and what sealing adds to the latter."""
        self._follow(self._wire.on_paths(direct, relayed, seal_bytes, now_ms))

    def note_wire(self, sent_bps: float, now_ms: float) -> None:
        """About once a second: what was measured to go out in the last few."""
        self._wire.on_wire(sent_bps, now_ms)

    def note_voice(self, talking: bool) -> None:
        """Whether what is pushed is speech: packets change their length in pauses."""
        self._wire.on_voice(talking)

    def _follow(self, plan: SendPlan) -> None:
        if plan.packet_ms != self._packet_ms:
            self._packet_ms = plan.packet_ms
            self._adjustable.set_packet_ms(plan.packet_ms)
        if self._rate is None or plan.bitrate_bps != self._rate.bitrate_bps:
            self._encoder.set_bitrate(plan.bitrate_bps)
        self._redundancy.ages = plan.ages
        self._redundancy.share = plan.copy_share or FIRST_SHARE
        self._rate = SendRate(plan.bitrate_bps, len(plan.ages), plan.ages)
