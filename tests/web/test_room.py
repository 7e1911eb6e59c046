"""A tab that hears eight people at once leaves no gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.web_room import simulate

pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)


def test_two_tabs_hear_eight_people_each_without_a_gap(browser: Any, built: Path) -> None:
    for tab in simulate(browser, built, tabs=2, people=8, seconds=2):
        assert tab["blocks"] == 8 * 200
        assert tab["silentBlocks"] == 0
        assert tab["silent"] == 0
        assert tab["played"] >= 8 * 99
        # The line's jitter alone makes frames late, now and then.
        assert tab["concealed"] <= 0.01 * tab["played"]
