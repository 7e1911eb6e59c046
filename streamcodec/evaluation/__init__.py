"""Quality measurement: metrics, peers, tables and rate-quality plots.

May import ``codec`` and ``native_dsp``; nothing on the live path imports this folder.
"""
