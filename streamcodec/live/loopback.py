"""A running loopback: devices, the codec on a thread of its own, and a recording if wanted."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from streamcodec.live.devices import Device, DuplexStream, open_duplex
from streamcodec.live.engine import LoopbackConfig, LoopbackEngine, LoopbackStats
from streamcodec.live.errors import DeviceError
from streamcodec.live.lasting_stream import LastingStream
from streamcodec.live.recorder import Recorder
from streamcodec.live.ring_buffer import Samples
from streamcodec.live.wake_up import WakeUp
from streamcodec.runtime.scheduling import Scheduling

SWITCH_INTERVAL_S = 0.0005
"""Python hands its interpreter from thread to thread this often, instead of every 5 ms: half a device block."""
IDLE_S = 0.02
POLL_S = 0.1
STALLED_S = 5.0


class Loopback:
    """Microphone to loudspeaker through the codec, while a ``with`` block lasts.

    Use: ``with Loopback() as loopback: loopback.wait(10.0); print(loopback.stats)``. Errors: DeviceError where
    PortAudio or a device is missing, on entering; whatever a LoopbackConfig may raise, on construction; from
    :meth:`wait`, SchedulingError where the codec's thread may not be scheduled so.
    """

    def __init__(
        self,
        config: LoopbackConfig | None = None,
        *,
        input_device: Device = None,
        output_device: Device = None,
        record: str | Path | None = None,
        scheduling: Scheduling | None = None,
    ) -> None:
        self.engine = LoopbackEngine(config, record=record is not None)
        self._devices = (input_device, output_device)
        self._record = record
        self._scheduling = scheduling or Scheduling()
        self._wake_up = WakeUp()
        self._running = False
        self._failure: Exception | None = None
        self._stream: LastingStream | None = None
        self._device_ms = 0.0

    @property
    def stats(self) -> LoopbackStats:
        """A snapshot; remains after the end."""
        return self.engine.stats(self._device_ms, 0 if self._stream is None else self._stream.reopened)

    def __enter__(self) -> Loopback:
        engine, rate_hz = self.engine, self.engine.config.sample_rate_hz
        with ExitStack() as undo:
            self._stream = LastingStream(self._open)
            undo.callback(self._stream.close)
            if self._record is not None and engine.recorded is not None:
                undo.callback(Recorder(self._record, rate_hz, engine.recorded).close)
            undo.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            codec = threading.Thread(target=self._run_codec, name="streamcodec-codec", daemon=True)
            self._running = True
            codec.start()
            undo.callback(codec.join)
            undo.callback(setattr, self, "_running", False)
            undo.callback(self._stream.close)
            self._stream.start()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def wait(self, seconds: float) -> None:
        """Let it run until this many more seconds of sound have come in; raises what stopped it, if something did."""
        until_s = self.engine.captured_s + seconds
        heard_at_s, before_s = time.monotonic(), self.engine.captured_s
        while (left_s := until_s - self.engine.captured_s) > 0.0:
            time.sleep(min(left_s, POLL_S))
            if self._failure is not None:
                raise self._failure
            if self._stream is not None:
                self._stream.keep()
            if self.engine.captured_s > before_s:
                heard_at_s, before_s = time.monotonic(), self.engine.captured_s
            elif time.monotonic() - heard_at_s > STALLED_S:
                raise DeviceError(
                    f"the sound device has given nothing for {STALLED_S:g} s: is another program using it?"
                )

    def _open(self) -> DuplexStream:
        config, block_samples = self.engine.config, self.engine.block_samples
        stream = open_duplex(config.sample_rate_hz, block_samples, self._on_block, *self._devices)
        self._device_ms = 1_000.0 * sum(stream.latency)
        return stream

    def _on_block(self, captured: Samples, played: Samples) -> None:
        self.engine.callback(captured, played)
        self._wake_up.ring()

    def _run_codec(self) -> None:
        try:
            self._scheduling.apply()
            while self._running:
                self._wake_up.wait(IDLE_S)
                self.engine.process()
        except Exception as failure:  # handed to the thread that waits, which can say it to the user
            self._failure = failure
