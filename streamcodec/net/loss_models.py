"""Which packets get lost: an interface and three models, all repeatable from a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamcodec.errors import StreamcodecError
from streamcodec.wording import given


class LossModel(Protocol):
    """Decides packet after packet; a model is an endless stream of decisions."""

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        ...


class NoLoss:
    """Every packet arrives."""

    def lost(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class GilbertElliottConfig:
    """Two-state loss: ``rate`` of all packets in bursts of ``mean_burst_packets`` on average.

    Source: Gilbert (1960), Elliott (1963), in the form where the bad state loses everything. Losses independent of
    each other have a mean burst of ``1 / (1 - rate)``. Errors: a rate outside 0 to 0.95, or a burst too short for it.
    """

    rate: float
    mean_burst_packets: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 0.95:
            raise StreamcodecError(f"loss rate must be 0 to 0.95, got {self.rate}")
        if self.mean_burst_packets < 1.0:
            raise StreamcodecError(f"mean burst must be at least 1 packet, got {self.mean_burst_packets}")
        # 0.9 / (1 - 0.9) is a little more than 9.
        if self.enter_probability > 1.0 + 1e-9:
            least = math.ceil(100.0 * self.rate / (1.0 - self.rate) - 1e-6) / 100.0
            raise StreamcodecError(
                f"a loss rate of {self.rate:g} needs bursts longer than {self.mean_burst_packets:g} packet(s) on "
                f"average: {given('mean_burst_packets', least)} or more"
            )

    @property
    def leave_probability(self) -> float:
        """From the bad state to the good one."""
        return 1.0 / self.mean_burst_packets

    @property
    def enter_probability(self) -> float:
        """From the good state to the bad one."""
        return self.rate * self.leave_probability / (1.0 - self.rate)


class GilbertElliott:
    """Burst loss from a seeded generator."""

    def __init__(self, config: GilbertElliottConfig, seed: int = 0) -> None:
        self.config = config
        self._random = random.Random(seed)
        self._bad = self._random.random() < config.rate

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        lost = self._bad
        leave = self.config.leave_probability if self._bad else self.config.enter_probability
        if self._random.random() < leave:
            self._bad = not self._bad
        return lost


class PatternLoss:
    """A fixed pattern, repeated for ever: ``PatternLoss("..x.")`` or a list of booleans (True is lost).

    Errors: an empty pattern, or text with characters other than ``.``, ``x``, ``0`` and ``1``.
    """

    def __init__(self, pattern: str | Iterable[bool]) -> None:
        if isinstance(pattern, str):
            if set(pattern) - set(".x01"):
                raise StreamcodecError("a loss pattern is made of '.' or '0' (arrives) and 'x' or '1' (lost)")
            self._pattern = [mark in "x1" for mark in pattern]
        else:
            self._pattern = [bool(mark) for mark in pattern]
        if not self._pattern:
            raise StreamcodecError("a loss pattern needs at least one packet")
        self._position = 0

    @classmethod
    def from_trace(cls, path: str | Path) -> PatternLoss:
        """A recorded trace: a text file of 0 (arrives) and 1 (lost), white space ignored; repeats at its end."""
        return cls("".join(Path(path).read_text(encoding="ascii").split()))

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        lost = self._pattern[self._position]
        self._position = (self._position + 1) % len(self._pattern)
        return lost
