"""Packets made once, stored in the repository, still decode to the same indices."""

from __future__ import annotations

import hashlib
import json
from itertools import groupby
from pathlib import Path

import numpy as np

from streamcodec import Packet, StreamDecoder
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL


def test_golden_packets_still_decode(fixtures: Path) -> None:
    entries = json.loads((fixtures / "golden_packets.json").read_text())
    assert len(entries) > 100
    for _, group in groupby(entries, key=lambda entry: entry["stream"]):
        decoder = NeuralDecoder(load_runtime(DEFAULT_MODEL))
        player = StreamDecoder(24_000)
        loudest = 0.0
        for entry in group:
            packet = Packet.from_bytes(bytes.fromhex(entry["packet"]))
            indices = decoder.indices_of(packet)
            assert indices is not None
            digest = hashlib.sha256(indices.astype("<i4").tobytes()).hexdigest()[:16]
            assert digest == entry["indices_sha256"]
            loudest = max(loudest, float(np.abs(player.push(packet)).max()))
        assert player.concealed == 0
        assert 0.05 < loudest <= 1.0
