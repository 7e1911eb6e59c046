"""What is said of a file while it is read or written, kept for a table of many files in place of the screen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from streamcodec.codec.files.output_file import FileSource, readable_name
from streamcodec.errors import StreamcodecWarning


@contextmanager
def noted(*files: FileSource) -> Iterator[list[str]]:
    """This package's warnings, each once, without the names of ``files`` before them; other warnings go on."""
    notes: list[str] = []
    names = [f"{readable_name(file)} " for file in files]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StreamcodecWarning)
        try:
            yield notes
        finally:
            for warning in caught:
                said = str(warning.message)
                if issubclass(warning.category, StreamcodecWarning):
                    for name in names:
                        said = said.removeprefix(name)
                    notes += [] if said in notes else [said]
    for warning in caught:
        if not issubclass(warning.category, StreamcodecWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
