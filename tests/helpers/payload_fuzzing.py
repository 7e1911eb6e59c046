"""Mutated payloads of every tier through the decoders, for a process whose kernels check their bounds.

Use: ``NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=... python -m tests.helpers.payload_fuzzing COUNT [SEED] [--whole]``.
Without ``--whole`` what turns coefficients into sound, where no payload can point, is neither compiled nor run.
Checksums inside payloads count as right, so that what a mutation has done to the state of a decoder reaches the
packets behind it.
Prints one JSON object; an index out of bounds, or any other exception, ends the process with its traceback and the
payload.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import config
from numpy.typing import NDArray

from streamcodec import Packet, Tier
from streamcodec.codec.files.container import FileHeader
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.decoding import decoder_for
from streamcodec.codec.lossless import engine as lossless
from streamcodec.codec.lossless.engine import LosslessDecoder
from streamcodec.codec.near_lossless import spectra
from streamcodec.codec.near_lossless.engine import NearLosslessDecoder
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import load_runtime
from streamcodec.errors import DamagedPayload
from streamcodec.models.shipped import DEFAULT_MODEL

CORPUS = Path(__file__).parents[1] / "fixtures" / "corpus"


class _AnyChecksum(bytes):
    """Equal to whatever a payload says."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def trust_checksums() -> None:
    """Let damaged lossless payloads through to what comes behind the check."""
    lossless.samples_checksum = lambda samples: _AnyChecksum()


class Reader:
    """What payloads of a stream say, without making sound of it: nothing but what they can point into is compiled."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        if self._tier is Tier.NEURAL:
            self._engine: Any = NeuralDecoder(load_runtime(DEFAULT_MODEL))
        else:
            self._engine = NearLosslessDecoder() if self._tier is Tier.NEAR_LOSSLESS else LosslessDecoder()

    def push(self, packet: Packet) -> NDArray[Any] | None:
        """Indices, spectra or samples; None where the payload is damaged."""
        try:
            if self._tier is Tier.NEURAL:
                indices = [self._engine.indices_of(part) for part in packet.each_frame()]
                return None if any(found is None for found in indices) else np.stack(indices)
            decode = self._engine._decoded if self._tier is Tier.NEAR_LOSSLESS else self._engine.decode
            found: NDArray[Any] = decode(packet.payload)
            return found
        except DamagedPayload:
            if self._tier is Tier.NEAR_LOSSLESS:
                self._engine._in_step = False
            return None


def streams() -> Iterator[tuple[str, FileHeader, list[Packet]]]:
    """Good packets of each kind of stream."""
    for path in sorted((CORPUS / "container").glob("*.sc")):
        with path.open("rb") as file:
            reader = FileReader(file)
            yield path.stem, reader.header, [timed.packet for timed in reader.packets()]


def mutated(payload: bytes, rng: random.Random) -> bytes:
    """The payload with some bits flipped, bytes changed, cut off, put in or made up."""
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randrange(8))
        elif kind == 4:
            del data[at : at + rng.randrange(1, 8)]
        else:
            # The head stays, so that it is the coder that meets noise.
            data[min(at, 8) :] = rng.randbytes(rng.randrange(200))
    return bytes(data)


def fuzz(count: int, seed: int, *, whole: bool) -> dict[str, int]:
    """So many mutated payloads through each kind of stream; returns how many, by stream."""
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    for name, header, packets in streams():
        decoder = decoder_for(header) if whole else Reader(header.tier)
        while done[name] < count:
            decoder.reset()
            first = rng.randrange(len(packets))
            for packet in packets[first : first + 8]:
                payload = packet.payload
                if rng.random() < 0.7:
                    payload = mutated(payload, rng)
                    done[name] += 1
                changed = replace(packet, quality_index=rng.randrange(16), payload=payload)
                try:
                    sound = decoder.push(changed)
                except Exception:
                    print(f"{name}: payload {payload.hex()}", file=sys.stderr)
                    raise
                if sound is not None and not np.isfinite(sound.astype(np.float64)).all():
                    raise ValueError(f"{name}: not finite after payload {payload.hex()}")
    return dict(done)


def leave_out_transforms() -> None:
    """Compile nothing of what only turns coefficients into others."""
    spectra.join_spectrum = lambda *arrays: None


def main() -> None:
    """Fuzz, and say what was done."""
    whole = "--whole" in sys.argv
    if not whole:
        leave_out_transforms()
    count, seed = (*map(int, (text for text in sys.argv[1:] if text != "--whole")), 1)[:2]
    trust_checksums()
    print(json.dumps({"bounds_checked": bool(config.BOUNDSCHECK), **fuzz(count, seed, whole=whole)}))


if __name__ == "__main__":
    main()
