"""Held to the test vectors of RFC 9605, appendix C, and to what its framing must refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e.sframe import (
    AES_128_CTR_HMAC_SHA256_64,
    AES_128_CTR_HMAC_SHA256_80,
    AES_128_GCM_SHA256_128,
    AES_256_GCM_SHA512_128,
    CipherSuite,
    SealError,
    SFrameKey,
    decode_header,
    encode_header,
)

BASE_KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
METADATA = bytes.fromhex("4945544620534672616d65205747")
PLAINTEXT = bytes.fromhex("64726166742d696574662d736672616d652d656e63")
KID, COUNTER = 0x123, 0x4567
NUMBERS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("suite", "ciphertext"),
    [
        (AES_128_CTR_HMAC_SHA256_80, "9901234567449408b6f490086165b9d6f62b24ae1a59a56486b4ae8ed036b88912e24f11"),
        (AES_128_CTR_HMAC_SHA256_64, "99012345673f31438db4d09434e43afa0f8a2f00867a2be085046a9f5cb4f101d607"),
        (
            AES_128_GCM_SHA256_128,
            "9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb",
        ),
        (
            AES_256_GCM_SHA512_128,
            "990123456794f509d36e9beacb0e261d99c7d1e972f1fed787d4049f17ca21353c1cc24d56ceabced279",
        ),
    ],
    ids=lambda value: str(value.number) if isinstance(value, CipherSuite) else "",
)
def test_the_vectors_of_the_rfc(suite: CipherSuite, ciphertext: str) -> None:
    key = SFrameKey(suite, KID, BASE_KEY)
    assert key.encrypt(COUNTER, METADATA, PLAINTEXT).hex() == ciphertext
    assert key.decrypt(METADATA, bytes.fromhex(ciphertext)) == PLAINTEXT


@pytest.mark.parametrize(
    ("kid", "counter", "encoded"),
    [
        (0, 0, "00"),
        (0, 1, "01"),
        (0, 255, "08ff"),
        (0, 256, "090100"),
        (1, 256, "190100"),
        (255, 0, "80ff"),
        (256, 65_535, "990100ffff"),
        (2**64 - 1, 2**56 - 1, "feffffffffffffffffffffffffffffff"),
        (2**64 - 1, 2**64 - 1, "ff" * 17),
    ],
)
def test_headers_of_the_rfc(kid: int, counter: int, encoded: str) -> None:
    assert encode_header(kid, counter).hex() == encoded
    assert decode_header(bytes.fromhex(encoded) + b"rest") == (kid, counter, len(encoded) // 2)


@given(NUMBERS, NUMBERS)
def test_headers_come_back_and_have_one_form(kid: int, counter: int) -> None:
    encoded = encode_header(kid, counter)
    assert decode_header(encoded) == (kid, counter, len(encoded))
    for cut in range(len(encoded)):
        with pytest.raises(SealError):
            decode_header(encoded[:cut])


@pytest.mark.parametrize("encoded", ["0807", "8007", "090001", "0900ff"])
def test_a_header_longer_than_it_need_be_is_refused(encoded: str) -> None:
    with pytest.raises(SealError, match="header"):
        decode_header(bytes.fromhex(encoded))


@pytest.mark.parametrize("suite", [AES_128_CTR_HMAC_SHA256_64, AES_256_GCM_SHA512_128])
def test_damage_anywhere_other_keys_and_other_metadata_are_refused(suite: CipherSuite) -> None:
    key = SFrameKey(suite, KID, BASE_KEY)
    sealed = key.encrypt(COUNTER, METADATA, PLAINTEXT)
    for position in range(len(sealed)):
        for bit in range(8):
            damaged = bytearray(sealed)
            damaged[position] ^= 1 << bit
            with pytest.raises(SealError):
                key.decrypt(METADATA, bytes(damaged))
        with pytest.raises(SealError):
            key.decrypt(METADATA, sealed[:position])
    with pytest.raises(SealError):
        key.decrypt(METADATA + b"x", sealed)
    with pytest.raises(SealError):
        SFrameKey(suite, KID, BASE_KEY[::-1]).decrypt(METADATA, sealed)
    with pytest.raises(SealError):
        SFrameKey(suite, KID + 1, BASE_KEY).open(COUNTER, METADATA, sealed[5:])
    with pytest.raises(SealError):
        key.ratchet(KID).decrypt(METADATA, sealed)


def test_numbers_are_checked_and_keys_hidden() -> None:
    with pytest.raises(StreamcodecError, match="64 bits"):
        encode_header(2**64, 0)
    with pytest.raises(StreamcodecError, match="64 bits"):
        SFrameKey(AES_128_CTR_HMAC_SHA256_64, -1, BASE_KEY)
    assert BASE_KEY.hex() not in repr(SFrameKey(AES_128_CTR_HMAC_SHA256_64, 0, BASE_KEY))
