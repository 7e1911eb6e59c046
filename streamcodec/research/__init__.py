"""The published systems: models, datasets, training and experiments, and the restorer.

May import everything but ``net``, ``live`` and ``cli``; only the command line imports this folder.
"""
