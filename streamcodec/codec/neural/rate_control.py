"""Which quality index each packet is coded at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from native_dsp.jit import shared
from streamcodec.codec.options import check_bitrate

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
SMALLEST_COST_RATIO, LARGEST_COST_RATIO = 0.5, 1.3
"""Streams are believed to cost so much more or less than usual: a voice from afar takes half the bits of a near one.
What is beyond (silence) is no voice's nature."""

VOICED_QUALITY_OFFSET = ((3_000.0, 2.0), (6_000.0, 1.0), (12_000.0, 0.0))
"""Quality indices by which voiced packets are finer than others, by bitrate. Missing bits are heard most in a voice's
harmonics; hiss and pauses can be made from noise by the decoder (figures in ``docs/research/index.md``)."""
USUALLY_VOICED = 0.75
"""Voiced share at which the offset changes nothing: above that of speech, so that other packets leave bits for voiced
ones."""
LEAST_TONAL_INDEX, LEAST_TONAL_GROWTH = 4.0, 8.0
"""Least fractional quality index of packets of one or two steady tones, up to so many times what the others have: a
receiver reads the keys of a telephone from quality index 4 on (figures in ``docs/naturalness.md``), which are short.
Where tones go on, debt brings it down again."""

QUALITY_INDEX_STEP = 0.01
"""Fractional quality indices closer than this are the same."""
CLOSE_ENOUGH, TOO_FAR = 0.002, 0.005
"""Shares of a budget: with so little left over a search ends, with so much it looks once more."""
NEARBY = tuple(0.02 * step for step in range(1, 6))
"""How much finer it then tries."""


@dataclass
class RateControl:
    """Average rate: a reservoir of unspent bits steers a fractional quality index, dithered between neighbours.

    What quality indices cost is learnt as the stream goes: a voice that takes more bits than usual is allowed for
    soon, so the reservoir has only its ups and downs to even out, and may take its time.

    Voiced packets are coded finer than others, most at low rates, and so are those of steady tones. Where what comes
    is known (see :mod:`streamcodec.codec.files.look_ahead`), one fractional quality index is kept in place of what
    the reservoir says.

    State is plain numbers, so a copy of the object is a copy of the state.
    """

    kbps_by_quality: tuple[float, ...]
    packets_per_second: float
    bitrate_bps: float
    reservoir_bits: float = field(init=False)
    coded_bits: float = field(init=False)
    """What packets have cost, the older the less."""
    usual_bits: float = field(init=False)
    """What packets at their quality indices usually cost, likewise."""
    dither: float = 0.0
    elapsed_s: float = 0.0
    channels: int = 1
    """Channels that share the rate."""
    constant_quality_index: float | None = None
    """The fractional quality index to keep, whatever the reservoir says."""
    voiced_quality_offset: float = field(init=False)
    """Quality indices by which voiced packets are finer than others at the present bitrate."""
    largest_saving: float = 0.0
    """How far below quality index 0 the fractional one may fall, at bitrates that packets at index 0 do not meet."""
    saving: float = 0.0
    """By how much it is below 0 for the packet chosen last, see :mod:`streamcodec.codec.neural.rate_distortion`."""

    def __post_init__(self) -> None:
        self.reservoir_bits = CREDIT_S * self.bitrate_bps
        self.coded_bits = self.usual_bits = PRIOR_S * self.bitrate_bps
        self.voiced_quality_offset = voiced_quality_offset(self.bitrate_bps / self.channels)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next packet on; raises BitrateError."""
        self.bitrate_bps = check_bitrate(bitrate_bps, self.channels)
        self.voiced_quality_offset = voiced_quality_offset(self.bitrate_bps / self.channels)
        self.constant_quality_index = None

    def choose_quality_index(self, voiced: float = USUALLY_VOICED, tonal: float = 0.0) -> int:
        """Quality index of the next packet, of which a share of 0 to 1 is ``voiced``, a share ``tonal``."""
        planned = self.constant_quality_index
        usual_index = self._affordable() if planned is None else planned
        fractional_index = usual_index + self.dither
        fractional_index += self.voiced_quality_offset * (voiced - USUALLY_VOICED)
        if tonal > 0.0:
            fractional_index = max(fractional_index, least_tonal_index(usual_index))
        self.saving = 0.0
        if fractional_index < 0.0 and self.lowest_fractional_index < 0.0:
            # No rounding: any saving can be had.
            self.saving, self.dither = min(-fractional_index, -self.lowest_fractional_index), 0.0
            return 0
        quality_index, self.dither = nearest_quality(fractional_index, len(self.kbps_by_quality))
        return quality_index

    @property
    def lowest_fractional_index(self) -> float:
        """Below 0 where the bitrate is one that packets at quality index 0 do not meet."""
        planned = self.constant_quality_index
        unmet = self.bitrate_bps < 1000.0 * self.kbps_by_quality[0] or (planned is not None and planned < 0.0)
        return -self.largest_saving if unmet else 0.0

    def _affordable(self) -> float:
        usual_bps = affordable_bps(
            self.bitrate_bps, self.reservoir_bits, self.elapsed_s, self.coded_bits, self.usual_bits
        )
        return quality_index_for_kbps(self.kbps_by_quality, usual_bps / 1000.0)

    def spent(self, bits: float, quality_index: int | None = None) -> None:
        """Account for a packet of ``bits``, coded at a quality index; None for what says nothing of its cost."""
        if quality_index is not None:
            kept = cost_kept(self.packets_per_second)
            self.coded_bits = kept * self.coded_bits + bits
            usual_kbps = self.kbps_by_quality[quality_index] * saved_share(self.kbps_by_quality, self.saving)
            self.usual_bits = kept * self.usual_bits + 1000.0 * usual_kbps / self.packets_per_second
        self.elapsed_s += 1.0 / self.packets_per_second
        self.reservoir_bits = reservoir_after(self.reservoir_bits, bits, self.bitrate_bps, self.packets_per_second)


@shared
def affordable_bps(
    bitrate_bps: float, reservoir_bits: float, elapsed_s: float, coded_bits: float, usual_bits: float
) -> float:
    """Usual rate of the quality that the reservoir and the cost ratio allow."""
    horizon_s = min(max(SHORTEST_HORIZON_S, HORIZON_GROWTH * elapsed_s), LONGEST_HORIZON_S)
    wanted_bps = bitrate_bps + reservoir_bits / horizon_s
    cost_ratio = min(max(coded_bits / usual_bits, SMALLEST_COST_RATIO), LARGEST_COST_RATIO)
    return wanted_bps / cost_ratio


@shared
def nearest_quality(fractional_index: float, qualities: int) -> tuple[int, float]:
    """The quality index next to a fractional one, and by how much it is off."""
    quality_index = min(max(round(fractional_index), 0), qualities - 1)
    return quality_index, min(max(fractional_index - quality_index, -0.5), 0.5)


@shared
def cost_kept(packets_per_second: float) -> float:
    """Share of what earlier packets have cost that still counts a packet later."""
    return 1.0 - 1.0 / (COST_MEMORY_S * packets_per_second)


@shared
def reservoir_after(reservoir_bits: float, bits: float, bitrate_bps: float, packets_per_second: float) -> float:
    """Bits in the reservoir after a packet of ``bits``."""
    limit = RESERVE_S * bitrate_bps
    return min(max(reservoir_bits + (bitrate_bps / packets_per_second - bits), -limit), limit)


@shared
def voiced_quality_offset(bitrate_bps: float) -> float:
    """Quality indices by which voiced packets are finer than others at a bitrate."""
    low_bps, offset = VOICED_QUALITY_OFFSET[0]
    for high_bps, next_offset in VOICED_QUALITY_OFFSET[1:]:
        if bitrate_bps > low_bps:
            share = (min(bitrate_bps, high_bps) - low_bps) / (high_bps - low_bps)
            offset += share * (next_offset - offset)
        low_bps = high_bps
    return offset


@shared
def least_tonal_index(usual_index: float) -> float:
    """Least fractional quality index of a packet of steady tones, where others have ``usual_index``."""
    return min(LEAST_TONAL_INDEX, LEAST_TONAL_GROWTH * usual_index)


@shared
def quality_index_for_kbps(kbps_by_quality: Sequence[float], kbps: float) -> float:
    """Fractional quality index whose usual rate is ``kbps``: interpolated in log rates, extrapolated at the ends."""
    kbps = max(kbps, 1e-3)
    upper = 1
    while upper < len(kbps_by_quality) - 1 and kbps_by_quality[upper] < kbps:
        upper += 1
    start = math.log(kbps_by_quality[upper - 1])
    span = max(math.log(kbps_by_quality[upper]) - start, 1e-6)
    return upper - 1 + (math.log(kbps) - start) / span


def saved_share(kbps_by_quality: Sequence[float], saving: float) -> float:
    """Share of the usual rate at quality index 0 that is left, as :func:`quality_index_for_kbps` goes on below it."""
    return math.exp(-saving * max(math.log(kbps_by_quality[1] / kbps_by_quality[0]), 1e-6)) if saving else 1.0


def highest_quality_within(budget_bits: float, qualities: int, cost_bits: Callable[[int], float]) -> int | None:
    """Finest quality index whose cost fits the budget, by bisection (cost grows with it); None if none does."""
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


def highest_fractional_index_within(
    budget_bits: float, qualities: int, cost_bits: Callable[[float], float], lowest: float = 0.0
) -> tuple[float, float]:
    """(index, cost in bits) of the fractional index that makes most of the budget, ``lowest`` if none fits it.

    Cost grows with the index by and large only: another one gives other packets the finer of its two neighbours,
    which tells in short sounds. Where the bisection ends far below the budget, a few above are tried too.
    """
    low, high = 0.0, qualities - 1.0
    cost = cost_bits(low)
    if cost > budget_bits and lowest < 0.0:
        low, high = lowest, 0.0
        cost = cost_bits(low)
    highest = high
    while high - low > QUALITY_INDEX_STEP and budget_bits - cost > CLOSE_ENOUGH * budget_bits:
        middle = 0.5 * (low + high)
        tried = cost_bits(middle)
        if tried <= budget_bits:
            low, cost = middle, tried
        else:
            high = middle
    found = [(low, cost)]
    if budget_bits - cost > TOO_FAR * budget_bits:
        above = [low + further for further in NEARBY if low + further <= highest]
        found += [(index, tried) for index in above if (tried := cost_bits(index)) <= budget_bits]
    return max(found, key=itemgetter(1))
