"""Other codecs on the same clips: Opus, MP3, FLAC, ALAC, WavPack, Vorbis, AAC.

``opus`` and ``mp3`` are codecs under test at a rate, ``lossless`` such without one, ``at_size`` codes to a number of
bytes, ``programs`` runs command-line coders. Packages and programs are looked for when a peer is used.

May import ``evaluation`` and numpy.
"""
