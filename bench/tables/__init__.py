"""Write the tables of README.md and docs/ from the figures in ``bench/results``.

Example::

    python -m bench.tables            # write them
    python -m bench.tables --check    # say which pages are out of date, and exit with 1

A page asks for a table by the line ``<!-- table NAME -->``; what stands between it and ``<!-- end -->`` is replaced.
Each table says from which file, commit and day its figures are: ``bench/results/stamps.json`` keeps that by the
file's content, so figures that were measured anew get the commit of the day when this command first sees them.
"""
