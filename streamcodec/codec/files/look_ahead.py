"""Whole sounds: a stream's packets as they run, or with the rate spread over a minute that is known beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from streamcodec.codec.options import Samples
from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.stream import StreamEncoder

STRETCH_S = 60.0
"""Sound over which quality is steady, for which it is held in memory."""


def encode_running(encoder: StreamEncoder, blocks: Iterable[Samples]) -> Iterator[Packet]:
    """Packets of a whole sound, coded as it comes.

    Shape: each block as of :meth:`StreamEncoder.push`.
    """
    for block in blocks:
        yield from encoder.push(block)
    yield from encoder.flush()


def encode_steadily(encoder: StreamEncoder, blocks: Iterable[Samples], share: float = 1.0) -> Iterator[Packet]:
    """Packets of a whole sound, the neural tier's quality steady; where packets are bounded or skipped, as they run.

    Steady packets take a ``share`` of the bitrate.

    Shape: each block as of :meth:`StreamEncoder.push`.
    """
    settings = encoder.settings
    if settings.tier is not Tier.NEURAL or settings.constrained or settings.dtx:
        yield from encode_running(encoder, blocks)
        return
    left_s = 0.0
    for stretch, ends in _stretches(blocks, round(STRETCH_S * encoder.sample_rate_hz)):
        budget_s = share * len(stretch) / encoder.sample_rate_hz + left_s
        left_s = encoder.plan_constant_quality(stretch, budget_s, ends=ends)
        yield from encoder.push(stretch)
    yield from encoder.flush()


def _stretches(blocks: Iterable[Samples], length: int) -> Iterator[tuple[Samples, bool]]:
    """The sound in pieces of ``length`` samples, and of the last, 0.5 to 1.5 times as long, that it is the last."""
    waiting: list[Samples] = []
    for block in blocks:
        waiting.append(block)
        while 2 * sum(map(len, waiting)) > 3 * length:
            sound = np.concatenate(waiting)
            yield sound[:length], False
            waiting = [sound[length:]]
    if waiting:
        yield np.concatenate(waiting), True
