"""The lossless tier: adaptive prediction and context-mixing coding of integer samples.

May import ``native_dsp`` and the rest of ``codec``; never torch.
"""
