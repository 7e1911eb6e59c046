"""Passphrases that people think of, and those that are drawn."""

from __future__ import annotations

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e import check_passphrase, new_passphrase, room_key_from_passphrase


@pytest.mark.parametrize(
    "passphrase", ["", "x", "iloveyou", "letmein123", "aaaaaaaaaaaaaaaa", "qwertyuiop", "12345678"]
)
def test_what_is_guessed_easily_is_refused_and_the_mend_named(passphrase: str) -> None:
    with pytest.raises(StreamcodecError, match="--new-passphrase") as caught:
        check_passphrase(passphrase)
    assert not passphrase or passphrase not in str(caught.value)


@pytest.mark.parametrize(
    "passphrase", ["correct horse", "hush river tuesday", "täglich Brot und Wein", "x" + "7f3kq9" * 500]
)
def test_what_is_not_is_taken(passphrase: str) -> None:
    check_passphrase(passphrase)


def test_drawn_passphrases_are_long_and_never_the_same() -> None:
    drawn = {new_passphrase() for _ in range(20)}
    assert len(drawn) == 20
    for passphrase in drawn:
        assert len(passphrase.split()) == 5
        check_passphrase(passphrase)


def test_keys_depend_on_passphrase_and_room_and_on_nothing_that_keyboards_differ_in() -> None:
    key = room_key_from_passphrase("caf\u00e9 au lait", "kitchen")
    assert len(key) == 32
    assert room_key_from_passphrase("cafe\u0301\u00a0au lait", "kitchen") == key
    assert room_key_from_passphrase("caf\u00e9 au lait", "cellar") != key
    assert room_key_from_passphrase("Caf\u00e9 au lait", "kitchen") != key
    # Pinned, for another implementation must make the same.
    assert room_key_from_passphrase("correct horse", "room").hex() == GOLDEN
    for length in (0, 1_025):
        with pytest.raises(StreamcodecError, match="1 to 1024 characters"):
            room_key_from_passphrase("x" * length, "room")


GOLDEN = "0dd7c0fc2c4e51658e503d76adfcde1876b25039ad216c979e389067b382a537"
