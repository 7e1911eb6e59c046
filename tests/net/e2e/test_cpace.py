"""Held to the test vectors of draft-irtf-cfrg-cpace, appendix B.1; and nobody agrees who should not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.net.e2e.cpace import CPace, generator, lv_cat
from streamcodec.net.e2e.sframe import SealError

SECRET = b"Password"
CHANNEL = bytes.fromhex("0b415f696e69746961746f720b425f726573706f6e646572")
SESSION = bytes.fromhex("7e4b4791d6a8ef019b936c79fb7f2c57")
SCALAR_A = bytes.fromhex("21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080")
SCALAR_B = bytes.fromhex("848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a")
LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
]


def test_the_vectors_of_the_draft() -> None:
    point = "d04bf6d41f6a289632a2e929fa29bebd51092512a7829fdde7d314b62f05a73f"
    assert generator(SECRET, CHANNEL, SESSION).hex() == point
    ann = CPace(SECRET, CHANNEL, SESSION, b"ADa", SCALAR_A)
    bob = CPace(SECRET, CHANNEL, SESSION, b"ADb", SCALAR_B)
    assert ann.share.hex() == "1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32"
    assert bob.share.hex() == "248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e623512ecea32185623"
    keys = ann.finish(bob.share, b"ADb"), bob.finish(ann.share, b"ADa")
    expected = (
        "eef745e2f6e7ae2b1a1e53da340e777167a07fe150436648c51fb199c11f3cba"
        "bfc683a2b48e1af5881940dc398d375c95e6b4ae9948a45b8770de0656382be4"
    )
    assert [key.key.hex() for key in keys] == [expected, expected]
    assert keys[0].confirms(keys[1].tag)
    assert keys[1].confirms(keys[0].tag)
    assert not keys[0].confirms(keys[0].tag), "a tag sent back proves nothing"


@pytest.mark.parametrize("share", LOW_ORDER)
def test_shares_of_low_order_are_refused(share: str) -> None:
    """They would give an end a key that everybody knows (the draft's own list)."""
    ann = CPace(SECRET, CHANNEL, SESSION, b"ADa", SCALAR_A)
    for top in (0, 0x80):
        changed = bytearray.fromhex(share)
        changed[-1] |= top
        with pytest.raises(SealError, match="low order"):
            ann.finish(bytes(changed), b"ADb")


def test_its_own_share_and_what_is_no_share_are_refused() -> None:
    ann = CPace(SECRET, CHANNEL, SESSION, b"ADa")
    for share in (ann.share, b"", bytes(31), bytes(33)):
        with pytest.raises(SealError, match="not a share"):
            ann.finish(share, b"ADb")


PARTS = st.binary(max_size=300)


@settings(max_examples=30, deadline=None)
@given(st.tuples(PARTS, PARTS, PARTS), st.tuples(PARTS, PARTS, PARTS), PARTS, PARTS)
def test_ends_agree_exactly_if_they_began_with_the_same(
    one: tuple[bytes, bytes, bytes], other: tuple[bytes, bytes, bytes], about: bytes, told: bytes
) -> None:
    ann = CPace(*one, b"ann")
    for start in (one, other):
        bob = CPace(*start, about)
        ann_key, bob_key = ann.finish(bob.share, about), bob.finish(ann.share, b"ann")
        assert ann_key.confirms(bob_key.tag) == bob_key.confirms(ann_key.tag) == (start == one)
        # What somebody in between says about Bob is not what Bob said.
        assert ann.finish(bob.share, told).confirms(bob_key.tag) == (start == one and told == about)


@given(st.lists(PARTS), st.lists(PARTS))
def test_lists_of_parts_are_told_apart(one: list[bytes], other: list[bytes]) -> None:
    assert (lv_cat(*one) == lv_cat(*other)) == (one == other)
