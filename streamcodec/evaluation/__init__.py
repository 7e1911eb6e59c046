"""Quality measurement: metrics, peers, tables and rate-quality plots.

``clips`` reads a folder of sound, ``metrics`` holds the registry of scores, ``systems`` says what a codec under test
is, ``peers`` runs other codecs as one and ``own`` streamcodec, ``run.evaluate`` puts them together into a ``report``.
``latency`` measures what packets cost. Scripts that use all this stand in ``bench/``.

May import ``codec`` and ``native_dsp``; nothing on the live path imports this folder. Never imports torch. Packages
of the ``eval`` extra are imported where a score is computed, so that importing this folder needs none of them.
"""

from streamcodec.evaluation.clips import Clip, read_clips
from streamcodec.evaluation.errors import EvaluationError
from streamcodec.evaluation.metrics import METRICS, Metric, select_metrics
from streamcodec.evaluation.report import Report, Summary
from streamcodec.evaluation.run import evaluate
from streamcodec.evaluation.systems import ArrayCodec, CodecUnderTest, Coded, System

__all__ = [
    "METRICS",
    "ArrayCodec",
    "Clip",
    "CodecUnderTest",
    "Coded",
    "EvaluationError",
    "Metric",
    "Report",
    "Summary",
    "System",
    "evaluate",
    "read_clips",
    "select_metrics",
]
