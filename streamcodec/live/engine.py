"""The loop from microphone to loudspeaker, without a device: a callback on one side, a codec on the other.

:meth:`LoopbackEngine.callback` belongs to the device's thread and only copies between rings.
:meth:`LoopbackEngine.process` belongs to the codec's thread: encode, lossy link, jitter buffer, decode. Its only
clock is the count of samples captured, so a simulated device gives the same result each time.

Every captured block is answered by one block to play. The delay is therefore fixed by what the playback ring held at
the start (``buffer_ms``); a block that comes too late is heard later by as much, and the buffer has grown by itself.
While it holds more than it has needed for a while, blocks are shortened where that is not heard.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamcodec.codec.audio_format import FiniteSamples
from streamcodec.codec.options import DecoderOptions, NeuralOptions
from streamcodec.codec.packet import Tier
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.errors import StreamcodecError
from streamcodec.live.cost_window import HOP_MS, CostWindow, HopCost
from streamcodec.live.feedback_guard import SILENCE_DBFS, FeedbackGuard, GuardState
from streamcodec.live.ring_buffer import RingBuffer, Samples
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.net import time_scale
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.delay_estimator import DelayConfig
from streamcodec.net.jitter_types import JitterConfig
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
from streamcodec.net.lossy_link import LinkConfig, LossyLink
from streamcodec.net.report import ReceiverReport
from streamcodec.net.session import MediaReceiver, MediaSender, ReceiverStats, SenderStats
from streamcodec.net.simulate import REPORT_DELAY_MS
from streamcodec.runtime.backend import Backend
from streamcodec.wording import named

LONGEST_CALLBACK_S = 0.1
CAPTURE_S = 0.25
"""How far the codec may fall behind before captured sound is dropped."""
SPARE_WINDOW_S = 2.0
"""The playback ring is judged by the least that it held over this long."""
RECORD_S = 2.0


@dataclass(frozen=True, slots=True)
class LoopbackConfig:
    """What a loopback does with the sound. Errors: those of ``StreamEncoder`` and of GilbertElliottConfig, and
    StreamcodecError on a buffer that is negative or too long.
    """

    sample_rate_hz: int = 48_000
    bitrate_bps: int = 6_000
    constrained: bool = False
    dtx: bool = False
    packet_ms: int | None = None
    model: str = DEFAULT_MODEL
    backend: Backend = "auto"
    loss: float = 0.0
    """Share of packets lost on the simulated link."""
    mean_burst_packets: float = 1.0
    jitter_ms: float = 0.0
    """Extra delay of each packet on the simulated link, uniform between 0 and this."""
    seed: int = 0
    redundancy: int | None = 0
    """Redundant copies in each packet; None follows reports of the receiver's, as in a call."""
    buffer_ms: float = 10.0
    """Sound held ready for a device that asks for two blocks at once; grows when that is too little."""
    longest_buffer_ms: float = 120.0
    """The playback ring refuses what exceeds this."""
    allow_feedback: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.buffer_ms <= self.longest_buffer_ms:
            raise StreamcodecError(
                f"{named('buffer_ms')} must be from 0 to {self.longest_buffer_ms:g} ms, got {self.buffer_ms:g}"
            )
        GilbertElliottConfig(self.loss, self.mean_burst_packets)
        _ = self.encoder_options, self.decoder_options  # what they refuse is refused here

    @property
    def encoder_options(self) -> NeuralOptions:
        """What is sent."""
        return NeuralOptions(
            self.sample_rate_hz,
            self.bitrate_bps,
            constrained=self.constrained,
            dtx=self.dtx,
            model=self.model,
            packet_ms=self.packet_ms,
            backend=self.backend,
        )

    @property
    def decoder_options(self) -> DecoderOptions:
        """What is heard."""
        return DecoderOptions(Tier.NEURAL, self.sample_rate_hz, model=self.model, backend=self.backend)


@dataclass(frozen=True, slots=True)
class DelaySplit:
    """From mouth to ear, in milliseconds, by what causes it."""

    device_ms: float
    """As the devices state it, from microphone to callback and from callback to loudspeaker."""
    frame_ms: float
    """Collecting one packet."""
    codec_ms: float
    """Overlap of frames, and resampling."""
    buffer_ms: float
    """Playback ring and jitter buffer, as they are now."""

    @property
    def total_ms(self) -> float:
        """The sum."""
        return self.device_ms + self.frame_ms + self.codec_ms + self.buffer_ms


@dataclass(frozen=True, slots=True)
class LoopbackStats:
    """A snapshot of a running loopback; counts and rates since its start."""

    seconds: float
    mic_dbfs: float
    heard_dbfs: float
    payload_bps: float
    wire_bps: float
    """With the headers of a direct line: IP, UDP and SRTP."""
    cost: HopCost
    packets: int
    lost: int
    redundancy: int
    """Redundant copies in each packet, at the moment."""
    recovered: int
    """Packets played from a copy in a later one."""
    concealed: int
    """Packet durations made up by the decoder."""
    late: int
    jitter_depth_ms: float
    playback_ms: float
    dropped_ms: float
    """Sound thrown away because the codec, or the device, fell behind."""
    not_finite: int
    """Samples from the microphone that were NaN or infinite, heard as silence and as the loudest sample."""
    underruns: int
    """Callbacks for which not all sound was ready."""
    device_restarts: int
    """How often the device ended its stream and was opened again."""
    guard: GuardState
    feedback_found: int
    delay: DelaySplit


@dataclass(frozen=True, slots=True)
class _Counts:
    sent: SenderStats
    received: ReceiverStats
    lost: int


class LoopbackEngine:
    """Microphone blocks in, loudspeaker blocks out, the codec and a bad network in between.

    Ready to run once constructed: the model is loaded and every kernel compiled. Errors: AudioFormatError,
    BitrateError, ModelError, StreamcodecError on settings that do not fit.
    """

    def __init__(
        self,
        config: LoopbackConfig | None = None,
        clock_s: Callable[[], float] = time.perf_counter,
        *,
        record: bool = False,
    ) -> None:
        self.config = config = config or LoopbackConfig()
        rate_hz = config.sample_rate_hz
        encoder, decoder = _warm(StreamEncoder.of(config.encoder_options), StreamDecoder.of(config.decoder_options))
        # 10 ms, or a third of a packet where half of one is no whole number of samples (22,050 Hz): blocks that do
        # not divide packets make these come unevenly, which the jitter buffer would answer with delay.
        self.block_samples = encoder.frame_samples // (3 if encoder.frame_samples % 2 else 2)
        self._block_ms = 1_000.0 * self.block_samples / rate_hz
        self._packet_ms = 1_000.0 * encoder.block_samples / rate_hz
        self._codec_ms = 1_000.0 * (encoder.delay_samples + decoder.delay_samples) / rate_hz
        # Equal bounds hold the rate where the user put it, whatever the reports.
        fixed_rate = CongestionConfig(
            config.bitrate_bps, config.bitrate_bps, config.bitrate_bps, expected_loss=config.loss
        )
        self._sender = MediaSender(encoder, encoder.encode_redundant, fixed_rate, config.redundancy)
        self._receiver = MediaReceiver(decoder, rate_hz, _jitter_config(config.jitter_ms))
        self._link = LossyLink(
            LinkConfig(delay_ms=0.0, jitter_ms=config.jitter_ms),
            GilbertElliott(GilbertElliottConfig(config.loss, config.mean_burst_packets), config.seed),
            config.seed,
        )
        self._reports: deque[tuple[float, ReceiverReport]] = deque()
        self._counts = self._count()
        self._finite = FiniteSamples("what the microphone gives")
        self._guard = FeedbackGuard(self._block_ms)
        self._clock_s = clock_s
        self._costs = CostWindow()
        self._cost_s = 0.0
        self._cost_hops = 0.0
        self._captured_samples = 0
        self._gain = 1.0
        self._mic_dbfs = self._heard_dbfs = SILENCE_DBFS
        self._make_rings(record)

    def _make_rings(self, record: bool) -> None:
        config, rate_hz = self.config, self.config.sample_rate_hz
        longest = round(LONGEST_CALLBACK_S * rate_hz)
        self._capture = RingBuffer(round(CAPTURE_S * rate_hz))
        # The first callback wants a block before the first captured one can have been answered.
        ready = self.block_samples + round(config.buffer_ms / 1_000.0 * rate_hz)
        self._playback = RingBuffer(self.block_samples + round(config.longest_buffer_ms / 1_000.0 * rate_hz))
        self._playback.write(np.zeros(ready, np.float32))
        self.recorded = RingBuffer(round(RECORD_S * rate_hz), channels=2) if record else None
        """Left what the microphone heard, right what was played at the same time."""
        self._mic_scratch: Samples = np.zeros(longest, np.float32)
        self._play_scratch: Samples = np.zeros(longest, np.float32)
        self._record_scratch: Samples = np.zeros((longest, 2), np.float32)
        self._input: Samples = np.zeros(self.block_samples, np.float32)
        self._rising: Samples = np.linspace(0.0, 1.0, self.block_samples, dtype=np.float32)
        self._underruns = 0
        # The least that was left after a callback, in the window now open and in the last one complete.
        self._spare_now = self._spare_samples = ready - self.block_samples
        self._window_samples = 0
        self._windows = self._judge_from_window = 0
        self._excess_samples = 0
        self._removed_samples = 0
        self._ready_samples = ready - self.block_samples

    # -- the device's thread ---------------------------------------------------------------------------------------

    def callback(self, captured: Samples, played: Samples) -> None:
        """One block from the microphone and one for the loudspeaker: copies only, no waiting, no new arrays.

        Shape: ``[frames, channels]`` each, frames up to 0.1 s; channels may differ.
        """
        frames = len(captured)
        mic, play = self._mic_scratch[:frames], self._play_scratch[:frames]
        np.add.reduce(captured, axis=1, out=mic)
        mic /= captured.shape[1]
        self._capture.write(mic)
        if self._playback.read_into(play) < frames:
            self._underruns += 1
        played[:] = play[:, np.newaxis]
        self._note_spare(frames)
        if self.recorded is not None:
            pair = self._record_scratch[:frames]
            pair[:, 0] = mic
            pair[:, 1] = play
            self.recorded.write(pair)

    def _note_spare(self, frames: int) -> None:
        self._spare_now = min(self._spare_now, self._playback.available_samples)
        self._window_samples += frames
        if self._window_samples >= SPARE_WINDOW_S * self.config.sample_rate_hz:
            self._spare_samples = self._spare_now
            self._spare_now = self._playback.available_samples
            self._window_samples = 0
            self._windows += 1

    # -- the codec's thread ----------------------------------------------------------------------------------------

    def process(self) -> int:
        """Answer every block captured so far; returns how many there were."""
        blocks = 0
        while self._capture.available_samples >= self.block_samples:
            self._capture.read_into(self._input)
            self._playback.write(self._answer(self._finite.clean(self._input)))
            blocks += 1
        if blocks:
            self._counts = self._count()
        return blocks

    def _count(self) -> _Counts:
        """Sender and receiver count in structures of this thread; others get a copy that no longer changes."""
        return _Counts(self._sender.stats, self._receiver.stats, self._link.stats.lost)

    def _answer(self, captured: Samples) -> Samples:
        self._captured_samples += self.block_samples
        now_ms = 1_000.0 * self._captured_samples / self.config.sample_rate_hz
        began_s = self._clock_s()
        for datagram in self._sender.push(captured):
            self._link.send(datagram, now_ms)
        for arrival_ms, datagram in self._link.receive(now_ms):
            self._receiver.receive(datagram, arrival_ms)
        heard = self._receiver.pull(now_ms, self.block_samples)
        self._report_back(now_ms)
        self._note_cost(self._clock_s() - began_s)
        self._mic_dbfs, self._heard_dbfs = _dbfs(captured), _dbfs(heard)
        return self._guarded(self._drained(heard))

    def _report_back(self, now_ms: float) -> None:
        """What the receiver tells the sender, unharmed and a moment later."""
        report = self._receiver.report(now_ms)
        if report is not None:
            self._reports.append((now_ms + REPORT_DELAY_MS, ReceiverReport.from_bytes(report)))
        while self._reports and self._reports[0][0] <= now_ms:
            self._sender.hear_report("receiver", self._reports.popleft()[1], now_ms)

    def _note_cost(self, cost_s: float) -> None:
        """Encoding happens in one block of a packet, decoding too: what counts is the packet, per 10 ms of it."""
        self._cost_s += cost_s
        self._cost_hops += self._block_ms / HOP_MS
        if self._cost_hops >= self._packet_ms / HOP_MS - 0.1:
            self._costs.add(1_000.0 * self._cost_s / self._cost_hops)
            self._cost_s = self._cost_hops = 0.0

    def _drained(self, block: Samples) -> Samples:
        rate_hz = self.config.sample_rate_hz
        if self._excess_samples <= 0 and self._windows >= self._judge_from_window:
            excess = self._spare_samples - round(self.config.buffer_ms / 1_000.0 * rate_hz)
            self._excess_samples = excess if excess >= self.block_samples // 2 else 0
        if self._excess_samples <= 0:
            return block
        shorter = time_scale.accelerate(block, rate_hz)
        removed = len(block) - len(shorter)
        self._excess_samples -= removed
        self._removed_samples += removed
        # The window now open has seen the excess; the one after it will not have.
        self._judge_from_window = self._windows + 2
        return shorter

    @property
    def _held_samples(self) -> int:
        """What the playback ring holds after a callback once the codec has caught up: all that delays the sound
        there, however the two threads happen to lie."""
        dropped = self._capture.overflowed_samples + self._playback.overflowed_samples
        return self._ready_samples + self._playback.missing_samples - self._removed_samples - dropped

    def _guarded(self, block: Samples) -> Samples:
        gain = 1.0 if self.config.allow_feedback else self._guard.step(self._mic_dbfs)
        before, self._gain = self._gain, gain
        if before == gain == 1.0:
            return block
        ramp = self._rising[: len(block)]
        faded: Samples = block * (np.float32(before) + np.float32(gain - before) * ramp)
        return faded

    # -- any thread ------------------------------------------------------------------------------------------------

    @property
    def captured_s(self) -> float:
        """Sound taken from the microphone and answered so far."""
        return self._captured_samples / self.config.sample_rate_hz

    def stats(self, device_ms: float = 0.0, device_restarts: int = 0) -> LoopbackStats:
        """A snapshot; ``device_ms`` is the delay that the devices state, ``device_restarts`` how often they ended."""
        rate_hz = self.config.sample_rate_hz
        seconds = self.captured_s
        counts = self._counts
        sent, received = counts.sent, counts.received
        per_second = 8.0 / max(seconds, 1e-9)
        playback_ms = 1_000.0 * max(0, self._held_samples) / rate_hz
        dropped = self._capture.overflowed_samples + self._playback.overflowed_samples
        return LoopbackStats(
            seconds=seconds,
            mic_dbfs=self._mic_dbfs,
            heard_dbfs=self._heard_dbfs,
            payload_bps=sent.payload_bytes * per_second,
            wire_bps=sent.wire_bytes * per_second,
            cost=self._costs.summary(),
            packets=sent.packets,
            lost=counts.lost,
            redundancy=0 if sent.rate is None else sent.rate.redundancy,
            recovered=received.jitter.recovered,
            concealed=received.jitter.concealed,
            late=received.jitter.late,
            jitter_depth_ms=received.jitter.depth_ms,
            playback_ms=playback_ms,
            dropped_ms=1_000.0 * dropped / rate_hz,
            not_finite=self._finite.count,
            underruns=self._underruns,
            device_restarts=device_restarts,
            guard=self._guard.state,
            feedback_found=self._guard.confirmed,
            delay=DelaySplit(device_ms, self._packet_ms, self._codec_ms, playback_ms + received.jitter.depth_ms),
        )


def _warm(encoder: StreamEncoder, decoder: StreamDecoder) -> tuple[StreamEncoder, StreamDecoder]:
    """Run a packet through, so that nothing is compiled or allocated for the first time once sound flows."""
    for packet in encoder.push(np.zeros(encoder.block_samples, np.float32)):
        decoder.push(packet)
    encoder.reset()
    decoder.reset()
    return encoder, decoder


def _jitter_config(jitter_ms: float) -> JitterConfig:
    """Packets of a link without jitter come on the dot: a target above nothing would only add delay."""
    if jitter_ms > 0.0:
        return JitterConfig()
    return JitterConfig(delay=DelayConfig(minimum_ms=1.0, initial_ms=1.0, margin_ms=0.0))


def _dbfs(block: Samples) -> float:
    mean_square = float(block @ block) / max(len(block), 1)
    return max(SILENCE_DBFS, 10.0 * float(np.log10(mean_square + 1e-20)))
