"""Windows, Fourier and cosine transforms, streaming STFT, companding, resampling.

May import numpy, numba and ``native_dsp`` only.
"""
