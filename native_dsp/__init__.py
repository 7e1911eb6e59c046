"""Numba kernels on plain arrays: windows, streaming STFT and inverse STFT, range coder, linear prediction, networks.

May import numpy and numba (with its llvmlite) only; never torch, never anything of ``streamcodec``. Every kernel
keeps a slow, obvious reference beside it, and carries its state in a plain, preallocated struct. The reference of the
networks is the torch module in ``streamcodec.models.neural``.
"""
