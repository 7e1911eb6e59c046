"""The loss bench: what packets take on the wire, the best at each rate."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.loss import envelope
from streamcodec.evaluation.packet_loss.systems import OpusSystem, OwnSystem
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.net.loss_models import NoLoss, PatternLoss

Samples = NDArray[np.float32]


def test_the_envelope_is_what_no_cheaper_point_matches() -> None:
    points = [(30.0, 3.0), (16.0, 2.0), (20.0, 1.9), (26.0, 2.5), (40.0, 2.9)]
    assert envelope(points) == [(16.0, 2.0), (26.0, 2.5), (30.0, 3.0)]
    assert envelope([(1.0, 0.5), (2.0, 0.6), (3.0, 0.1)], lower=True) == [(1.0, 0.5), (3.0, 0.1)]


def noise(seconds: float) -> Samples:
    return (0.1 * np.random.default_rng(0).normal(size=round(24_000 * seconds))).astype(np.float32)


def test_opus_is_counted_from_the_first_header_to_the_last_tag() -> None:
    heard = OpusSystem(None, 12.0, 60, dred=False)(noise(1.0), 24_000, NoLoss(), 0.0)
    assert heard.wire_bytes - heard.carried_bytes == 50 * heard.packets
    assert heard.made_up == 0
    lossy = OpusSystem(None, 12.0, 20, dred=False)(noise(1.0), 24_000, PatternLoss("...x"), 0.25)
    assert lossy.made_up == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("wire_kbps", "copies"), [(16.0, False), (38.0, True)])
def test_streamcodec_keeps_to_the_wire_rate_with_everything_counted(wire_kbps: float, copies: bool) -> None:
    sound = noise(4.0)
    heard = OwnSystem(wire_kbps, DEFAULT_MODEL)(sound, 24_000, PatternLoss("........x"), 0.1)
    assert heard.wire_bytes * 0.008 / 4.0 == pytest.approx(wire_kbps, rel=0.1)
    assert heard.wire_bytes - heard.carried_bytes >= 51 * heard.packets
    assert (heard.payload_bytes < heard.carried_bytes) == copies
    assert heard.made_up < (0.06 if copies else 0.12)
    assert heard.playout_ms <= 105.0
    assert len(heard.samples) >= len(sound)
