"""Which quality index each packet is coded at."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from streamcodec.errors import BitrateError

MIN_BITRATE_BPS = 1_000
MAX_BITRATE_BPS = 24_000
SHORTEST_HORIZON_S, LONGEST_HORIZON_S = 1.0, 3.0
"""Time to spend unspent bits in: shorter keeps the average closer, longer the quality steadier."""
HORIZON_GROWTH = 0.05
"""The horizon is this share of what has run: the longer that is, the less unspent bits matter to the average."""
CREDIT_S = 0.1
"""Bits a stream may spend in advance, since most end in a pause that leaves some unspent."""
RESERVE_S = 4.0
"""Bits saved in pauses may be spent for this long at the target rate, not more."""

PRIOR_S = 2.0
"""For as long a new stream counts as having cost what streams usually do."""
COST_MEMORY_S = 20.0
"""After this time what packets have cost counts for a third."""
LARGEST_COST_RATIO = 1.3
"""Streams are believed to cost so much more or less than usual; what is beyond (silence) is no voice's nature."""

VOICED_QUALITY_OFFSET = ((3_000.0, 2.0), (6_000.0, 1.0), (12_000.0, 0.0))
"""Levels that voiced packets lie above others, by bitrate. A voice's harmonics tell of every bit that they lack;
hiss and pauses may as well be drawn by the decoder (figures in ``docs/training-log.md``)."""
USUALLY_VOICED = 0.75
"""Voiced share at which the lead changes nothing. Above what speech has: other packets leave bits for voiced ones."""

POSITION_STEP = 0.01
"""Fractional levels closer than this are the same."""
CLOSE_ENOUGH, TOO_FAR = 0.002, 0.005
"""Shares of a budget: with so little left over a search ends, with so much it looks once more."""
NEARBY = tuple(0.02 * step for step in range(1, 6))
"""How much finer it then tries."""


@dataclass
class RateControl:
    """Average rate: a bank of unspent bits steers a fractional level, dithered between neighbours.

    What levels cost is learnt as the stream goes: a voice that takes more bits than usual is no surprise for long, so
    the bank has only its ups and downs to even out, and may take its time.

    Voiced packets get finer levels than others, most at low rates. Where what comes is known (see
    :mod:`streamcodec.codec.files.look_ahead`), one fractional level is held instead of what the bank says.

    State is plain numbers, so a copy of the object is a copy of the state.
    """

    kbps_by_quality: tuple[float, ...]
    packets_per_second: float
    bitrate_bps: float
    reservoir_bits: float = field(init=False)
    coded_bits: float = field(init=False)
    """What packets have cost, the older the less."""
    usual_bits: float = field(init=False)
    """What packets of their levels usually cost, likewise."""
    dither: float = 0.0
    elapsed_s: float = 0.0
    held: float | None = None
    """The fractional level to hold, whatever the bank says."""
    voiced_quality_offset: float = field(init=False)
    """Levels that voiced packets lie above others at the present bitrate."""

    def __post_init__(self) -> None:
        self.reservoir_bits = CREDIT_S * self.bitrate_bps
        self.coded_bits = self.usual_bits = PRIOR_S * self.bitrate_bps
        self.voiced_quality_offset = voiced_quality_offset(self.bitrate_bps)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next packet on; raises BitrateError."""
        self.bitrate_bps = check_bitrate(bitrate_bps)
        self.voiced_quality_offset = voiced_quality_offset(self.bitrate_bps)
        self.held = None

    def choose_quality_index(self, voiced: float = USUALLY_VOICED) -> int:
        """Level of the next packet, of which a share of 0 to 1 is ``voiced``."""
        position = (self._affordable() if self.held is None else self.held) + self.dither
        position += self.voiced_quality_offset * (voiced - USUALLY_VOICED)
        quality_index = min(max(round(position), 0), len(self.kbps_by_quality) - 1)
        self.dither = min(max(position - quality_index, -0.5), 0.5)
        return quality_index

    def _affordable(self) -> float:
        horizon_s = min(max(SHORTEST_HORIZON_S, HORIZON_GROWTH * self.elapsed_s), LONGEST_HORIZON_S)
        wanted_bps = self.bitrate_bps + self.reservoir_bits / horizon_s
        cost_ratio = min(max(self.coded_bits / self.usual_bits, 1.0 / LARGEST_COST_RATIO), LARGEST_COST_RATIO)
        return quality_index_for_kbps(self.kbps_by_quality, wanted_bps / cost_ratio / 1000.0)

    def spent(self, bits: float, quality_index: int | None = None) -> None:
        """Account for a packet of ``bits``, coded at a level; None for what says nothing of its level's cost."""
        if quality_index is not None:
            kept = 1.0 - 1.0 / (COST_MEMORY_S * self.packets_per_second)
            self.coded_bits = kept * self.coded_bits + bits
            self.usual_bits = (
                kept * self.usual_bits + 1000.0 * self.kbps_by_quality[quality_index] / self.packets_per_second
            )
        self.elapsed_s += 1.0 / self.packets_per_second
        limit = RESERVE_S * self.bitrate_bps
        self.reservoir_bits += self.bitrate_bps / self.packets_per_second - bits
        self.reservoir_bits = min(max(self.reservoir_bits, -limit), limit)


def check_bitrate(bitrate_bps: float) -> float:
    """Return the rate, or raise BitrateError."""
    if not MIN_BITRATE_BPS <= bitrate_bps <= MAX_BITRATE_BPS:
        raise BitrateError(
            f"the neural tier codes at {MIN_BITRATE_BPS} to {MAX_BITRATE_BPS} bits per second, got {bitrate_bps!r}"
        )
    return float(bitrate_bps)


def voiced_quality_offset(bitrate_bps: float) -> float:
    """Levels by which voiced packets are finer than others at a bitrate."""
    rates, quality_offsets = zip(*VOICED_QUALITY_OFFSET, strict=True)
    return float(np.interp(bitrate_bps, rates, quality_offsets))


def quality_index_for_kbps(kbps_by_quality: Sequence[float], kbps: float) -> float:
    """Fractional level whose usual rate is ``kbps``, by interpolation of log rates; beyond the ends it goes on."""
    kbps = max(kbps, 1e-3)
    upper = min(max(bisect_left(kbps_by_quality, kbps), 1), len(kbps_by_quality) - 1)
    start = math.log(kbps_by_quality[upper - 1])
    span = max(math.log(kbps_by_quality[upper]) - start, 1e-6)
    return upper - 1 + (math.log(kbps) - start) / span


def highest_quality_within(budget_bits: float, qualities: int, cost_bits: Callable[[int], float]) -> int | None:
    """Finest level whose cost fits the budget, by bisection (cost grows with level); None if none does."""
    if cost_bits(0) > budget_bits:
        return None
    low, high = 0, qualities
    while high - low > 1:
        middle = (low + high) // 2
        if cost_bits(middle) <= budget_bits:
            low = middle
        else:
            high = middle
    return low


def highest_position_within(
    budget_bits: float, qualities: int, cost_bits: Callable[[float], float]
) -> tuple[float, float]:
    """(position, cost) of the fractional level that makes most of the budget, the coarsest level if none fits it.

    Cost grows with position by and large only: another position gives other packets the finer of its two levels,
    which tells in short sounds. Where the bisection ends far below the budget, a few positions above are tried too.
    """
    low, high = 0.0, qualities - 1.0
    cost = cost_bits(low)
    while high - low > POSITION_STEP and budget_bits - cost > CLOSE_ENOUGH * budget_bits:
        middle = 0.5 * (low + high)
        tried = cost_bits(middle)
        if tried <= budget_bits:
            low, cost = middle, tried
        else:
            high = middle
    found = [(low, cost)]
    if budget_bits - cost > TOO_FAR * budget_bits:
        above = [low + further for further in NEARBY if low + further <= qualities - 1.0]
        found += [(position, tried) for position in above if (tried := cost_bits(position)) <= budget_bits]
    return max(found, key=itemgetter(1))
