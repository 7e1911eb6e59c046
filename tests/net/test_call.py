"""Senders, receivers, the mixer and whole calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.packet import Packet
from streamcodec.errors import AudioFormatError
from streamcodec.net.call import Call, CallConfig, CallEvent, Came, Left, Talking
from streamcodec.net.client import ClientConfig
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
from streamcodec.net.lossy_link import LinkConfig, LossyLink
from streamcodec.net.media import MediaConfig
from streamcodec.net.mixer import KNEE, Mixer
from streamcodec.net.relay.server import Relay
from streamcodec.net.room import RoomConfig
from streamcodec.net.session import MediaReceiver, MediaSender
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.simulate import SimulatedStream, simulate_stream
from streamcodec.net.time_scale import Samples
from streamcodec.net.trouble import Status
from tests.helpers.calls import settings
from tests.helpers.fake_codec import PACKET_SAMPLES, RATE_HZ, FakeDecoder, FakeEncoder, encode_redundant
from tests.helpers.relay import run, until
from tests.helpers.sound import tone

CONGESTION = CongestionConfig(minimum_bps=4_000, maximum_bps=32_000, start_bps=16_000)


class End:
    """One side of a simulated call."""

    def __init__(self, fixed_redundancy: int | None = None) -> None:
        self.encoder = FakeEncoder()
        self.sender = MediaSender(self.encoder, encode_redundant, CONGESTION, fixed_redundancy)
        self.receiver = MediaReceiver(FakeDecoder(), RATE_HZ)
        self.heard: list[Samples] = []

    def hear(self, datagram: bytes, now_ms: float) -> None:
        report = self.receiver.receive(datagram, now_ms)
        if report is not None:
            self.sender.hear_report("other", report, now_ms)

    def speak(self, tick: int, now_ms: float) -> list[bytes]:
        datagrams = self.sender.push(tone(PACKET_SAMPLES, start=tick * PACKET_SAMPLES))
        report = self.receiver.report(now_ms)
        self.sender.tick(now_ms)
        return datagrams if report is None else [*datagrams, report]


def converse(ann: End, bob: End, there: LossyLink, back: LossyLink, seconds: float) -> None:
    """20 ms ticks; Bob's clock reads 5,000 ms when Ann's reads 0."""
    for tick in range(int(seconds * 50)):
        now_ms = tick * 20.0
        for datagram in ann.speak(tick, now_ms):
            there.send(datagram, now_ms)
        for datagram in bob.speak(tick, now_ms + 5_000.0):
            back.send(datagram, now_ms)
        for arrival_ms, datagram in there.receive(now_ms):
            bob.hear(datagram, arrival_ms + 5_000.0)
        for arrival_ms, datagram in back.receive(now_ms):
            ann.hear(datagram, arrival_ms)
        bob.heard.append(bob.receiver.pull(now_ms + 5_000.0, PACKET_SAMPLES))
        ann.heard.append(ann.receiver.pull(now_ms, PACKET_SAMPLES))


def test_two_ends_hear_each_other_and_measure_the_way() -> None:
    ann, bob = End(), End()
    converse(ann, bob, LossyLink(LinkConfig(delay_ms=30.0)), LossyLink(LinkConfig(delay_ms=50.0)), 20.0)
    for end in (ann, bob):
        stats = end.receiver.stats
        assert stats.jitter.concealed == stats.jitter.lost == stats.damaged == 0
        assert stats.talking
        assert end.sender.round_trips_ms["other"] == pytest.approx(80.0, abs=21.0)
        assert end.sender.stats.rate.redundancy == 0
        assert end.sender.stats.rate.bitrate_bps > 16_000
        assert float(np.abs(np.concatenate(end.heard)[RATE_HZ:]).max()) == pytest.approx(0.3, abs=0.02)
    assert ann.encoder.bitrates_bps[-1] == ann.sender.stats.rate.bitrate_bps


def test_redundancy_follows_the_reports_and_pays() -> None:
    def concealed(fixed_redundancy: int | None) -> tuple[float, End]:
        ann, bob = End(fixed_redundancy), End(fixed_redundancy)
        loss = GilbertElliott(GilbertElliottConfig(0.1, 1.5), seed=4)
        converse(ann, bob, LossyLink(LinkConfig(), loss, seed=1), LossyLink(LinkConfig()), 60.0)
        return bob.receiver.stats.jitter.concealed / 3_000, ann

    without, _ = concealed(0)
    with_reports, ann = concealed(None)
    assert ann.sender.stats.rate.redundancy >= 2
    assert without > 0.08
    assert with_reports < 0.3 * without


def test_a_simulated_stream_comes_through_and_repeats_exactly() -> None:
    sound = tone(4 * RATE_HZ)
    fixed = CongestionConfig(minimum_bps=16_000, start_bps=16_000, maximum_bps=16_000)

    def simulate(rate: float, redundancy: int | None) -> SimulatedStream:
        loss = GilbertElliott(GilbertElliottConfig(rate, 1.5), seed=2)
        link = LossyLink(LinkConfig(delay_ms=20.0, jitter_ms=10.0), loss, seed=3)
        return simulate_stream(
            sound,
            RATE_HZ,
            FakeEncoder(),
            FakeDecoder(),
            link,
            encode_redundant=encode_redundant,
            redundancy=redundancy,
            congestion=fixed,
        )

    clean = simulate(0.0, 0)
    assert not any(clean.concealed)
    assert clean.sender.rate.bitrate_bps == 16_000
    assert clean.receiver.jitter.received == clean.sender.packets == 201
    start = int(np.flatnonzero(clean.samples)[0])
    # 20 ms of packet, 20 of link, up to 10 of jitter, 30 of buffer.
    assert 1_000 * start / RATE_HZ < 100.0
    bare, redundant = simulate(0.1, 0), simulate(0.1, 2)
    assert sum(redundant.concealed) < 0.5 * sum(bare.concealed)
    assert redundant.receiver.jitter.recovered > 0
    again = simulate(0.1, 2)
    np.testing.assert_array_equal(again.samples, redundant.samples)
    assert again.receiver == redundant.receiver


def test_long_packets_come_through_and_are_mended_whole(speech: NDArray[np.float32]) -> None:
    fixed = CongestionConfig(minimum_bps=6_000, start_bps=6_000, maximum_bps=6_000)

    def simulate(rate: float, redundancy: int) -> SimulatedStream:
        encoder, decoder = StreamEncoder(24_000, 6_000, packet_ms=60), StreamDecoder(24_000)
        loss = GilbertElliott(GilbertElliottConfig(rate, 1.0), seed=2)
        link = LossyLink(LinkConfig(delay_ms=20.0, jitter_ms=10.0), loss, seed=3)
        return simulate_stream(
            speech,
            24_000,
            encoder,
            decoder,
            link,
            encode_redundant=encoder.encode_redundant,
            redundancy=redundancy,
            congestion=fixed,
        )

    clean, mended, bare = simulate(0.0, 0), simulate(0.15, 1), simulate(0.15, 0)
    assert not any(clean.concealed)
    assert clean.receiver.jitter.received == 3 * clean.sender.packets
    assert clean.receiver.jitter.lost == 0
    assert mended.receiver.jitter.recovered > 0
    assert mended.receiver.jitter.recovered % 3 == 0
    assert sum(mended.concealed) < 0.5 * sum(bare.concealed)


def test_damage_is_counted_and_a_receiver_survives_it() -> None:
    receiver = MediaReceiver(FakeDecoder(), RATE_HZ)
    for datagram in (b"", b"x", bytes(36), b"\x1a" + bytes(35), b"\x10" + bytes(20)):
        assert receiver.receive(datagram, 0.0) is None
    assert receiver.stats.damaged == 5
    assert receiver.report(1_000.0) is None
    assert not receiver.pull(0.0, 100).any()


def test_a_receiver_who_leaves_no_longer_holds_the_rate_down() -> None:
    sender = MediaSender(FakeEncoder(), encode_redundant, CONGESTION)
    good, bad = End(), End()
    converse(good, bad, LossyLink(LinkConfig()), LossyLink(LinkConfig()), 3.0)
    for index in range(30):
        good_report = good.receiver._monitor.report(index * 500.0, good.receiver.stats.jitter)
        sender.hear_report("good", good_report, index * 500.0)
        sender.hear_report("bad", replace(good_report, queue_ms=500.0, queue_growth_ms_per_s=50.0), index * 500.0)
    assert sender.stats.rate.bitrate_bps == 16_000
    sender.forget("bad")
    assert sender.stats.rate.bitrate_bps > 16_000


def test_one_quiet_voice_passes_the_mixer_untouched() -> None:
    mixer = Mixer(RATE_HZ)
    voice = tone(480)
    np.testing.assert_array_equal(mixer.mix([voice], 480), voice)
    assert not mixer.mix([], 480).any()
    assert len(mixer.mix([], 0)) == 0


def test_eight_loud_voices_never_clip_and_the_gain_comes_back_smoothly() -> None:
    mixer = Mixer(RATE_HZ)
    out = []
    for block in range(100):
        loud = 20 <= block < 50
        voices = [tone(480, 90.0 + 37 * k, 0.95 if loud else 0.05, start=block * 480) for k in range(8)]
        out.append(mixer.mix(voices, 480))
        assert float(np.abs(out[-1]).max()) < 1.0
        assert loud == (mixer.gain < 0.5) or block >= 50
    assert mixer.gain == 1.0
    heard = np.concatenate(out)
    assert float(np.abs(heard[: 20 * 480]).max()) < KNEE
    # Turned down, not chopped: the loud part keeps its shape.
    wanted = sum(tone(30 * 480, 90.0 + 37 * k, 0.95, start=20 * 480) for k in range(8))
    steady = slice(5 * 480, 30 * 480)
    assert np.corrcoef(heard[20 * 480 : 50 * 480][steady], np.asarray(wanted)[steady])[0, 1] > 0.97


def config(url: str, name: str) -> CallConfig:
    room = RoomConfig(ClientConfig(url, "room", name=name), room_key=bytes(32), webrtc=None, absence_s=0.3)
    return CallConfig(room, MediaConfig(RATE_HZ, congestion=CONGESTION))


def test_three_people_in_a_call_over_the_relay() -> None:
    """Everybody hears the sum of the others; somebody mutes; somebody leaves."""

    def call(relay: Relay, name: str) -> Call:
        return Call(config(relay.url, name), FakeEncoder(), FakeDecoder, encode_redundant)

    async def test() -> None:
        async with Relay() as relay, call(relay, "Ann") as ann, call(relay, "Bob") as bob:
            async with call(relay, "Cid") as cid:
                people = {ann: 200.0, bob: 330.0, cid: 470.0}
                heard: dict[Call, list[Samples]] = {person: [] for person in people}
                cid.muted = True
                await until(lambda: all(len(person.peers) == 2 for person in people))
                start_s = time.monotonic()
                for tick in range(70):
                    for person, hertz in people.items():
                        person.push(tone(PACKET_SAMPLES, hertz, 0.2, start=tick * PACKET_SAMPLES), live=True)
                        heard[person].append(await person.pull(PACKET_SAMPLES))
                    await asyncio.sleep(max(0.0, start_s + 0.02 * (tick + 1) - time.monotonic()))
                for person in people:
                    sound = np.concatenate(heard[person][30:])
                    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
                    found = {
                        other
                        for other, hertz in people.items()
                        if spectrum[round(hertz * len(sound) / RATE_HZ)] > 0.2 * spectrum.max()
                    }
                    assert found == {ann, bob} - {person}
                # Figures are as of the last block, and the last packets may still be on their way.
                await asyncio.sleep(0.2)
                await ann.pull(PACKET_SAMPLES)
                peers = {stats.name: stats for stats in ann.peers.values()}
                assert peers["Bob"].stream.talking
                assert not peers["Cid"].stream.talking
                assert peers["Bob"].path == "relay"
                assert peers["Bob"].stream.jitter.received >= 60
                assert peers["Bob"].round_trip_ms is not None
                assert ann.sender_stats.packets == 70
                assert ann.failed is None
            await until(lambda: len(ann.peers) == 1)
            assert next(iter(ann.peers.values())).name == "Bob"

    run(test())


def test_what_goes_out_to_nobody_is_not_counted_as_sent() -> None:
    async def test() -> None:
        async with Relay() as relay, Call(config(relay.url, "Ann"), FakeEncoder(), FakeDecoder) as ann:
            for tick in range(5):
                ann.push(tone(PACKET_SAMPLES, start=tick * PACKET_SAMPLES), live=True)
            await ann.pull(10)
            assert ann.sender_stats.packets == ann.sender_stats.payload_bytes == ann.sender_stats.wire_bytes == 0
            async with Call(config(relay.url, "Bob"), FakeEncoder(), FakeDecoder) as bob:
                await until(lambda: len(ann.peers) == len(bob.peers) == 1)
                ann.push(tone(3 * PACKET_SAMPLES), live=True)
                await ann.pull(10)
                assert ann.sender_stats.packets == ann.sender_stats.datagrams == 3
            await until(lambda: not ann.peers)
            ann.push(tone(3 * PACKET_SAMPLES), live=True)
            await ann.pull(10)
            assert ann.sender_stats.packets == 3

    run(test())


class Others:
    """A room of a simulated call: who is there, by which path, and what they are told."""

    def __init__(self, **paths: str) -> None:
        self.peers = {
            identity: PeerInfo(0, identity, identity, hears=path != "deaf") for identity, path in paths.items()
        }
        self.paths = {identity: path if path != "deaf" else "relay" for identity, path in paths.items()}
        self.seal_bytes = 0
        self.told: list[tuple[str, Status]] = []

    def tell_status(self, identity: str, status: Status) -> None:
        self.told.append((identity, status))


def simulated(others: Others) -> Call:
    """A call that was never entered."""
    call = Call(config("ws://127.0.0.1:1", "Ann"), FakeEncoder(), FakeDecoder)
    call._room = others  # type: ignore[assignment]
    return call


def test_muting_in_haste_stays_below_what_a_relay_takes_and_the_last_word_reaches_everybody() -> None:
    others = Others(**{f"peer{number}": "relay" for number in range(7)})
    call = simulated(others)
    for tick in range(300):
        call.muted = tick < 100 and tick % 2 == 0
        call._tell_status(0.1 * tick)
        if tick == 0:
            assert len(others.told) == 7
        if tick == 99:
            assert len(others.told) <= 8 + 3 * 10
    last = dict(others.told)
    assert len(last) == 7
    assert not any(status.muted for status in last.values())
    assert {status.muted for _, status in others.told[-14:]} == {False}


def test_what_is_spent_on_the_wire_is_reckoned_for_those_who_get_something() -> None:
    noted: list[tuple[int, int]] = []

    class Paths:
        def note_paths(self, direct: int, relayed: int, seal_bytes: int, now_ms: float) -> None:
            noted.append((direct, relayed))

    class Codec:
        full = True

        def post(self, job: Callable[[], None]) -> bool:
            if not self.full:
                job()
            return not self.full

    call = simulated(Others(ann="direct", bob="direct", cid="deaf"))
    call._media = Paths()  # type: ignore[assignment]
    codec = call._codec = Codec()  # type: ignore[assignment]
    call._note_wire(0.0, measured=False)
    assert noted == []
    codec.full = False
    for tick in range(3):
        call._note_wire(100.0 * tick, measured=False)
    assert noted == [(2, 0)]


class SlowCodec(FakeEncoder):
    """An encoder that hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = threading.Event()
        self.free = threading.Event()

    def push(self, samples: Samples) -> list[Packet]:
        self.hangs.set()
        self.free.wait(10)
        return super().push(samples)


def test_the_event_loop_never_waits_for_the_codec() -> None:
    """While the codec hangs, the loop turns, sound is refused and counted, and the call goes on afterwards."""

    async def test() -> None:
        slow = SlowCodec()
        async with Relay() as relay:
            settings = replace(config(relay.url, "Ann"), queue_jobs=20)
            async with (
                Call(settings, slow, FakeDecoder, encode_redundant) as ann,
                Call(config(relay.url, "Bob"), FakeEncoder(), FakeDecoder, encode_redundant) as bob,
            ):
                await until(lambda: len(ann.peers) == len(bob.peers) == 1)
                try:
                    ann.push(tone(PACKET_SAMPLES), live=True)
                    # Not before: a thread still at another job would make room in the full queue afterwards.
                    await until(slow.hangs.is_set)
                    for tick in range(1, 60):
                        ann.push(tone(PACKET_SAMPLES, start=tick * PACKET_SAMPLES), live=True)
                    assert ann.refused >= 39
                    assert not (await asyncio.wait_for(ann.pull(PACKET_SAMPLES), 5)).any()
                    bob.push(tone(PACKET_SAMPLES))
                    await until(lambda: bob.sender_stats.packets == 1)
                finally:
                    slow.free.set()
                await until(lambda: ann.sender_stats.packets >= 15)
                assert ann.failed is None

    run(test())


def test_who_sends_another_bitstream_is_named_and_not_played() -> None:
    """A model of other weights would turn into noise; somebody who only listens, or says nothing, is no stranger."""

    def speaking(url: str, name: str, bitstream: str) -> CallConfig:
        plain = config(url, name)
        client = replace(plain.room.client, bitstream=bitstream)
        return replace(plain, room=replace(plain.room, client=client), bitstreams=frozenset({"ours", "also ours"}))

    async def test() -> None:
        async with (
            Relay() as relay,
            Call(speaking(relay.url, "Ann", "ours"), FakeEncoder(), FakeDecoder) as ann,
            Call(speaking(relay.url, "Bob", "theirs"), FakeEncoder(), FakeDecoder) as bob,
            Call(speaking(relay.url, "Cid", "also ours"), FakeEncoder(), FakeDecoder),
            Call(speaking(relay.url, "Dan", ""), FakeEncoder(), FakeDecoder) as dan,
        ):
            await until(lambda: len(ann.peers) == 3)
            foreign = {peer.name: peer.foreign for peer in ann.peers.values()}
            assert foreign == {"Bob": "theirs", "Cid": "", "Dan": ""}
            loudest = {"Bob": 0.0, "Dan": 0.0}
            for name, person in (("Bob", bob), ("Dan", dan)):
                for tick in range(40):
                    person.push(tone(PACKET_SAMPLES, start=tick * PACKET_SAMPLES), live=True)
                    loudest[name] = max(loudest[name], float(np.abs(await ann.pull(PACKET_SAMPLES)).max()))
                    await asyncio.sleep(0.005)
            received = {peer.name: peer.stream.jitter.received for peer in ann.peers.values()}
            assert received["Bob"] == loudest["Bob"] == 0
            assert received["Dan"] > 10
            assert loudest["Dan"] > 0.2

    run(test())


def test_a_codec_that_fails_ends_the_call_with_its_own_words() -> None:
    class Broken(FakeEncoder):
        def push(self, samples: Samples) -> list[Packet]:
            raise ValueError("no such block")

    async def test() -> None:
        async with Relay() as relay, Call(config(relay.url, "Ann"), Broken(), FakeDecoder) as ann:
            ann.push(tone(PACKET_SAMPLES))
            await until(lambda: isinstance(ann.failed, ValueError))
            with pytest.raises(ValueError, match="no such block"):
                await ann.pull(10)

    run(test())


def test_events_tell_who_comes_talks_and_leaves() -> None:
    async def test() -> None:
        heard: list[CallEvent] = []
        async with Relay() as relay:
            ann = Call(config(relay.url, "Ann"), FakeEncoder(), FakeDecoder, on_event=heard.append)
            async with ann:
                async with Call(config(relay.url, "Bob"), FakeEncoder(), FakeDecoder) as bob:
                    await until(lambda: len(ann.peers) == len(bob.peers) == 1)
                    (identity,) = ann.peers
                    assert heard == [Came(identity, "Bob")]
                    start_s = time.monotonic()
                    for tick in range(60):
                        bob.muted = tick >= 20
                        for person in (ann, bob):
                            person.push(tone(PACKET_SAMPLES, start=tick * PACKET_SAMPLES), live=True)
                        await ann.pull(PACKET_SAMPLES)
                        await asyncio.sleep(max(0.0, start_s + 0.02 * (tick + 1) - time.monotonic()))
                        if tick == 10:
                            assert bob.talking
                    assert ann.talking
                    assert not bob.talking
                await until(lambda: Left(identity, "Bob") in heard)
        assert heard[1] == Talking("", "Ann", True)
        about_bob = [event.talking for event in heard if isinstance(event, Talking) and event.identity == identity]
        assert about_bob == [True, False]

    run(test())


def test_a_codec_that_fails_at_the_end_keeps_no_seat() -> None:
    class Broken(FakeEncoder):
        def flush(self) -> list[Packet]:
            raise ValueError("no last block")

    async def test() -> None:
        async with Relay() as relay:
            call = Call(config(relay.url, "Ann"), Broken(), FakeDecoder)
            await call.__aenter__()
            call.push(tone(PACKET_SAMPLES))
            with pytest.raises(ValueError, match="no last block"):
                await call.__aexit__(None, None, None)
            await until(lambda: relay.stats.participants == 0)
            assert "streamcodec-call-codec" not in {thread.name for thread in threading.enumerate()}

    run(test())


def test_what_an_event_raises_ends_the_call_and_is_told() -> None:
    def refuse(event: CallEvent) -> None:
        raise ValueError("nobody wants to know")

    async def test() -> None:
        async with Relay() as relay:
            call = Call(config(relay.url, "Ann"), FakeEncoder(), FakeDecoder, on_event=refuse)
            with pytest.raises(ValueError, match="nobody wants to know"):
                async with call, Call(config(relay.url, "Bob"), FakeEncoder(), FakeDecoder):
                    await until(lambda: isinstance(call.failed, ValueError))
            await until(lambda: relay.stats.participants == 0)

    run(test())


def test_sound_of_every_usual_kind_is_sent_alike_and_another_harms_nothing() -> None:
    block = tone(PACKET_SAMPLES)

    async def test() -> None:
        async with Relay() as relay, Call(config(relay.url, "Ann"), FakeEncoder(), FakeDecoder) as ann:
            sent: list[NDArray[np.float32]] = []
            ann._post_block = sent.append  # type: ignore[method-assign, assignment]
            int16 = np.round(block * 32_767).astype(np.int16)
            for samples in (block, block.astype(np.float64), int16, block.tolist()):
                if isinstance(samples, list):
                    samples = np.array(samples)
                ann.push(samples, live=True)
            for heard in sent:
                assert heard.dtype == np.float32
                np.testing.assert_allclose(heard, block, atol=1e-4)
            for bad in (
                block.astype(np.int32),
                block.reshape(2, 2, -1),
                ["loud"],
                block.astype(complex),
                block[None],
            ):
                with pytest.raises(AudioFormatError):
                    ann.push(bad, live=True)  # type: ignore[arg-type]
            for count in (-1, 1.5, "x"):
                with pytest.raises(AudioFormatError):
                    await ann.pull(count)  # type: ignore[arg-type]
            assert len(await ann.pull(10)) == 10
            assert ann.failed is None

    run(test())


def test_a_call_has_not_failed_before_it_is_entered_and_while_others_are_met() -> None:
    async def test() -> None:
        told: list[Exception | None] = []
        async with Relay() as relay:
            ann, bob = (
                Call(
                    settings(relay.url, name),
                    FakeEncoder(),
                    FakeDecoder,
                    on_event=lambda event: told.append(bob.failed),
                )
                for name in ("Ann", "Bob")
            )
            assert ann.failed is None
            async with ann, bob:
                assert set(told) == {None}

    run(test())
