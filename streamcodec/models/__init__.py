"""Torch definitions of the networks, quantizers and entropy models, and the shipped weights.

May import ``native_dsp`` and torch; the loaders of shipped weights (``shipped``, ``onnx_weights``,
``packed_weights``) stay importable without torch. Never
imports any other folder of ``streamcodec``.
"""
