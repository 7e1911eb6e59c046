"""A whole stream through a bad network on a simulated clock, from encoder to loudspeaker, with its reports.

What ``roundtrip`` and the quality measurements under loss run on: no socket, no sleeping, the same result each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.jitter_types import FRAME_MS, JitterConfig
from streamcodec.net.lossy_link import LossyLink
from streamcodec.net.playout import Decoder
from streamcodec.net.redundancy import RedundantForm
from streamcodec.net.report import ReceiverReport
from streamcodec.net.session import Encoder, MediaReceiver, MediaSender, ReceiverStats, SenderStats
from streamcodec.net.time_scale import Samples
from streamcodec.net.voice_activity import VoiceActivityDetector
from streamcodec.net.wire_sender import WireRateSender

REPORT_DELAY_MS = 40.0


@dataclass(frozen=True, slots=True)
class SimulatedStream:
    """What came out, and what happened on the way."""

    samples: Samples
    """As a loudspeaker would have played them from the first sample sent on: waiting included.

    Shape: ``[n]``, somewhat longer than what went in.
    """
    sender: SenderStats
    receiver: ReceiverStats
    concealed: tuple[bool, ...]
    """For each 10 ms played: whether anything was concealed in it."""
    waited_samples: int
    """Of :attr:`samples`, how many at the beginning were played before the first packet."""
    made_up: float
    """Share of the sound, before the last of it was due, that was concealed."""
    playout_ms: float
    """Playout delay aimed at while sound was sent, on average."""


def simulate_stream(
    samples: Samples,
    sample_rate_hz: int,
    encoder: Encoder,
    decoder: Decoder,
    link: LossyLink,
    *,
    encode_redundant: RedundantForm | None = None,
    redundancy: int | None = None,
    congestion: CongestionConfig | None = None,
    jitter: JitterConfig | None = None,
    tail_ms: float = 500.0,
    sender: MediaSender | None = None,
) -> SimulatedStream:
    """Send ``samples`` through ``link``, with reports coming back unharmed after 40 ms.

    ``redundancy`` None lets the reports choose redundancy. ``congestion`` with equal minimum and maximum rates keeps
    the bitrate fixed. A ``sender`` made before, around ``encoder``, takes the place of one of these settings.
    Shape: ``samples`` ``[n]`` float32.
    """
    sender = sender or MediaSender(encoder, encode_redundant, congestion, redundancy)
    receiver = MediaReceiver(decoder, sample_rate_hz, jitter)
    tick_ms = FRAME_MS / 2
    block = round(sample_rate_hz * tick_ms / 1_000.0)
    voice_activity = VoiceActivityDetector(sample_rate_hz)
    reports: list[tuple[float, bytes]] = []
    played: list[Samples] = []
    concealed: list[bool] = []
    targets_ms: list[float] = []
    end_ms = 1_000.0 * len(samples) / sample_rate_hz + link.config.delay_ms
    made_up = 0.0
    before = waited = 0
    flushed = False
    ticks = -(-len(samples) // block) + int((link.config.delay_ms + link.config.jitter_ms + tail_ms) / tick_ms)
    for tick in range(ticks):
        now_ms = tick * tick_ms
        datagrams: list[bytes] = []
        if tick * block < len(samples):
            pushed = samples[tick * block : (tick + 1) * block]
            if voice_activity.hear(pushed) and isinstance(sender, WireRateSender):
                sender.note_voice(voice_activity.talking)
            datagrams = sender.push(pushed)
        elif not flushed:
            datagrams = sender.flush()
            flushed = True
        # A block has been heard in full only at its end.
        for datagram in datagrams:
            link.send(datagram, now_ms + tick_ms)
        for arrival_ms, datagram in link.receive(now_ms):
            receiver.receive(datagram, arrival_ms)
        played.append(receiver.pull(now_ms, block))
        counts = receiver.stats.jitter
        if not counts.played + counts.recovered + counts.concealed:
            waited += block
        elif not flushed:
            targets_ms.append(counts.target_ms)
        if now_ms < end_ms + counts.target_ms:
            made_up = counts.concealed / max(counts.played + counts.recovered + counts.concealed, 1)
        now_concealed = counts.concealed
        concealed.append(now_concealed > before)
        before = now_concealed
        report = receiver.report(now_ms)
        if report is not None:
            reports.append((now_ms + REPORT_DELAY_MS, report))
        while reports and reports[0][0] <= now_ms:
            sender.hear_report("receiver", ReceiverReport.from_bytes(reports.pop(0)[1]), now_ms)
        sender.tick(now_ms)
    playout_ms = float(np.mean(targets_ms)) if targets_ms else 0.0
    return SimulatedStream(
        np.concatenate(played), sender.stats, receiver.stats, tuple(concealed), waited, made_up, playout_ms
    )
