"""Torch definitions of the networks, quantizers and entropy models, and the shipped weights.

May import ``native_dsp`` and torch; the shipped-weights loader in here stays importable without torch. Never
imports any other folder of ``streamcodec``.
"""
