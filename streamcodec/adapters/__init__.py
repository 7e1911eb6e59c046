"""Adapters: streamcodec in the idiom of other projects, one file for each, thin, imported by name.

May import ``codec``, ``net`` and what those stand on, and the project that the file is named after, which is an extra
of its own; nothing imports this folder.
"""
