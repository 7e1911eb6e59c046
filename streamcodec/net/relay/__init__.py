"""The relay: rooms, tokens, limits, and several relays as one cluster.

May import ``net.signalling`` and ``errors``; never torch, never the codec.
"""
