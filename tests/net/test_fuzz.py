"""Every parser that reads the network, 100,000 cases each: a typed error or a value, and nothing else."""

from __future__ import annotations

import asyncio
import binascii
import functools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import aioice.ice
import numpy as np
import pytest
from websockets.frames import Frame, Opcode

from streamcodec import StreamEncoder
from streamcodec.codec.float_stream import FloatDecoder
from streamcodec.codec.packet import Packet, PacketFlags, Tier
from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e.media import MediaReceiver, MediaSender
from streamcodec.net.fragments import MAX_PIECE_BYTES, MAX_PIECES, Fragmenter, Reassembler
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.media import Media, MediaConfig
from streamcodec.net.relay.cluster import Member, Snapshot
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.connection import RelayConnection
from streamcodec.net.relay.server import Relay
from streamcodec.net.relay.tokens import TokenSigner
from streamcodec.net.report import ReceiverReport
from streamcodec.net.signalling import (
    Failure,
    Join,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Signal,
    Welcome,
    parse_client_message,
    parse_relay_message,
    parse_signal,
)
from streamcodec.net.webrtc import DirectLine, WebRtcConfig
from tests.helpers.fake_codec import FakeEncoder
from tests.helpers.report import REPORT
from tests.helpers.simulation import packet

CASES = 100_000


def mutants(seeds: list[bytes], cases: int, *, crc: bool = False, seed: int = 1) -> Iterator[bytes]:
    """Seeds flipped, replaced, cut short, extended or spliced; with ``crc``, half of them with a CRC that fits."""
    rng = random.Random(seed)
    uniform = rng.random
    for _ in range(cases):
        data = bytearray(seeds[int(uniform() * len(seeds))])
        for _ in range(1 + int(uniform() * 3)):
            kind = int(uniform() * 5)
            at = int(uniform() * len(data))
            if kind == 0 and data:
                data[at] ^= 1 << int(uniform() * 8)
            elif kind == 1 and data:
                data[at] = int(uniform() * 256)
            elif kind == 2:
                del data[at:]
            elif kind == 3:
                data += rng.randbytes(1 + int(uniform() * 8))
            else:
                other = seeds[int(uniform() * len(seeds))]
                data[at:] = other[int(uniform() * len(other)) :]
        if crc and uniform() < 0.5 and len(data) > 2:
            data[-2:] = binascii.crc_hqx(bytes(data[:-2]), 0xFFFF).to_bytes(2, "big")
        yield bytes(data)


def outcomes(parse: Callable[[bytes], object], cases: Iterator[bytes]) -> tuple[int, int]:
    """(parsed, refused) with a typed error; anything else that is raised fails the test."""
    parsed = refused = 0
    for data in cases:
        if refusal(parse, data) is None:
            parsed += 1
        else:
            refused += 1
    return parsed, refused


def refusal(parse: Callable[[bytes], object], data: bytes) -> StreamcodecError | None:
    try:
        parse(data)
    except StreamcodecError as error:
        return error
    return None


def texts(*messages: Any) -> list[bytes]:
    return [message.to_json().encode() for message in messages]


CLIENT_SEEDS = texts(Join("room", "s" * 20, "Ann", "t" * 40), Signal(1, {"kind": "offer", "sdp": "v=0"}))
RELAY_SEEDS = texts(
    Welcome(1, (PeerInfo(0, "Ann", "ab"),), "cd"),
    PeerJoined(PeerInfo(2, "Bob", "ef")),
    PeerLeft(2),
    Signal(1, {"x": [1, 2.5, None]}),
    Failure("busy", "later"),
)
PACKET_SEEDS = [packet(index, redundancy=index % 4).to_bytes() for index in (3, 300, 65_535)]


def test_packets_and_the_jitter_buffer_behind_them() -> None:
    buffer = JitterBuffer()
    now_ms = 0.0

    def parse(data: bytes) -> None:
        nonlocal now_ms
        buffer.put(Packet.from_bytes(data), now_ms)
        now_ms += 1.0
        buffer.get(now_ms)

    parsed, refused = outcomes(parse, mutants(PACKET_SEEDS, CASES, crc=True))
    assert min(parsed, refused) > CASES // 20
    stats = buffer.stats
    assert stats.received == stats.played + stats.late + stats.discarded + stats.held
    assert len(buffer.contents) <= JitterBuffer.CAPACITY_FRAMES


def test_pieces_of_packets_and_what_is_made_of_them() -> None:
    whole = Packet(Tier.LOSSLESS, 1, 1, 0, PacketFlags.KEY, random.Random(1).randbytes(2_500)).to_bytes()
    seeds = [*Fragmenter().split(whole), *Fragmenter().split(whole[:1_200])]
    receiver = Reassembler()
    made, now_ms = 0, 0.0

    def parse(data: bytes) -> None:
        nonlocal made, now_ms
        now_ms += 5.0
        made += receiver.add(data, now_ms) is not None

    parsed, refused = outcomes(parse, mutants(seeds, CASES))
    assert min(parsed, refused) > CASES // 20
    assert made > 100
    assert receiver.held_bytes <= Reassembler.CAPACITY_PACKETS * MAX_PIECES * MAX_PIECE_BYTES


def test_whatever_a_peer_sends_into_a_call() -> None:
    """Packets of every tier, pieces and reports into a receiver that decodes what it makes of them."""
    sound = np.random.default_rng(1).integers(-900, 900, 2 * 1_920).astype(np.int16)
    lossless = StreamEncoder(48_000, tier="lossless", mode="independent", bits_per_sample=24)
    near = StreamEncoder(48_000, tier="near-lossless", mode="independent")
    packets = [packet.to_bytes() for packet in (*lossless.push(sound), *near.push(sound))]
    seeds = [piece for packet in packets for piece in Fragmenter().split(packet)] + [REPORT.to_bytes()]
    media: Media | None = None
    # Every parser on the way has its own 100,000 cases; here the sound behind them is made, which takes its time.
    for index, data in enumerate(mutants(seeds, CASES // 10, crc=True)):
        if index % 500 == 0:
            media = Media(
                MediaConfig(48_000, congestion=None), FakeEncoder(), functools.partial(FloatDecoder, 48_000)
            )
            media.come("peer")
        assert media is not None
        media.receive("peer", data, float(index))
        if index % 25 == 0:
            played = media.pull(float(index), 480)
            assert np.isfinite(played).all()
            assert float(np.abs(played).max()) <= 1.0


def test_reports() -> None:
    def parse(data: bytes) -> None:
        ReceiverReport.from_bytes(data).to_bytes()

    parsed, refused = outcomes(parse, mutants([REPORT.to_bytes()], CASES, crc=True))
    assert min(parsed, refused) > CASES // 10


def test_client_messages() -> None:
    parsed, refused = outcomes(parse_client_message, mutants(CLIENT_SEEDS, CASES))
    assert min(parsed, refused) > CASES // 100


def test_relay_messages() -> None:
    parsed, refused = outcomes(parse_relay_message, mutants(RELAY_SEEDS, CASES))
    assert min(parsed, refused) > CASES // 100


def test_what_relays_tell_each_other() -> None:
    snapshot = Snapshot((Member(PeerInfo(3, "Ann", "abcd"), 1_700_000_000.5),), asks=True, came="abcd")
    signal = b'{"source":1,"peer":2,"data":{"kind":"offer"}}'
    for parse, seeds in ((Snapshot.from_bytes, snapshot.to_bytes()), (parse_signal, signal)):
        parsed, refused = outcomes(parse, mutants([seeds], CASES // 2))
        assert min(parsed, refused) > CASES // 200


def test_tokens() -> None:
    signer = TokenSigner(b"a secret for fuzzing")
    seeds = [signer.issue("room", 10.0**10).encode()]
    parsed, refused = outcomes(
        lambda data: signer.verify(data.decode("latin-1"), "room", 0.0),
        (data for data in mutants(seeds, CASES) if data != seeds[0]),
    )
    assert parsed == 0
    assert refused > CASES // 2


def test_sealed_datagrams() -> None:
    sender = MediaSender(bytes(32))
    receiver = MediaReceiver(bytes(32), sender.key)
    seeds = [sender.seal(b"datagram %d" % index) for index in range(8)]
    known = set(seeds)
    parsed, refused = outcomes(receiver.open, (data for data in mutants(seeds, CASES) if data not in known))
    assert parsed == 0
    assert refused > CASES // 2
    assert [receiver.open(data) for data in seeds] == [b"datagram %d" % index for index in range(8)]


class DeadEnd(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert len(data) < 20_000

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    abort = close


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def framed(opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)


def seat(relay: Relay, session: str) -> tuple[RelayConnection, DeadEnd]:
    """A connection past its websocket handshake, and in the room where there is a session."""
    connection, transport = RelayConnection(relay, relay.gate.come("192.0.2.1", lambda: None)), DeadEnd()
    connection.connection_made(transport)
    connection.data_received(HANDSHAKE)
    if session:
        connection.data_received(framed(Opcode.TEXT, Join("room", session).to_json().encode()))
        assert connection.room is not None
    return connection, transport


Feed = Callable[[RelayConnection, int, bytes], None]


def fuzz_relay(cases: int, session: str, feed: Feed, seeds: list[bytes]) -> int:
    """Feed mutants to connections that are replaced when they end, beside one listener; returns how many ended."""

    async def run() -> int:
        packets = {"packets_per_s": 1e9, "packet_burst": 1e9}
        signals = {"signals_per_s": 1e9, "signal_burst": 1e9, "signal_burst_bytes": 1e12}
        relay = Relay(RelayConfig(**packets, **signals, room_joins_per_s=1e9, address_join_burst=1e9))
        relay.loop = asyncio.get_running_loop()
        seat(relay, "listener" * 3)
        connection, transport = seat(relay, session)
        ended = 0
        for count, data in enumerate(mutants(seeds, cases)):
            feed(connection, count, data)
            if transport.closed or connection._closing or count % 64 == 0:
                ended += 1
                connection.connection_lost(None)
                connection, transport = seat(relay, session)
            if count % 1_000 == 0:
                await asyncio.sleep(0)
        connection.connection_lost(None)
        assert relay.stats.participants == 1
        assert relay.stats.received_packets > 0 or not session
        return ended

    return asyncio.run(run())


@pytest.mark.parametrize("session", ["", "fuzzer" * 3], ids=["stranger", "participant"])
def test_whatever_bytes_reach_the_relay(session: str) -> None:
    """The handshake, the frames and what is in them."""
    seeds = [framed(Opcode.BINARY, b"\xffdatagram"), framed(Opcode.BINARY, bytes(300)), framed(Opcode.PING, b"x")]
    seeds += [framed(Opcode.TEXT, text) for text in CLIENT_SEEDS] + [framed(Opcode.CLOSE, b"\x03\xe8bye"), HANDSHAKE]
    assert fuzz_relay(10_000, session, lambda connection, _, data: connection.data_received(data), seeds) > 100


def test_whatever_messages_reach_the_relay() -> None:
    # Few are text or fragments: nearly all of those end the connection, and making a new one takes the time.
    opcodes = [Opcode.BINARY] * 62 + [Opcode.TEXT, Opcode.CONT]

    def feed(connection: RelayConnection, count: int, data: bytes) -> None:
        connection._take(Frame(opcodes[count % 64], data, fin=count % 127 != 0))

    assert fuzz_relay(CASES, "fuzzer" * 3, feed, [b"\xffdatagram", b"\x00" + bytes(300), *CLIENT_SEEDS]) > 100


def test_signals_between_peers() -> None:
    async def run() -> None:
        line = DirectLine(WebRtcConfig(), True, lambda data: None, lambda datagram: None)
        seeds = [json.dumps({"kind": kind, "attempt": 7, "sdp": "v=0"}).encode() for kind in ("offer", "answer")]
        for data in mutants(seeds, CASES):
            try:
                fields = json.loads(data)
            except ValueError:
                continue
            if isinstance(fields, dict):
                line.hear(fields)
        assert line.stats.attempts == 0
        await line.close()

    asyncio.run(run())


def test_damaged_descriptions_do_not_end_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer's session description goes to a library's parser: whatever that raises stays inside."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    base = (
        b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
        b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
        b"a=sctp-port:5000\r\na=max-message-size:65536\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
        b"a=setup:actpass\r\n"
    )

    async def run() -> None:
        line = DirectLine(WebRtcConfig(), False, lambda data: None, lambda datagram: None)
        for attempt, data in enumerate(mutants([base], 60)):
            line.hear({"kind": "offer", "attempt": attempt, "sdp": data.decode("latin-1")})
            while line._hearing:
                await asyncio.wait(line._hearing)
        await line.close()

    asyncio.run(run())


def test_mutants_reach_past_the_checksum() -> None:
    reached = set()
    for data in mutants(PACKET_SEEDS, 5_000, crc=True):
        error = refusal(Packet.from_bytes, data)
        if error is not None:
            reached.add(str(error)[:24])
    assert len(reached) >= 8
