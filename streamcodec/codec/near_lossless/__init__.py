"""The near-lossless tier: an MDCT, band energies, context-mixing coding.

May import ``native_dsp`` and the rest of ``codec``; never torch.
"""
