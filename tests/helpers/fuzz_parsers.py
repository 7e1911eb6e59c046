"""Every parser of bytes from outside as a target for a coverage-guided fuzzer (atheris, the extra ``fuzz``).

A target raises only where its parser breaks its promise: another exception than the typed one, values out of range.
``tests/helpers/fuzz.py`` hands them to the fuzzer.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from streamcodec import AudioFormatError, FileFormatError, LinearProbe, Packet, PacketError, StreamDecoder, Tier
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.ogg_parts import ogg_parts
from streamcodec.codec.files.sound_lengths import RepairedFile, repair_of
from streamcodec.codec.files.tags import MAX_FIELD_CHARACTERS, MAX_PICTURES, read_tags
from streamcodec.codec.neural.entropy_tables import checked_tables
from streamcodec.codec.packet import MAX_FRAMES
from streamcodec.codec.stream_format import format_of
from streamcodec.corpora.manifest import MANIFEST, read_manifest
from streamcodec.errors import ModelError
from streamcodec.models.config import NeuralConfig
from streamcodec.models.post_filter_file import read_post_filter
from streamcodec.models.shipped import DESCRIPTION, read_model
from streamcodec.models.weights import decoder_shapes, read_tensors, read_weights
from streamcodec.net.e2e import EndToEnd, SealError
from streamcodec.net.fragments import Fragment, is_fragment
from streamcodec.net.framing import Deframer
from streamcodec.net.relay.tokens import PREFIX, TokenError, TokenSigner, _encode
from streamcodec.net.report import ReceiverReport, is_report
from streamcodec.net.signalling import SignallingError, parse_client_message, parse_relay_message, parse_signal
from streamcodec.research.restorer import DESCRIPTION as RESTORER
from streamcodec.research.restorer import GRAPH, load_restorer

RATE_HZ = 24_000


def container(data: bytes) -> None:
    """A ``.sc`` file: packets in order, no more silence than its bytes account for."""
    try:
        reader = FileReader(io.BytesIO(data))
    except FileFormatError:
        return
    assert sum(len(picture.data) for picture in reader.pictures()) <= len(data)
    last, frames = -1, 0
    for timed in reader.packets():
        assert timed.time > last
        last = timed.time
        frames += timed.packet.frames
    assert last < frames + 25 * frames + 5 * len(data)
    total = reader.trusted_samples(0)
    per_frame = reader.header.sample_rate_hz / reader.header.packets_per_second
    assert total is None or total <= (frames + 26 * frames + 6 * len(data)) * per_frame


def packet(data: bytes) -> None:
    """A packet off the wire; what parses is written as it was read."""
    try:
        parsed = Packet.from_bytes(data)
    except PacketError:
        return
    assert 1 <= parsed.frames <= MAX_FRAMES
    assert Packet.from_bytes(parsed.to_bytes()) == parsed
    format_of(parsed)


@cache
def _decoder(tier: Tier, channels: int) -> StreamDecoder:
    return StreamDecoder(RATE_HZ, tier=tier, channels=channels)


def _payload(tier: Tier, channels: int, data: bytes) -> None:
    decoder = _decoder(tier, channels)
    decoder.reset()
    # Payloads of one stream, each behind two bytes of its length.
    position = 0
    for _ in range(8):
        length = int.from_bytes(data[position : position + 2], "big") or len(data)
        payload = data[position + 2 : position + 2 + length][:60_000]
        with contextlib.suppress(PacketError):
            whole = Packet.from_bytes(payload)
            payload = whole.payload
        sound = decoder.push(_of(tier, payload))
        assert np.isfinite(sound.astype(np.float64)).all()
        position += 2 + length
        if position >= len(data):
            return


def _of(tier: Tier, payload: bytes) -> Packet:
    from streamcodec import PacketFlags

    return Packet(tier, 0, 0, 3, PacketFlags.KEY, payload)


def neural(data: bytes) -> None:
    """Payloads of the neural tier."""
    _payload(Tier.NEURAL, 1, data)


def near_lossless(data: bytes) -> None:
    """Payloads of the near-lossless tier, in stereo."""
    _payload(Tier.NEAR_LOSSLESS, 2, data)


def lossless(data: bytes) -> None:
    """Payloads of the lossless tier, in stereo."""
    _payload(Tier.LOSSLESS, 2, data)


def report(data: bytes) -> None:
    """A receiver's report."""
    try:
        parsed = ReceiverReport.from_bytes(data)
    except PacketError:
        return
    assert 0 <= parsed.loss <= 1
    assert ReceiverReport.from_bytes(parsed.to_bytes()) == parsed


def fragment(data: bytes) -> None:
    """A piece of a packet."""
    if is_fragment(data):
        with contextlib.suppress(PacketError):
            Fragment.from_bytes(data)


def signal(data: bytes) -> None:
    """What a relay hears from a client, and a client from a relay and from others over it."""
    for text in (data, data.decode("utf-8", "replace")):
        for parse in (parse_client_message, parse_relay_message, parse_signal):
            with contextlib.suppress(SignallingError):
                parse(text)  # type: ignore[operator]


def sound_length(data: bytes) -> None:
    """The headers of sound files whose lengths are checked."""
    repair = repair_of(io.BytesIO(data))
    if repair is not None:
        seen = RepairedFile(io.BytesIO(data), repair).read()
        assert len(seen) == len(data) - repair.start + len(repair.prefix)


def ogg_pages(data: bytes) -> None:
    """The pages of an Ogg file, or of what says that it is one: parts follow upon each other, to the end."""
    file = io.BytesIO(data)
    parts, _ = ogg_parts(file)
    assert b"".join(RepairedFile(file, part).read() for part in parts) == (data[parts[0].start :] if parts else b"")


def tags(data: bytes) -> None:
    """Text and pictures of a sound file: never an error, and no more than there are bytes for."""
    found = read_tags(io.BytesIO(data))
    assert all(name == name.lower() and 0 < len(text) <= MAX_FIELD_CHARACTERS for name, text in found.fields.items())
    assert len(found.pictures) <= MAX_PICTURES
    assert all(len(picture.data) <= max(len(data), 16 << 20) for picture in found.pictures)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="streamcodec-fuzz-"))


def model_description(data: bytes) -> None:
    """The ``model.json`` of a folder that somebody hands on: a model, or one sentence."""
    (_folder() / DESCRIPTION).write_bytes(data)
    with contextlib.suppress(ModelError):
        read_model(_folder())


TINY_MODEL = NeuralConfig(
    fft_samples=32,
    hop_samples=16,
    overlap_samples=8,
    mel_bands=4,
    envelope_latents=2,
    waveform_latents=2,
    envelope_groups=1,
    waveform_groups=1,
    entropy_hidden=4,
    qualities=2,
    encoder_dim_hop=4,
    encoder_dim_frame=4,
    decoder_dim_frame=4,
    decoder_dim_hop=4,
    kernel_size=2,
)
"""Of which the seeds of ``model_tensors`` are."""


def model_tensors(data: bytes) -> None:
    """The tensors of a model's folder, as weights, post-filter and entropy tables: what passes is in range."""
    path = _folder() / "tensors.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        parameters = read_post_filter(TINY_MODEL, path)
        assert all(np.isfinite(values).all() for values in (parameters.band_gains, parameters.noise_gains))
        assert parameters.band_gains.min() >= 0.0
    with contextlib.suppress(ModelError):
        read_weights(path, decoder_shapes(TINY_MODEL))
    with contextlib.suppress(ModelError):
        tables = checked_tables(TINY_MODEL, read_tensors(path), str(path))
        assert tables.step.min() >= 1


def manifest(data: bytes) -> None:
    """The manifest of a packed folder: entries whose parts are of their kinds, or one sentence."""
    (_folder() / MANIFEST).write_bytes(data)
    with contextlib.suppress(FileFormatError):
        found = read_manifest(_folder())
        for source, entry in (found[1] if found else {}).items():
            assert source == entry.source
            entry.to_json()


def probe(data: bytes) -> None:
    """A probe that somebody hands on: what loads gives probabilities."""
    (_folder() / "probe").write_bytes(data)
    with contextlib.suppress(FileFormatError):
        loaded = LinearProbe.load(_folder() / "probe")
        with contextlib.suppress(AudioFormatError):
            assert np.isfinite(loaded.probabilities([np.zeros((2, 3), np.float32)])).all()


def restorer_description(data: bytes) -> None:
    """The ``restorer.json`` of a folder: framing that goes together, or one sentence."""
    (_folder() / GRAPH).touch()
    (_folder() / RESTORER).write_bytes(data)
    with contextlib.suppress(ModelError):
        config = load_restorer(_folder()).config
        assert 0 < config.overlap_samples <= config.hop_samples < config.fft_samples


def frame(data: bytes) -> None:
    """Frames of one path, each behind two bytes of its length: what comes out is packets and reports."""
    deframer, position = Deframer(), 0
    for k in range(8):
        length = int.from_bytes(data[position : position + 2], "big")
        raw = data[position + 2 : position + 2 + length]
        for unit in (None, k):
            for datagram in deframer.take(raw, 20.0 * k, unit):
                # What travels whole is looked at by whoever takes it.
                if not raw.endswith(datagram) and not is_report(datagram):
                    Packet.from_bytes(datagram)
        position += 2 + length
        if position >= len(data):
            return


def handshake(data: bytes) -> None:
    """What a relay or somebody in a room may say in an exchange of keys, and in place of media."""
    now_s = 0.0
    person = EndToEnd(bytes(32), "room", lambda to, said: None, name="Ann", clock_s=lambda: now_s)
    person.meet("bob")
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(data)
        if isinstance(said, dict):
            person.hear("bob", said)
            person.hear("bob", {"e2e": [said]})
    with contextlib.suppress(SealError):
        raise AssertionError(f"opened without a key: {person.open_media('bob', data)!r}")
    now_s = 10.0
    person.tick()


_SIGNER = TokenSigner(bytes(32))


def claims(data: bytes) -> None:
    """What a token holds, signed as it should be."""
    body = f"{PREFIX}.{_encode(data)}"
    with contextlib.suppress(TokenError):
        allowed = _SIGNER.verify(f"{body}.{_encode(_SIGNER._sign(body))}", "r", 1.0)
        assert 1.0 < allowed.expires_s < float("inf")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(container, packet, neural, near_lossless, lossless),
        *(report, fragment, frame, signal, handshake, claims, sound_length, ogg_pages),
        *(tags, model_description, model_tensors),
        *(manifest, probe, restorer_description),
    )
}
SEEDS = {
    "neural": "packet",
    "near_lossless": "packet",
    "lossless": "packet",
    "fragment": "packet",
    "sound_length": "sound",
    "ogg_pages": "sound",
}
"""Folder of the corpus, where it is not the target's name."""
