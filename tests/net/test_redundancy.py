from __future__ import annotations

import pytest

from streamcodec.codec.packet import Packet, PacketFlags
from streamcodec.errors import StreamcodecError
from streamcodec.net.jitter_buffer import JitterBuffer, Play
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
from streamcodec.net.redundancy import Redundancy
from tests.helpers.simulation import Receiver, packet, run


def coarse(given: Packet) -> tuple[int, bytes]:
    return 2, b"c" + given.payload[1:]


def test_copies_of_the_last_packets_ride_along_newest_first() -> None:
    redundancy = Redundancy(coarse, redundancy=2)
    sent = [redundancy.attach(packet(index)) for index in range(4)]
    assert [[(copy.age, copy.quality_index, copy.payload) for copy in out.redundant] for out in sent] == [
        [],
        [(1, 2, b"c0")],
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
    assert redundancy.attach(packet(65_700, sequence=1)).redundant == ()


def test_copies_never_make_a_datagram_too_long() -> None:
    redundancy = Redundancy(lambda given: (2, bytes(400)), redundancy=8)
    for index in range(12):
        out = redundancy.attach(packet(index))
        assert len(out.to_bytes()) <= 1_070
    assert len(out.redundant) == 2


def test_packets_without_a_coarser_form_and_reset() -> None:
    redundancy = Redundancy(lambda given: None, redundancy=3)
    for index in range(4):
        assert redundancy.attach(packet(index)).redundant == ()
    redundancy = Redundancy(coarse, redundancy=3)
    redundancy.attach(packet(0))
    redundancy.reset()
    assert redundancy.attach(packet(1)).redundant == ()
    with pytest.raises(StreamcodecError, match="redundancy"):
        redundancy.redundancy = 9


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
