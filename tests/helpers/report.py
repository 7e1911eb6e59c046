"""A receiver report with every field set."""

from __future__ import annotations

from streamcodec.net.report import ReceiverReport

REPORT = ReceiverReport(
    loss=51 / 255,
    concealed=0.2,
    mean_burst_packets=2.5,
    highest_sequence=65_000,
    jitter_ms=12.3,
    queue_ms=45.6,
    queue_growth_ms_per_s=-17.0,
    playout_delay_ms=60.0,
    received_bps=51_200.0,
    received_packets=123_456,
    lost_packets=789,
    made_ms=4_000_000_000,
    echo_made_ms=3_999_999_000,
    echo_age_ms=210,
)
