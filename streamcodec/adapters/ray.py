"""Ray Data: functions for ``map_batches`` that code and decode, on as many machines as a cluster has.

https://docs.ray.io/en/latest/data/data.html
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.adapters.coded_bytes import decode_bytes
from streamcodec.codec.files.notes import noted
from streamcodec.codec.files.oneshot import encode_file
from streamcodec.errors import StreamcodecError

Batch = dict[str, NDArray[Any]]


class SoundEncoder:
    """Sound files in, ``.sc`` files out: ``dataset.map_batches(SoundEncoder(bitrate_bps=6_000), batch_size=16)``.

    Of each row the bytes in ``column`` (as ``ray.data.read_binary_files`` gives them) are coded into ``sc``, and
    taken out unless ``keep``. What cannot be coded has its reason in ``error``, and no bytes; other rows have no
    reason. ``note`` says what was changed or missing, such as a mixdown. ``options`` as for
    :func:`~streamcodec.encode_file`.
    """

    def __init__(self, column: str = "bytes", *, keep: bool = False, **options: Any) -> None:
        self._column, self._keep, self._options = column, keep, options

    def __call__(self, batch: Batch) -> Batch:
        """Shape: each column ``[rows]``."""
        coded, errors, said = [], [], []
        for data in batch[self._column]:
            sound, out = io.BytesIO(bytes(data)), io.BytesIO()
            notes: list[str] = []
            try:
                with noted(sound) as notes:
                    encode_file(sound, out, **self._options)
            except StreamcodecError as error:
                coded.append(b"")
                errors.append(str(error))
            else:
                coded.append(out.getvalue())
                errors.append("")
            said.append("; ".join(notes))
        others = {name: rows for name, rows in batch.items() if self._keep or name != self._column}
        return {**others, "sc": _objects(coded), "error": _objects(errors), "note": _objects(said)}


class SoundDecoder:
    """``.sc`` files in, sound out: ``dataset.map_batches(SoundDecoder(), batch_size=16)``.

    Of each row the bytes in ``column`` become ``samples`` (float32 ``[channels, n]``) and ``sample_rate_hz``; rows
    without bytes give no samples. Errors: FileFormatError, AudioFormatError or ModelError for bytes that are no
    ``.sc`` file.
    """

    def __init__(self, column: str = "sc", sample_rate_hz: int | None = None) -> None:
        self._column, self._rate_hz = column, sample_rate_hz

    def __call__(self, batch: Batch) -> Batch:
        """Shape: each column ``[rows]``."""
        sounds = [decode_bytes(bytes(data), self._rate_hz) if len(data) else None for data in batch[self._column]]
        samples = [np.zeros((1, 0), np.float32) if sound is None else sound.samples for sound in sounds]
        rates = np.array([0 if sound is None else sound.sample_rate_hz for sound in sounds], np.int64)
        others = {name: rows for name, rows in batch.items() if name != self._column}
        return {**others, "samples": _objects(samples), "sample_rate_hz": rates}


def _objects(values: list[Any]) -> NDArray[Any]:
    """Shape: output ``[rows]``, one object each, whatever their own shapes."""
    column = np.empty(len(values), object)
    for row, value in enumerate(values):
        column[row] = value
    return column
