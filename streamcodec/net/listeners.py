"""One rate for several listeners, which no single one of them can ruin for the others."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from streamcodec.net.congestion import CongestionConfig, CongestionController, SendRate

SOLO_SHARE = 0.5


def agreed_rate(rates: Sequence[SendRate], config: CongestionConfig) -> SendRate:
    """What to send when each listener's path allows one of ``rates``.

    The worst path decides, down to a floor: half of the highest rate, or what most listeners allow where that is
    less. So one listener, whether its line is thin or its reports are forged, costs the others half of the rate at
    most; in a call of two it decides alone. Copies follow the worst path too: they harm nobody.
    """
    if not rates:
        return CongestionController(config).rate
    lowest_bps = min(rate.bitrate_bps for rate in rates)
    floor_bps = min(
        statistics.median_high([rate.bitrate_bps for rate in rates]), round(SOLO_SHARE * config.maximum_bps)
    )
    most = max(rates, key=lambda rate: (rate.redundancy, rate.ages))
    return SendRate(max(lowest_bps, floor_bps) if len(rates) > 1 else lowest_bps, most.redundancy, most.ages)
