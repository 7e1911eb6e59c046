"""End-to-end keys in JavaScript: the golden exchange to the byte, and what they keep out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)


def test_end_to_end_keys_are_pythons(vitest: Callable[..., None], fixtures: Path) -> None:
    vitest("end_to_end.test.mjs", FIXTURES=fixtures)
