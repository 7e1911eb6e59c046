"""How arguments are spelt in messages: as Python has them, or as the command line does.

A message names what its reader typed: ``bitrate_bps=30000`` in Python, ``--kbps 30`` at a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple


class Spelling(NamedTuple):
    """An argument as its user knows it."""

    name: str
    per_unit: float = 1.0
    """What a value in the API's unit is multiplied with: 0.001 where bits become kilobits."""


Spellings = Mapping[str, Spelling]
_spellings: Spellings | None = None


@contextmanager
def spelt(spellings: Spellings | None) -> Iterator[None]:
    """While it lasts, messages of this process name arguments so."""
    global _spellings
    before, _spellings = _spellings, spellings
    try:
        yield
    finally:
        _spellings = before


def current_spellings() -> Spellings | None:
    """What :func:`spelt` was given last, to be handed to another process; None where arguments are as in Python."""
    return _spellings


def named(argument: str) -> str:
    """An argument's name, such as ``packet_ms`` or ``--packet-ms``."""
    return argument if _spellings is None else _spellings.get(argument, Spelling(argument)).name


def given(argument: str, value: object) -> str:
    """An argument with its value, such as ``packet_ms=20`` or ``--packet-ms 20`` (``floats=True`` or ``--float``)."""
    if _spellings is None:
        return f"{argument}={value!r}"
    return named(argument) if value is True else f"{named(argument)} {shown_value(argument, value)}"


def shown_value(argument: str, value: object) -> str:
    """A value in the unit that its argument is given in."""
    if _spellings is None:
        return repr(value)
    spelling = _spellings.get(argument, Spelling(argument))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value * spelling.per_unit:g}"
    return str(value)
