"""Range coder, adaptive models and the coders of residuals, coefficients and band energies: integers only.

May import numpy, numba and ``native_dsp`` only.
"""
