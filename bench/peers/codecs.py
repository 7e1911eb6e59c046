"""Codecs, encode and decode of the same speech at 24 kHz and 6 kbps, one thread."""

from __future__ import annotations

import itertools
import sys
import types

from bench.peers.peer import Peer, PeerUnavailable
from streamcodec import StreamPool
from streamcodec.evaluation.latency.link import Link, blocks_of, bundled_speech
from streamcodec.models.shipped import DEFAULT_MODEL

RATE_HZ = 24_000
KBPS = 6
POOL_STREAMS = 16


def streamcodec_alone(model: str = DEFAULT_MODEL) -> Peer:
    """One stream."""
    link = Link(RATE_HZ, 1000 * KBPS, "independent", model)
    blocks = itertools.cycle(link.blocks)

    def step() -> None:
        link.decoder.push(link.encoder.push(next(blocks))[0].to_bytes())

    return Peer("streamcodec", "20 ms packets, with packet headers", 20.0, 25, step)


def streamcodec_pool(model: str = DEFAULT_MODEL) -> Peer:
    """A stream's share of a pool."""
    pool = StreamPool(POOL_STREAMS, model=model)
    slots = [pool.join(RATE_HZ, 1000 * KBPS) for _ in range(POOL_STREAMS)]
    blocks = itertools.cycle(blocks_of(bundled_speech(RATE_HZ), pool.encoder(0).block_samples))

    def step() -> None:
        packets = pool.encode({slot: next(blocks) for slot in slots})
        pool.decode({slot: packet.to_bytes() for slot, packet in packets.items() if packet is not None})

    return Peer(f"streamcodec, pool of {POOL_STREAMS}", "each stream's share", 20.0 * POOL_STREAMS, 4, step)


def opus(complexity: int) -> Peer:
    """The libopus that comes with PyAV, packet by packet through ctypes."""
    try:
        from streamcodec.evaluation import libopus

        library = libopus.load_libopus()
    except (ImportError, ValueError) as error:
        raise PeerUnavailable(f"libopus: {error}") from error
    settings = libopus.OpusSettings(sample_rate_hz=RATE_HZ, bandwidth="wide", complexity=complexity)
    encoder = libopus.OpusEncoder(library, settings, 1000 * KBPS)
    decoder = libopus.OpusDecoder(library, settings)
    frames = itertools.cycle(blocks_of(bundled_speech(RATE_HZ), settings.frame_samples))
    note = f"{library.version}, 20 ms, wideband"
    return Peer(
        f"Opus, complexity {complexity}", note, 20.0, 25, lambda: decoder.decode(encoder.encode(next(frames)))
    )


def encodec(chunk_ms: float, calls: int) -> Peer:
    """EnCodec's 24 kHz network with random weights, which cost what trained ones do; without its entropy coder."""
    try:
        import torch
    except ImportError as error:
        raise PeerUnavailable(f"EnCodec: {error}; pip install torch") from error
    # EnCodec imports torchaudio to resample files, which nothing here does; its wheel must match torch's.
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        from encodec import EncodecModel
    except ImportError as error:
        raise PeerUnavailable(f"EnCodec: {error}; pip install --no-deps encodec einops") from error
    torch.set_num_threads(1)
    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(float(KBPS))
    length = round(chunk_ms * RATE_HZ / 1000)
    blocks = itertools.cycle(torch.from_numpy(blocks_of(bundled_speech(RATE_HZ), length)).unbind())

    @torch.inference_mode()
    def step() -> None:
        model.decode(model.encode(next(blocks)[None, None]))

    note = f"random weights, torch {torch.__version__}, {chunk_ms:g} ms at a time"
    return Peer(f"EnCodec 24 kHz, {chunk_ms:g} ms", note, chunk_ms, calls, step)
