"""Training of the networks: data cache, losses, the one training loop, export to the shipped form.

May import ``models``, ``codec`` and ``native_dsp``; nothing on the live path imports this folder.
"""
