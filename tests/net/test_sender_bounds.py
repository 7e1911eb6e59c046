"""What one person may do to the call of the others: nothing. And sound that is pushed faster than it is spoken."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamcodec import StreamEncoder, Tier
from streamcodec.codec.float_stream import FloatDecoder, FloatEncoder
from streamcodec.errors import StreamcodecError
from streamcodec.net.call import Call
from streamcodec.net.congestion import CongestionConfig, SendRate
from streamcodec.net.fragments import Fragmenter
from streamcodec.net.framing import Deframer, DeframerStats, Framer
from streamcodec.net.listeners import agreed_rate
from streamcodec.net.media import Media, MediaConfig
from streamcodec.net.pacing import AHEAD_S, LONGEST_QUEUE_S, Pacer
from streamcodec.net.relay.server import Relay
from streamcodec.net.report import ReceiverReport
from streamcodec.net.room import OFFER_BURST, Room, RoomConfig
from streamcodec.net.sender_bounds import BoundsConfig, SenderBounds
from streamcodec.net.session import MediaReceiver
from streamcodec.net.signalling import PeerInfo, PeerJoined, Signal
from streamcodec.net.time_scale import Samples
from tests.helpers.calls import settings
from tests.helpers.fake_codec import PACKET_SAMPLES, RATE_HZ, FakeDecoder, FakeEncoder, encode_redundant
from tests.helpers.relay import run, until
from tests.helpers.sound import tone


def test_a_sender_has_its_rate_and_its_share_of_the_queue() -> None:
    bounds = SenderBounds(100, BoundsConfig(packets_per_s=10.0, bytes_per_s=1_000.0, share_of_queue=0.1))
    assert [bounds.take(10, Tier.NEURAL, 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    for _ in range(10):
        bounds.done()
    assert not bounds.take(10, Tier.NEURAL, 0.0)
    assert bounds.take(10, Tier.NEURAL, 1.0)
    assert not bounds.take(2_000, Tier.NEURAL, 5.0)
    assert bounds.take(1_100, Tier.LOSSLESS, 5.0)
    assert bounds.refused == 4


def test_a_flood_of_one_person_conceals_nothing_of_another() -> None:
    """Ten times what may be sent, while somebody else speaks; the codec's thread is as slow as a busy machine's."""

    class Busy(Media):
        def receive(self, identity: str, datagram: bytes, now_ms: float) -> None:
            import time

            time.sleep(0.001)
            super().receive(identity, datagram, now_ms)

    async def test() -> None:
        async with (
            Relay() as relay,
            Call(replace(settings(relay.url, "Victim"), queue_jobs=64), FakeEncoder(), FakeDecoder) as victim,
            Call(settings(relay.url, "Voice"), FakeEncoder(), FakeDecoder) as voice,
            Call(settings(relay.url, "Flood"), FakeEncoder(), FakeDecoder) as flood,
        ):
            victim._media.__class__ = Busy
            await until(lambda: len(victim.peers) == 2)
            theirs = {info.name: identity for identity, info in victim._room.peers.items()}
            spoken = FakeEncoder()
            loud = [packet.to_bytes() for packet in FakeEncoder().push(tone(PACKET_SAMPLES * 2_000))]
            for k in range(50):
                for datagram in loud[k * 40 : (k + 1) * 40]:
                    victim._receive(theirs["Flood"], datagram)
                for packet in spoken.push(tone(PACKET_SAMPLES, start=k * PACKET_SAMPLES)):
                    victim._receive(theirs["Voice"], packet.to_bytes())
                await victim.pull(PACKET_SAMPLES)
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            await victim.pull(PACKET_SAMPLES)
            peers = {peer.name: peer for peer in victim.peers.values()}
            assert peers["Voice"].stream.jitter.received == 50
            assert peers["Voice"].refused == 0
            assert peers["Flood"].refused > 1_000
            assert voice.failed is flood.failed is None

    run(test())


def test_a_stream_keeps_its_format() -> None:
    """Six formats in turn, each of which would make a decoder, a resampler and a buffer anew."""
    packets = []
    for rate_hz, channels in ((48_000, 1), (48_000, 2), (44_100, 1), (44_100, 2), (32_000, 1), (24_000, 2)):
        encoder = StreamEncoder(rate_hz, tier="lossless", channels=channels, mode="independent")
        shape = (rate_hz // 10,) if channels == 1 else (rate_hz // 10, channels)
        noise = np.random.default_rng(1).integers(-9_000, 9_000, shape)
        packets.append(encoder.push(noise.astype(np.int16)))
    receiver = MediaReceiver(FloatDecoder(48_000), 48_000)
    cut = Fragmenter()
    now_ms = 0.0
    for turn in range(4):
        for kind in packets:
            now_ms += 20.0
            for datagram in cut.split(kind[turn].to_bytes()):
                receiver.receive(datagram, now_ms)
    stats = receiver.stats
    assert stats.format is not None
    assert (stats.format.sample_rate_hz, stats.format.channels) == (48_000, 1)
    assert stats.damaged == 20
    assert stats.jitter.received == 4


def report(now_ms: float, **fields: float) -> ReceiverReport:
    plain = ReceiverReport(0.0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 40.0, 6_000.0, 0, 0, round(now_ms))
    return replace(plain, **fields)


@pytest.mark.parametrize("listeners", [2, 3, 7])
def test_forged_reports_of_one_listener_cost_the_others_half_at_most(listeners: int) -> None:
    config = CongestionConfig(minimum_bps=1_500, maximum_bps=6_000, start_bps=6_000)
    media = Media(MediaConfig(RATE_HZ, congestion=config), FakeEncoder(), FakeDecoder, encode_redundant)
    for number in range(listeners):
        media.come(str(number))
    for step in range(400):
        now_ms = 50.0 * step
        forged = report(now_ms, loss=1.0, queue_ms=6_000.0, queue_growth_ms_per_s=30_000.0)
        media.receive("0", forged.to_bytes(), now_ms)
        if step % 10 == 0:
            for number in range(1, listeners):
                media.receive(str(number), report(now_ms).to_bytes(), now_ms)
        media.tick(now_ms)
    rate = media.stats.sender.rate
    assert rate is not None
    assert rate.bitrate_bps == 3_000
    media.leave("0")
    assert media.stats.sender.rate is not None
    assert media.stats.sender.rate.bitrate_bps == 6_000


def test_two_in_a_call_agree_and_most_of_many_decide() -> None:
    config = CongestionConfig(minimum_bps=1_500, maximum_bps=12_000, start_bps=6_000)

    def agreed(*rates_bps: int) -> int:
        return agreed_rate([SendRate(rate_bps, 0) for rate_bps in rates_bps], config).bitrate_bps

    assert agreed() == 6_000
    assert agreed(1_500) == 1_500
    assert agreed(12_000, 1_500) == 6_000
    assert agreed(2_000, 1_500) == 2_000
    assert agreed(12_000, 1_500, 1_500) == 1_500
    assert agreed(12_000, 12_000, 8_000) == 8_000
    assert agreed_rate([SendRate(6_000, 1), SendRate(6_000, 3)], config).redundancy == 3


def test_offers_of_one_person_are_bounded() -> None:
    async def test() -> None:
        async with Relay() as relay:
            heard: list[object] = []
            async with Room(RoomConfig(settings(relay.url, "Ann").room.client), lambda *_: None) as room:
                room._happened(PeerJoined(PeerInfo(7, "Eve", "0" * 16)))
                line = room._members["0" * 16].line
                assert line is not None
                line.hear = heard.append  # type: ignore[method-assign]
                for attempt in range(60):
                    room._take_signal(Signal(7, {"kind": "offer", "attempt": attempt, "sdp": "v=0"}))
                assert len(heard) == OFFER_BURST
                assert room.stats.refused == 60 - OFFER_BURST

    run(test())


# -- pacing -------------------------------------------------------------------------------------------------------


def paced(pushes: list[tuple[float, int]], until_s: float) -> list[tuple[float, int]]:
    """(when, samples) of what a pacer at 1,000 Hz lets out."""
    out: list[tuple[float, int]] = []
    now_s = 0.0
    pacer = Pacer(1_000, lambda samples: out.append((now_s, len(samples))))
    for step in range(round(until_s * 100)):
        now_s = step / 100
        while pushes and pushes[0][0] <= now_s:
            pacer.push(np.zeros(pushes.pop(0)[1], np.float32), now_s)
        pacer.step(now_s)
    return out


def test_ten_seconds_at_once_go_out_in_their_time() -> None:
    out = paced([(0.0, 10_000)], 12.0)
    assert sum(size for _, size in out) == 10_000
    for k in range(1, 10):
        sent = sum(size for when_s, size in out if when_s < k)
        assert k - 0.03 <= sent / 1_000 <= 1.02 * k + AHEAD_S + 0.03


def test_sound_in_real_time_is_not_delayed_and_a_fast_device_builds_no_queue() -> None:
    out = paced([(0.02 * k, 20) for k in range(100)], 2.0)
    assert [when_s for when_s, _ in out] == pytest.approx([0.02 * k for k in range(100)], abs=0.011)
    fast = paced([(0.02 * k / 1.009, 20) for k in range(5_000)], 100.0)
    assert sum(size for _, size in fast) >= 99_700


def test_pauses_of_whoever_pushes_are_told_and_nothing_else_is() -> None:
    pauses: list[float] = []
    pacer = Pacer(1_000, lambda samples: None, pauses.append)
    second = np.zeros(1_000, np.float32)
    for step in range(50):  # a device that is late now and then, and makes up for it
        pacer.push(second[: 20 + 100 * (step % 10 == 9)], 0.02 * step + 0.1 * (step // 10))
    assert pauses == []
    for step in range(100):  # one that is late at first is early from then on
        pacer.push(second[: 120 if step % 10 == 5 else 0 if step % 10 < 5 else 20], 1.5 + 0.02 * step)
    assert pauses == [pytest.approx(0.1, abs=0.03)]
    pacer.push(second, 10.0)
    assert pauses[1:] == [pytest.approx(6.5, abs=0.2)]
    for step in range(1_000, 1_500):
        pacer.step(step / 100)
    for step in range(5):  # a device takes over, and is late once
        pacer.passed_by(20.0 + 0.5 * step)
    assert pauses[2:] == [pytest.approx(20.0 - 10.0 - 1.0, abs=0.1)]
    pacer.push(second, 22.02)
    assert len(pauses) == 3


def talk(
    ann: Media, bob: Media, utterance: Samples, rate_hz: int, every_s: float = 5.0
) -> tuple[Samples, DeframerStats]:
    """Ann's again and again, over a line to the relay: what Bob hears in 30 s."""
    ann.come("bob")
    bob.come("ann")
    out: list[bytes] = []
    heard: list[Samples] = []
    pacer = Pacer(rate_hz, lambda sound: out.extend(ann.push(sound)), lambda pause_s: ann.pause(1_000.0 * pause_s))
    framer, deframer = Framer(), Deframer()
    for tick in range(3_000):
        now_ms = 10.0 * tick
        if tick % round(100 * every_s) == 0:
            pacer.push(utterance, now_ms / 1_000.0)
        pacer.step(now_ms / 1_000.0)
        for datagram in out:
            for taken in deframer.take(framer.frame(datagram), now_ms):
                bob.receive("ann", taken, now_ms + 20.0)
        out.clear()
        heard.append(bob.pull(now_ms, rate_hz // 100))
        for _, told in bob.tick(now_ms):
            ann.receive("bob", told, now_ms + 20.0)
        ann.tick(now_ms)
    return np.concatenate(heard), deframer.stats


def test_who_speaks_now_and_then_is_heard_at_once_and_in_full() -> None:
    """A machine that answers: two seconds at once, then nothing for three, and again."""
    config = CongestionConfig(minimum_bps=1_500, maximum_bps=12_000, start_bps=6_000)
    ann, bob = (
        Media(MediaConfig(RATE_HZ, congestion=config), FakeEncoder(), FakeDecoder, encode_redundant) for _ in range(2)
    )
    _, framing = talk(ann, bob, tone(2 * RATE_HZ), RATE_HZ)
    stats, rate = bob.stats.receivers["ann"], ann.stats.sender.rate
    assert rate is not None
    assert rate.bitrate_bps > 6_000
    assert framing.unplaced == 0
    assert stats.jitter.target_ms < 200.0
    assert stats.jitter.lost == stats.jitter.restarts == stats.jitter.discarded == stats.playout.accelerated == 0
    assert stats.jitter.played == 600


@pytest.mark.parametrize("gap_s", [0.06, 0.15])
def test_sound_with_short_gaps_keeps_its_rate(gap_s: float) -> None:
    """Of a machine that makes a second of speech at a time, and somewhat slower than it is spoken."""
    config = CongestionConfig(minimum_bps=1_500, maximum_bps=12_000, start_bps=6_000)
    ann, bob = (
        Media(MediaConfig(RATE_HZ, congestion=config), FakeEncoder(), FakeDecoder, encode_redundant) for _ in range(2)
    )
    talk(ann, bob, tone(RATE_HZ), RATE_HZ, 1.0 + gap_s)
    rate = ann.stats.sender.rate
    assert rate is not None
    assert rate.bitrate_bps > 6_000
    assert bob.stats.receivers["ann"].jitter.target_ms < 160.0


@pytest.mark.parametrize("options", [{"tier": "lossless"}, {"tier": "near-lossless"}, {"mode": "stream"}])
def test_what_follows_a_pause_is_heard_where_packets_need_those_before(options: dict[str, Any]) -> None:
    rate_hz, seconds = 16_000, 2.29  # ends between two key packets
    encoder = FloatEncoder(StreamEncoder(rate_hz, **options))
    config = MediaConfig(rate_hz, congestion=None)
    ann, bob = (Media(config, encoder, lambda: FloatDecoder(rate_hz)) for _ in range(2))
    heard, framing = talk(ann, bob, tone(round(seconds * rate_hz)), rate_hz)
    stats = bob.stats.receivers["ann"].jitter
    assert framing.unplaced == stats.lost == stats.restarts == 0
    assert stats.target_ms < 200.0
    blocks = heard.reshape(-1, rate_hz // 100)
    loud = np.sqrt(np.mean(np.square(blocks), axis=1)) > 0.05
    assert 0.01 * np.count_nonzero(loud) > 0.98 * 6 * seconds


def test_speech_that_waits_can_be_dropped_and_too_much_is_refused() -> None:
    out: list[Samples] = []
    pacer = Pacer(1_000, out.append)
    pacer.push(np.zeros(5_000, np.float32), 0.0)
    assert pacer.queued_s == pytest.approx(5.0 - AHEAD_S, abs=0.03)
    assert pacer.clear() == pytest.approx(5.0 - AHEAD_S, abs=0.03)
    assert pacer.step(10.0) is None
    pacer.push(np.zeros(100, np.float32), 10.0)
    assert pacer.queued_s == 0.0
    with pytest.raises(StreamcodecError, match="clear"):
        pacer.push(np.zeros(round(1_001 * LONGEST_QUEUE_S), np.float32), 10.0)


def test_a_call_is_pushed_two_seconds_at_once_and_all_of_it_is_heard() -> None:
    async def test() -> None:
        async with (
            Relay() as relay,
            Call(settings(relay.url, "Ann"), FakeEncoder(), FakeDecoder) as ann,
            Call(settings(relay.url, "Bob"), FakeEncoder(), FakeDecoder) as bob,
        ):
            await until(lambda: bool(ann.peers and bob.peers))
            ann.push(tone(2 * RATE_HZ))
            assert ann.queued_s > 1.5
            heard: list[Samples] = []
            loop = asyncio.get_running_loop()
            start_s = loop.time()
            for tick in range(120):
                heard.append(await bob.pull(PACKET_SAMPLES))
                await asyncio.sleep(max(0.0, start_s + 0.02 * (tick + 1) - loop.time()))
            await asyncio.wait_for(ann.drained(), 1.0)
            loud = np.abs(np.concatenate(heard)).reshape(-1, PACKET_SAMPLES).max(axis=1) > 0.1
            assert loud.sum() >= 95
            ann.push(tone(2 * RATE_HZ))
            assert ann.clear() > 1.5
            assert ann.queued_s == 0.0

    run(test())
