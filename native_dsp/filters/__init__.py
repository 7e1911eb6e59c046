"""Predictors, pitch filter, spectral-envelope post-filter, voicing, noise.

May import numpy, numba and ``native_dsp`` only.
"""
