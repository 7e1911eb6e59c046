"""Golden packets and a lossy stream, decoded in a page and held to Python's indices and sound."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec import Packet, StreamDecoder, StreamEncoder

RATE_HZ = 24_000
LOST = (5, 30, 31, 32, 33, 34)
DECODE = """
  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
  const letters = (array) => Array.from(new Uint8Array(array.buffer), (one) => String.fromCharCode(one));
  const base64 = (array) => btoa(letters(array).join(''));
  const indices = [];
  let decoder, name;
  for (const entry of golden) {
    if (entry.stream !== name) decoder = new Decoder(codec);
    name = entry.stream;
    decoder.push(bytes(entry.packet));
    indices.push(base64(decoder.indices()));
  }
  decoder = new Decoder(codec);
  const blocks = stream.map((hex) => base64(decoder.push(hex === null ? null : bytes(hex))));
"""
"""Part of a script: from ``golden``, ``stream``, ``codec`` and ``Decoder`` to ``indices`` and ``blocks``."""


def packets_of(speech: NDArray[np.float32]) -> list[Packet]:
    """Speech as Python codes it for these tests."""
    return StreamEncoder(RATE_HZ, 6_000, backend="compiled").push(speech)


def with_losses(packets: Sequence[Packet]) -> list[Packet | None]:
    """The packets, some of them lost."""
    return [None if k in LOST else packet for k, packet in enumerate(packets)]


def as_hex(stream: Sequence[Packet | None]) -> list[str | None]:
    """A stream as a page is given it."""
    return [packet and packet.to_bytes().hex() for packet in stream]


def check(found: dict[str, Any], golden: list[dict[str, Any]], stream: Sequence[Packet | None]) -> None:
    """Indices bit for bit, sound within 80 dB of Python's."""
    for entry, indices in zip(golden, found["indices"], strict=True):
        assert hashlib.sha256(base64.b64decode(indices)).hexdigest()[:16] == entry["indices_sha256"]
    decoder = StreamDecoder(RATE_HZ, backend="compiled")
    reference = np.concatenate([decoder.push(packet) for packet in stream]).astype(np.float64)
    heard = np.concatenate([np.frombuffer(base64.b64decode(block), np.float32) for block in found["blocks"]])
    assert 10 * np.log10(np.sum(reference**2) / np.sum((heard - reference) ** 2)) >= 80.0
