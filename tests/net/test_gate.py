"""Limits per address, on a simulated clock."""

from __future__ import annotations

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.gate import Gate, GateConfig, Visit, address_of, forwarded_for, is_within, networks

PROXIES = networks(["10.0.0.0/8", "127.0.0.0/8", "::1"])


class Door:
    """A gate whose visitors note that they were dropped."""

    def __init__(self, **config: float) -> None:
        self.gate = Gate(GateConfig(**config))  # type: ignore[arg-type]
        self.dropped: list[str] = []

    def come(self, address: str, name: str = "", **options: bool) -> Visit:
        return self.gate.come(address, lambda: self.dropped.append(name or address), **options)


def test_an_address_that_holds_its_share_pays_for_its_own_newcomers() -> None:
    door = Door(max_waiting=10, address_waiting=3)
    others = [door.come("192.0.2.9", f"other {k}") for k in range(3)]
    for k in range(5):
        door.come("192.0.2.1", f"idle {k}")
    assert door.dropped == ["idle 0", "idle 1"]
    assert all(visit.waiting for visit in others)
    assert (door.gate.waiting, door.gate.dropped) == (6, 2)


def test_a_newcomer_always_has_a_place_and_whoever_holds_most_makes_it() -> None:
    door = Door(max_waiting=6, address_waiting=0)
    for k in range(6):
        door.come("192.0.2.1", f"idle {k}")
    newcomer = door.come("192.0.2.2", "newcomer")
    assert newcomer.waiting
    for k in range(40):
        door.come(f"198.51.100.{k}", f"stranger {k}")
    assert door.dropped[:6] == [f"idle {k}" for k in range(6)][:6] or "newcomer" not in door.dropped[:4]
    assert door.gate.waiting == 6


def test_joined_people_are_not_dropped_and_give_their_place_back() -> None:
    door = Door(max_waiting=2, address_people=2, address_rooms=1)
    first = door.come("192.0.2.1", "first")
    assert door.gate.refusal(first, "a", 0.0) == ""
    door.gate.sit(first, "a")
    for k in range(5):
        door.come("192.0.2.1", f"idle {k}")
    assert "first" not in door.dropped
    second = door.come("192.0.2.1", "second")
    assert "1 rooms" in door.gate.refusal(second, "b", 0.0)
    assert door.gate.refusal(second, "a", 0.0) == ""
    door.gate.sit(second, "a")
    assert "2 people" in door.gate.refusal(door.come("192.0.2.1"), "a", 0.0)
    door.gate.leave(first)
    door.gate.leave(first)
    third = door.come("192.0.2.1")
    assert door.gate.refusal(third, "a", 0.0) == ""
    door.gate.leave(second)
    assert door.gate.refusal(third, "b", 0.0) == ""


def test_joins_have_a_rate_of_each_address() -> None:
    door = Door(address_joins_per_s=1.0, address_join_burst=3.0)
    busy, calm = door.come("192.0.2.1"), door.come("192.0.2.2")
    answers = [door.gate.refusal(busy, "a", 0.0) for _ in range(5)]
    assert [bool(answer) for answer in answers] == [False, False, False, True, True]
    assert door.gate.refusal(calm, "a", 0.0) == ""
    assert door.gate.refusal(busy, "a", 2.0) == ""


def test_wrong_tokens_take_longer_and_longer_and_are_forgiven() -> None:
    door = Door()
    guesser, other = door.come("192.0.2.1"), door.come("192.0.2.2")
    waits = [door.gate.wrong_token(guesser, 0.1 * k) for k in range(8)]
    assert waits == sorted(waits)
    assert waits[0] <= 0.05
    assert waits[-1] == 1.0
    assert door.gate.wrong_token(other, 1.0) <= 0.05
    assert door.gate.wrong_token(guesser, 1_000.0) <= 0.05


def test_memory_is_bounded_however_many_addresses_come() -> None:
    door = Door(remembered_addresses=50)
    seated = door.come("192.0.2.1")
    door.gate.sit(seated, "a")
    for k in range(2_000):
        door.gate.leave(door.come(f"198.51.{k // 250}.{k % 250}"))
    assert len(door.gate._addresses) <= 51
    assert door.gate._addresses["192.0.2.1"].people == 1


def test_what_comes_through_a_proxy_counts_for_its_origin() -> None:
    door = Door(max_waiting=100, address_waiting=2)
    visits = [door.come("127.0.0.1", f"visit {k}", through_proxy=True) for k in range(6)]
    assert not door.dropped
    for visit in visits[:4]:
        door.gate.move(visit, "192.0.2.1")
    assert door.dropped == ["visit 0", "visit 1"]
    door.gate.sit(visits[3], "a")
    assert door.gate._addresses["192.0.2.1"].people == 1


@pytest.mark.parametrize(
    ("header", "origin"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("10.0.0.1, 10.0.0.2", None),
        ("203.0.113.7, nonsense", None),
        ("", None),
        ("," * 5_000, None),
    ],
)
def test_only_what_trusted_proxies_say_is_believed(header: str, origin: str | None) -> None:
    assert forwarded_for(header, PROXIES) == origin


def test_addresses_are_known_in_all_their_spellings() -> None:
    assert address_of("::ffff:192.0.2.1") == address_of("192.0.2.1") == "192.0.2.1"
    assert address_of("2001:db8:1:2::3") == address_of("2001:db8:1:2:ffff::9%eth0") != address_of("2001:db8:1:3::3")
    assert address_of("nowhere") == "unknown"
    assert is_within("::ffff:10.2.3.4", PROXIES)
    assert not is_within("192.0.2.1", PROXIES)
    assert not is_within("nowhere", PROXIES)
    with pytest.raises(StreamcodecError, match=r"10\.0\.0\.0/8"):
        networks(["proxy.example"])


def test_a_gate_that_remembers_no_more_addresses_still_takes_the_next() -> None:
    door = Door(max_waiting=0, address_waiting=0, remembered_addresses=5)
    visits = [door.come(f"192.0.2.{k}") for k in range(5)]
    for visit in visits:
        door.gate.sit(visit, "room")
    assert door.come("192.0.2.99").waiting
