"""Matrix-vector products, exact integer dot products, and the stepped networks of the neural tier.

May import numpy, numba and ``native_dsp`` only.
"""
