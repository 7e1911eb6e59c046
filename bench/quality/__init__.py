"""Rate and quality of Opus and of any codec under test on the same clips: one table, JSON and a plot.

May use the public API and ``streamcodec.evaluation``; holds no measuring code of its own.
"""
