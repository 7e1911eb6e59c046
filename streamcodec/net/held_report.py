"""A receiver report that waits for a packet to ride with: headers would cost several times what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamcodec.errors import PacketError
from streamcodec.net.report import ReceiverReport

LONGEST_WAIT_S = 0.13
"""A little more than the longest packet."""


class HeldReport:
    """The last report for one receiver. ``send_alone(report)`` is called when no packet came to take it along.

    What the report says of round trips is corrected for the time it was held. A newer report takes the place of one
    that still waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, send_alone: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._send_alone = send_alone
        self._report: bytes | None = None
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, report: bytes) -> None:
        """Keep a report until there is a packet, or for 0.13 s."""
        self._report, self._since_s = report, self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(LONGEST_WAIT_S, self._overdue)

    def take(self) -> bytes | None:
        """The report, to be sent now; None where there is none."""
        report, since_s = self._report, self._since_s
        self.forget()
        if report is None:
            return None
        try:
            return ReceiverReport.from_bytes(report).held(1_000.0 * (self._loop.time() - since_s)).to_bytes()
        except PacketError:
            return report

    def forget(self) -> None:
        """Drop what waits."""
        self._report = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        self._timer = None
        report = self.take()
        if report is not None:
            self._send_alone(report)
