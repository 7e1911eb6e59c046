"""What the JavaScript package does in browsers that lack something it would like to have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)


def test_browsers_that_lack_something_are_told_or_take_another_way(vitest: Callable[..., None]) -> None:
    vitest("features.test.mjs")
