"""Servers of other projects, started by tests."""

from __future__ import annotations

import asyncio
import socket
import time


async def until_somebody_listens(port: int, seconds: float = 10.0) -> None:
    """Wait for a server on the loopback address; returns in any case, and what comes next fails if there is none."""
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.02)
