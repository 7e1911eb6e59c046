"""Lossless and near-lossless tiers on real files: bytes, signal-to-noise ratio, speed, beside installed peers.

May use the public engines of ``streamcodec.codec``; figures go to ``bench/results`` as JSON.
"""
