"""Codecs, encode and decode of the same speech at 24 kHz and 6 kbps, one thread."""

from __future__ import annotations

import importlib
import itertools
import sys
import types

from streamcodec.codec.pool import StreamPool
from streamcodec.evaluation.latency.link import Link, blocks_of, bundled_speech
from streamcodec.evaluation.latency.timed import PeerMissingError, TimedPeer, peer_module
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend

RATE_HZ = 24_000
KBPS = 6
POOL_STREAMS = 16


def streamcodec_alone(model: str = DEFAULT_MODEL, backend: Backend = "auto") -> TimedPeer:
    """One stream."""
    link = Link(RATE_HZ, 1000 * KBPS, "independent", model, backend)
    blocks = itertools.cycle(link.blocks)

    def step() -> None:
        link.decoder.push(link.encoder.push(next(blocks))[0].to_bytes())

    name = "streamcodec" if backend == "auto" else f"streamcodec, {backend}"
    return TimedPeer(name, "20 ms packets, with packet headers", 20.0, 25, step)


def streamcodec_pool(model: str = DEFAULT_MODEL) -> TimedPeer:
    """A stream's share of a pool."""
    pool = StreamPool(POOL_STREAMS, model=model)
    slots = [pool.join(RATE_HZ, 1000 * KBPS) for _ in range(POOL_STREAMS)]
    blocks = itertools.cycle(blocks_of(bundled_speech(RATE_HZ), pool.encoder(0).block_samples))

    def step() -> None:
        packets = pool.encode({slot: next(blocks) for slot in slots})
        pool.decode({slot: packet.to_bytes() for slot, packet in packets.items() if packet is not None})

    return TimedPeer(f"streamcodec, pool of {POOL_STREAMS}", "each stream's share", 20.0 * POOL_STREAMS, 4, step)


def opus(complexity: int) -> TimedPeer:
    """The libopus that comes with PyAV, packet by packet through ctypes."""
    try:
        from streamcodec.evaluation import libopus

        library = libopus.load_libopus()
    except (ImportError, ValueError) as error:
        raise PeerMissingError(f"libopus: {error}") from error
    settings = libopus.OpusSettings(sample_rate_hz=RATE_HZ, bandwidth="wide", complexity=complexity)
    encoder = libopus.OpusEncoder(library, settings, 1000 * KBPS)
    decoder = libopus.OpusDecoder(library, settings)
    frames = itertools.cycle(blocks_of(bundled_speech(RATE_HZ), settings.frame_samples))
    note = f"{library.version}, 20 ms, wideband"
    return TimedPeer(
        f"Opus, complexity {complexity}", note, 20.0, 25, lambda: decoder.decode(encoder.encode(next(frames)))
    )


def encodec(chunk_ms: float, calls: int) -> TimedPeer:
    """EnCodec's 24 kHz network with random weights, which cost what trained ones do; without its entropy coder."""
    torch = peer_module("torch", "EnCodec", "torch")
    # EnCodec imports torchaudio to resample files, which nothing here does; its wheel must match torch's.
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    network = peer_module("encodec", "EnCodec", "--no-deps encodec einops").EncodecModel
    torch.set_num_threads(1)
    model = network.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(float(KBPS))
    length = round(chunk_ms * RATE_HZ / 1000)
    blocks = itertools.cycle(torch.from_numpy(blocks_of(bundled_speech(RATE_HZ), length)).unbind())

    @torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
    def step() -> None:
        model.decode(model.encode(next(blocks)[None, None]))

    note = f"random weights, torch {torch.__version__}, {chunk_ms:g} ms at a time"
    return TimedPeer(f"EnCodec 24 kHz, {chunk_ms:g} ms", note, chunk_ms, calls, step)
