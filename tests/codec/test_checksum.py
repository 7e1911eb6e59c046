"""The checksum that packets and reports end with."""

from __future__ import annotations

from streamcodec.codec.checksum import fits_checksum, with_checksum


def test_it_is_the_crc_that_the_wire_format_names() -> None:
    """Check value of CRC-16/CCITT-FALSE (seed 0xFFFF, no reflection) in the catalogue of parametrised CRCs."""
    assert with_checksum(b"123456789") == b"123456789\x29\xb1"


def test_it_fits_what_it_was_made_of_alone() -> None:
    data = with_checksum(b"a packet")
    assert fits_checksum(data)
    for position in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        assert not fits_checksum(bytes(damaged))
