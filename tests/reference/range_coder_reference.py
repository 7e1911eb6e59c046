"""The range coder again, in unbounded Python integers: slow, without carries, and obviously the same code.

The whole code is one integer; nothing ever leaves it, so there is nothing to carry into.
"""

from __future__ import annotations

from collections.abc import Sequence

LOW_BITS = 48
TOP = 1 << LOW_BITS
BOTTOM = 1 << (LOW_BITS - 8)


class ReferenceEncoder:
    """Codes symbols into one long integer."""

    def __init__(self) -> None:
        self.low = 0
        self.range = TOP
        self.shifted_bytes = 0

    def encode(self, start: int, frequency: int, bits: int) -> None:
        """Code the symbol that owns ``[start, start + frequency)`` of ``2**bits``."""
        unit = self.range >> bits
        self._narrow(unit * start, unit * frequency)

    def encode_bit(self, probability: int, bit: int) -> None:
        """Code one bit that is 1 with probability ``probability / 65536``."""
        one = (self.range >> 16) * probability
        if bit:
            self._narrow(0, one)
        else:
            self._narrow(one, self.range - one)

    def encode_bits(self, value: int, count: int) -> None:
        """Code the ``count`` lowest bits of ``value`` as they are: 16 at a time, first what is beyond."""
        while count > 0:
            step = min(count, 16)
            count -= step
            self.encode((value >> count) % (1 << step), 1, step)

    def encode_gamma(self, value: int) -> None:
        """Elias gamma code of ``value + 1``: a one for every bit after the first, a zero, then those bits."""
        digits = f"{value + 1:b}"[1:]
        for bit in "1" * len(digits) + "0":
            self.encode_bits(int(bit), 1)
        self.encode_bits(int(digits or "0", 2), len(digits))

    def _narrow(self, offset: int, width: int) -> None:
        self.low += offset
        self.range = width
        while self.range < BOTTOM:
            self.low <<= 8
            self.range <<= 8
            self.shifted_bytes += 1

    def finish(self) -> bytes:
        """The shortest byte string that, followed by zeros, lies in the final interval."""
        total_bytes = self.shifted_bytes + LOW_BITS // 8
        for zero_bytes in range(total_bytes, -1, -1):
            step = 1 << (8 * zero_bytes)
            value = -(-self.low // step) * step
            if value < self.low + self.range:
                return (value >> (8 * zero_bytes)).to_bytes(total_bytes - zero_bytes, "big").rstrip(b"\0")
        raise AssertionError("an interval is never empty")


class ReferenceDecoder:
    """Decodes what either encoder wrote, by exact long division."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.read_bytes = 0
        self.value = 0
        self.range = TOP
        for _ in range(LOW_BITS // 8):
            self._read_byte()

    def decode(self, cdf: Sequence[int], bits: int) -> int:
        """The next symbol of a cumulative table."""
        unit = self.range >> bits
        target = min(self.value // unit, (1 << bits) - 1)
        symbol = max(i for i in range(len(cdf) - 1) if cdf[i] <= target)
        self.value -= unit * cdf[symbol]
        self.range = unit * (cdf[symbol + 1] - cdf[symbol])
        self._refill()
        return symbol

    def decode_bit(self, probability: int) -> int:
        """The next bit, 1 with probability ``probability / 65536``."""
        one = (self.range >> 16) * probability
        bit = int(self.value < one)
        self.value -= 0 if bit else one
        self.range = one if bit else self.range - one
        self._refill()
        return bit

    def _refill(self) -> None:
        while self.range < BOTTOM:
            self.range <<= 8
            self._read_byte()

    def _read_byte(self) -> None:
        byte = self.code[self.read_bytes] if self.read_bytes < len(self.code) else 0
        self.value = self.value << 8 | byte
        self.read_bytes += 1
