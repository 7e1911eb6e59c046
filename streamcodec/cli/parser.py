"""The parser of the command line: what is wrong with arguments is one line, as every other error is."""

from __future__ import annotations

import argparse
import math
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says in one line what was wrong, what is expected and where more is said."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", int, _whole)
        self.register("type", float, _number)

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        line = " ".join(message.splitlines())
        self.exit(2, f"streamcodec: {line}; see '{self.prog} --help'\n")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text}") from error


def _number(text: str) -> float:
    value = number(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"must be a number, got {text}")
    return value


def number(text: str) -> float:
    """The number that a text is, which is not a number (NaN) where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
