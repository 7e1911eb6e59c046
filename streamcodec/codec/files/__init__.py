"""Whole arrays and files: the ``.sc`` container, sound files, encoding and decoding in one call.

May import the rest of ``codec``; never torch.
"""
