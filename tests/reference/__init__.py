"""Slow, obvious implementations that kernels are held to."""
