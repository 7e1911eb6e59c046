"""Mixdown and low cut before coding, predictors, voicing; noise, pitch filter, envelope post-filter after it.

May import numpy, numba and ``native_dsp`` only.
"""
