"""Hugging Face ``datasets``: a feature whose column holds ``.sc`` files and gives sound.

Importing this module registers it under the name ``StreamcodecAudio``, so that data sets that were saved with it are
read again. https://huggingface.co/docs/datasets
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from streamcodec.adapters.coded_bytes import decode_bytes
from streamcodec.codec.files.container import begins_as_coded
from streamcodec.codec.files.oneshot import encode_file
from streamcodec.extras import extra_imports

# The hub's client tells it who uses which library unless this stands before it is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
with extra_imports("datasets"):
    import pyarrow as pa
    from datasets.features.features import register_feature
    from datasets.table import array_cast

_STORED = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@dataclass
class StreamcodecAudio:
    """A column of sound, kept as ``.sc`` files of ``bitrate_bps`` (or ``tier``).

    Goes in: bytes or a path of a ``.sc`` file, which is kept as it is; a path of any other sound file, or a
    dictionary of ``array`` and ``sampling_rate``, which is coded. Comes out: a dictionary of ``array`` (float32
    ``[n]``, or ``[channels, n]``), ``sampling_rate`` and ``path``; with ``decode=False`` of ``bytes`` and ``path``.
    """

    bitrate_bps: float | None = None
    tier: str = "neural"
    sampling_rate: int | None = None
    """Rate to decode to (neural tier), each file's own where it is None."""
    decode: bool = True
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "dict"
    pa_type: ClassVar[Any] = _STORED
    _type: str = field(default="StreamcodecAudio", init=False, repr=False)

    def __call__(self) -> Any:
        """The Arrow type of the column."""
        return self.pa_type

    def encode_example(self, value: Any) -> dict[str, Any]:
        """What is stored for a value; raises AudioFormatError, FileFormatError or TypeError."""
        if isinstance(value, bytes | bytearray):
            return {"bytes": self._coded(bytes(value)), "path": None}
        if isinstance(value, str | Path):
            return {"bytes": self._coded(Path(value).read_bytes()), "path": str(value)}
        if isinstance(value, dict) and value.get("array") is not None:
            return {"bytes": self._coded(_as_wav(value["array"], value["sampling_rate"])), "path": value.get("path")}
        if isinstance(value, dict) and value.get("bytes") is not None:
            return {"bytes": self._coded(value["bytes"]), "path": value.get("path")}
        if isinstance(value, dict) and value.get("path"):
            return self.encode_example(value["path"])
        raise TypeError(f"a sound is bytes, a path, or a dictionary of array and sampling_rate, got {value!r}")

    def decode_example(self, value: dict[str, Any], token_per_repo_id: Any = None) -> dict[str, Any]:
        """Sound of what is stored."""
        if not self.decode:
            raise RuntimeError("decoding is switched off for this column: StreamcodecAudio(decode=True) decodes")
        coded = value["bytes"] if value["bytes"] is not None else Path(value["path"])
        samples, rate_hz = decode_bytes(coded, self.sampling_rate)
        array = samples[0] if len(samples) == 1 else samples
        return {"path": value["path"], "array": array, "sampling_rate": rate_hz}

    def cast_storage(self, storage: Any) -> Any:
        """An Arrow column of paths or of bytes as a column of this feature."""
        nothing = pa.nulls(len(storage), pa.binary())
        if pa.types.is_string(storage.type):
            storage = pa.StructArray.from_arrays([nothing, storage], ["bytes", "path"])
        elif pa.types.is_binary(storage.type):
            empty = pa.nulls(len(storage), pa.string())
            storage = pa.StructArray.from_arrays([storage, empty], ["bytes", "path"])
        return array_cast(storage, self.pa_type)

    def embed_storage(self, storage: Any, token_per_repo_id: Any = None, **where: bool) -> Any:
        """The bytes of local files that are known by path alone, put into the column."""
        if not where.get("local_files", True):
            return storage
        rows: list[dict[str, Any] | None] = []
        for row in storage.to_pylist():
            if row is not None and row["bytes"] is None and row["path"]:
                row = {"bytes": Path(row["path"]).read_bytes(), "path": Path(row["path"]).name}
            rows.append(row)
        return pa.array(rows, self.pa_type)

    def _coded(self, data: bytes) -> bytes:
        if begins_as_coded(data):
            return data
        out = io.BytesIO()
        encode_file(io.BytesIO(data), out, self.bitrate_bps, tier=self.tier)  # type: ignore[arg-type]
        return out.getvalue()


def _as_wav(array: Any, rate_hz: int) -> bytes:
    import soundfile

    out = io.BytesIO()
    samples = np.asarray(array)
    soundfile.write(out, samples.T if samples.ndim == 2 else samples, rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()


register_feature(StreamcodecAudio, "StreamcodecAudio")
