from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.packet import Packet, PacketFlags
from streamcodec.errors import StreamcodecError
from streamcodec.net.copy_plan import LONGEST_WAIT_MS, left_over, plan
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import Play
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig, PatternLoss
from streamcodec.net.recovery import RecoveryDelay
from streamcodec.net.redundancy import Redundancy
from tests.helpers.simulation import Receiver, packet, run


def coarse(given: Packet, share: float) -> tuple[int, bytes]:
    return 2, b"c" + given.payload[1:]


def test_copies_of_the_last_packets_ride_along_newest_first() -> None:
    """The first packets have none, and announce how old copies will be by an empty one."""
    redundancy = Redundancy(coarse, redundancy=2)
    sent = [redundancy.attach(packet(index)) for index in range(4)]
    assert [[(copy.age, copy.quality_index, copy.payload) for copy in out.redundant] for out in sent] == [
        [(2, 0, b"")],
        [(1, 2, b"c0"), (2, 0, b"")],
        [(1, 2, b"c1"), (2, 2, b"c0")],
        [(1, 2, b"c2"), (2, 2, b"c1")],
    ]
    assert Packet.from_bytes(sent[3].to_bytes()) == sent[3]


def test_ages_follow_media_time_over_pauses_and_wraps() -> None:
    redundancy = Redundancy(coarse, redundancy=3)
    redundancy.attach(packet(65_534))
    redundancy.attach(packet(65_535, flags=PacketFlags.SILENCE))
    after = redundancy.attach(packet(65_537, sequence=0))
    assert [(copy.age, copy.flags) for copy in after.redundant] == [
        (2, PacketFlags.SILENCE),
        (3, PacketFlags.KEY),
    ]
    assert redundancy.attach(packet(164, sequence=1)).redundant == ()


def test_copies_never_make_a_datagram_too_long() -> None:
    redundancy = Redundancy(lambda given, share: (2, bytes(400)), redundancy=8)
    for index in range(12):
        out = redundancy.attach(packet(index))
        assert len(out.to_bytes()) <= 1_070
    assert len(out.redundant) == 2


def test_packets_without_a_coarser_form_and_reset() -> None:
    redundancy = Redundancy(lambda given, share: None, redundancy=3)
    for index in range(4):
        assert redundancy.attach(packet(index)).redundant == ()
    redundancy = Redundancy(coarse, redundancy=3)
    redundancy.attach(packet(0))
    redundancy.reset()
    assert not any(copy.payload for copy in redundancy.attach(packet(1)).redundant)
    with pytest.raises(StreamcodecError, match="redundancy"):
        redundancy.redundancy = 9


def test_copies_need_not_be_of_neighbours() -> None:
    shares: list[float] = []

    def at_share(given: Packet, share: float) -> tuple[int, bytes]:
        shares.append(share)
        return coarse(given, share)

    redundancy = Redundancy(at_share)
    redundancy.ages = (2, 4)
    sent = [redundancy.attach(packet(index)) for index in range(6)]
    assert [[(copy.age, copy.payload) for copy in out.redundant] for out in sent] == [
        [(4, b"")],
        [(4, b"")],
        [(2, b"c0"), (4, b"")],
        [(2, b"c1"), (4, b"")],
        [(2, b"c2"), (4, b"c0")],
        [(2, b"c3"), (4, b"c1")],
    ]
    # The second copy of a packet is the coarser one.
    assert shares[-2] > shares[-1]
    with pytest.raises(StreamcodecError, match="ascending"):
        redundancy.ages = (4, 2)


def test_packets_of_another_length_are_not_copied() -> None:
    redundancy = Redundancy(coarse, redundancy=1)
    redundancy.attach(packet(0))
    redundancy.attach(packet(1))
    longer = redundancy.attach(replace(packet(2), frames=3))
    assert longer.redundant == ()
    assert [copy.age for copy in redundancy.attach(replace(packet(5), frames=3)).redundant] == [3]


def test_copies_apart_from_each_other_outlive_bursts() -> None:
    burst = 2.0
    neighbours, apart = left_over(0.1, burst, (1, 2)), left_over(0.1, burst, (2, 4))
    loss = GilbertElliott(GilbertElliottConfig(0.1, burst), seed=2)
    lost = [loss.lost() for _ in range(200_000)]
    for ages, expected in (((1, 2), neighbours), ((2, 4), apart)):
        counted = sum(all(lost[index + age] for age in (0, *ages)) for index in range(len(lost) - 4)) / len(lost)
        assert counted == pytest.approx(expected, rel=0.1)
    assert apart < 0.4 * neighbours


@pytest.mark.parametrize("packet_ms", [20.0, 40.0, 60.0, 120.0])
@pytest.mark.parametrize("loss", [0.0, 0.003, 0.02, 0.1, 0.2, 0.4, 0.9])
def test_a_plan_pays_for_each_copy_and_keeps_to_its_delay(loss: float, packet_ms: float) -> None:
    worth = 0.004
    ages = plan(loss, 2.0, packet_ms, 4, worth)
    assert list(ages) == sorted(set(ages))
    assert all(age * packet_ms <= max(LONGEST_WAIT_MS, packet_ms) for age in ages)
    assert loss - left_over(loss, 2.0, ages) >= worth * len(ages)
    if loss >= 0.02:
        assert ages
    if loss <= worth:
        assert ages == ()
    if packet_ms == 20.0 and 0.02 <= loss <= 0.1:
        assert ages[0] > 1


@pytest.mark.parametrize(
    ("reach", "lost", "expected"), [(0, 0, 0), (4, 0, 4), (4, 0.1, 4), (2, 0.1, 2), (4, 0.001, 0)]
)
def test_the_wait_for_copies_pays_or_ends(reach: int, lost: float, expected: int) -> None:
    """``lost`` is the share that comes by its copy only; with 0 nothing has come yet."""
    recovery = RecoveryDelay(0.004)
    recovery.carried(reach)
    for index in range(1_000 if lost else 0):
        recovery.observe(reach if lost and index % round(1 / lost) == 0 else 0)
    assert recovery.wait_packets == expected


def test_a_packet_without_copies_does_not_end_the_wait() -> None:
    recovery = RecoveryDelay(0.004)
    for oldest in (4, 0, 0, 2):
        recovery.carried(oldest)
        assert recovery.wait_packets == 4
    for _ in range(100):
        recovery.carried(2)
    assert recovery.wait_packets == 2


@pytest.mark.parametrize("frames", [3, 6])
def test_copies_of_long_packets_are_waited_for(frames: int) -> None:
    redundancy = Redundancy(coarse)
    redundancy.ages = (1,)
    sent = [redundancy.attach(replace(packet(index), frames=frames)) for index in range(0, 1_200, frames)]
    loss = PatternLoss("...x....")
    buffer = JitterBuffer()
    receiver = Receiver(buffer)
    arrivals = [((k + 1) * frames * 20.0, out) for k, out in enumerate(sent) if not loss.lost()]
    for tick in range(2_300):
        while arrivals and arrivals[0][0] <= tick * 10.0:
            arrival_ms, out = arrivals.pop(0)
            for frame in out.each_frame():
                buffer.put(frame, arrival_ms)
        receiver.tick(tick * 10.0)
    assert buffer.stats.lost > 100
    assert buffer.stats.concealed < 0.05 * buffer.stats.lost


def test_a_stream_that_announces_copies_begins_with_their_delay_and_gives_it_up() -> None:
    redundancy = Redundancy(coarse)
    redundancy.ages = (4,)
    sent = [redundancy.attach(packet(index)) for index in range(600)]
    receiver = Receiver()
    targets: list[float] = []
    run(
        receiver,
        len(sent),
        delay_ms=lambda index: 20.0,
        make=sent.__getitem__,
        each_tick=lambda now_ms: targets.append(receiver.buffer.stats.target_ms),
    )
    assert targets[10] >= 80.0
    assert targets[-1] < 30.0
    assert receiver.buffer.stats.depth_ms <= 30.0
    assert receiver.buffer.stats.concealed == 0


@pytest.mark.parametrize(("redundancy", "most_concealed"), [(0, 0.13), (1, 0.07), (2, 0.045), (3, 0.03)])
def test_what_redundancy_buys_at_ten_percent_bursty_loss(redundancy: int, most_concealed: float) -> None:
    redundancy = Redundancy(coarse, redundancy=redundancy)
    sent = [redundancy.attach(packet(index)) for index in range(6_000)]
    loss = GilbertElliott(GilbertElliottConfig(0.1, 2.0), seed=9)
    receiver = Receiver(JitterBuffer())
    run(receiver, len(sent), delay_ms=lambda index: None if loss.lost() else 20.0, make=sent.__getitem__)
    stats = receiver.buffer.stats
    assert stats.lost == pytest.approx(600, rel=0.15)
    assert stats.concealed / len(sent) < most_concealed
    assert stats.depth_ms < 110.0
    heard = [decision.packet for decision in receiver.decisions if isinstance(decision, Play) and decision.recovered]
    assert all(out.payload == b"c%d" % out.timestamp for out in heard)


@pytest.mark.parametrize(
    ("before_ms", "after_ms", "ages_before", "ages_after"),
    [
        (60, 20, (1,), (5,)),
        (20, 60, (5,), (1,)),
        (40, 60, (2,), (1,)),
        (60, 40, (1,), (2,)),
        (20, 40, (2, 5), (1, 2)),
    ],
)
def test_copies_go_on_across_a_change_of_length(
    before_ms: int,
    after_ms: int,
    ages_before: tuple[int, ...],
    ages_after: tuple[int, ...],
    speech: NDArray[np.float32],
) -> None:
    """Of the last packet before the change, what the copies of the new length reach is played from them."""
    encoder = StreamEncoder(24_000, 9_000, packet_ms=before_ms)
    redundancy = Redundancy(encoder.encode_redundant)
    redundancy.ages = ages_before
    sent: list[Packet] = []
    for index, start in enumerate(range(0, 48_000, 480)):
        if index == 54:
            encoder.set_packet_ms(after_ms)
            redundancy.ages = ages_after
        sent += [redundancy.attach(each) for each in encoder.push(speech[start : start + 480])]
    change = next(index for index, each in enumerate(sent) if each.frames != sent[0].frames)
    lost, carriers = sent[change - 1], sent[change : change + 8]
    reached = max(ages_after) * after_ms // 20
    frames = range(lost.timestamp, lost.timestamp + lost.frames)
    wanted = [frame for frame in frames if frame >= carriers[0].timestamp - reached]
    assert wanted

    buffer = JitterBuffer()
    decoder = StreamDecoder(24_000)
    for each in [*sent[change - 6 : change - 1], *carriers]:
        for part in each.each_frame():
            buffer.put(part, 20.0 * (each.timestamp + each.frames))
    played = {}
    for tick in range(600):
        decision = buffer.get(20.0 * carriers[0].timestamp + 10.0 * tick)
        if isinstance(decision, Play):
            played[decision.packet.timestamp] = decision.recovered
            assert decoder.push(decision.packet).size
    assert all(played.get(frame) for frame in wanted)
    assert decoder.concealed == 0


def test_no_copy_reaches_over_a_pause_into_packets_of_another_length() -> None:
    redundancy = Redundancy(coarse)
    redundancy.ages = (1,)
    redundancy.attach(packet(10))
    redundancy.attach(packet(20, sequence=11))
    long = replace(packet(21, sequence=12), frames=3)
    assert not any(copy.payload for copy in redundancy.attach(long).redundant)
