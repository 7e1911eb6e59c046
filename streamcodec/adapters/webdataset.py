"""WebDataset: a handler that decodes ``.sc`` members of a tar.

``webdataset.WebDataset(shards).decode(streamcodec.adapters.webdataset.sc)`` gives ``(samples, sample_rate_hz)`` for
each, as its handlers for other sound do. https://github.com/webdataset/webdataset
"""

from __future__ import annotations

from streamcodec.adapters.coded_bytes import DecodedSound, decode_bytes


def sc(key: str, data: bytes) -> DecodedSound | None:
    """A handler for ``decode``: the sound of members whose name ends in ``.sc``, None for all others.

    Shape: samples float32 ``[channels, n]``. Raises FileFormatError, AudioFormatError or ModelError.
    """
    return decode_bytes(data) if key.rpartition(".")[2] == "sc" else None
