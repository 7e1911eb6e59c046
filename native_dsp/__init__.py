"""Numba kernels on plain arrays: windows, streaming STFT and inverse STFT, range coder, linear prediction.

May import numpy and numba only; never torch, never anything of ``streamcodec``. Every kernel keeps a slow, obvious
reference beside it, and carries its state in a plain, preallocated struct.
"""
