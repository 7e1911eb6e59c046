"""Settings of links, delays, rates and guards: what is no number, or below 0 where nothing can be, is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.live.feedback_guard import GuardConfig
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.delay_estimator import DelayConfig
from streamcodec.net.jitter_types import JitterConfig
from streamcodec.net.lossy_link import LinkConfig

SETTINGS = [
    (config, field.name)
    for config in (DelayConfig, JitterConfig, CongestionConfig, LinkConfig, GuardConfig)
    for field in dataclasses.fields(config)
    if field.name != "reorder"
]


@pytest.mark.parametrize(("config", "field"), SETTINGS)
def test_every_setting_is_checked(config: Any, field: str) -> None:
    for wrong in (-1, math.nan, math.inf, None, "12", True):
        if (field.endswith("_dbfs") and wrong == -1) or (field == "rate_bps" and wrong is None):
            continue
        with pytest.raises(StreamcodecError, match=f"{field} must be "):
            config(**{field: wrong})
