"""How an optional part is added to this installation: with pip, or with pipx or uv, which keep tools apart."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamcodec.errors import MissingExtraError

NAME = "streamcodec"
UV_RECEIPT, PIPX_RECEIPT = "uv-receipt.toml", "pipx_metadata.json"
"""What either leaves in the folder of a tool's environment."""


def command_for(extra: str) -> str:
    """The command that adds an extra to this installation, those that it has kept."""
    try:
        if (receipt := Path(sys.prefix, UV_RECEIPT)).exists():
            (found,) = (
                wanted
                for wanted in tomllib.loads(receipt.read_text(encoding="utf-8"))["tool"]["requirements"]
                if wanted["name"] == NAME
            )
            source = found.get("path") or found.get("directory") or found.get("editable") or NAME
            return f'uv tool install "{source}[{_listed([*found.get("extras", ()), extra])}]"'
        if (receipt := Path(sys.prefix, PIPX_RECEIPT)).exists():
            asked = json.loads(receipt.read_text(encoding="utf-8"))["main_package"]["package_or_url"]
            parts = re.fullmatch(r"(.*?)(?:\[([\w,\s-]*)\])?", asked)
            if parts is not None:
                extras = [one.strip() for one in (parts[2] or "").split(",") if one.strip()]
                return f'pipx install --force "{parts[1]}[{_listed([*extras, extra])}]"'
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return f'pip install "{NAME}[{extra}]"'


@contextmanager
def extra_imports(extra: str) -> Iterator[None]:
    """Around imports of an extra's packages: of one that is missing MissingExtraError says how to add it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name or error).partition(".")[0]
        raise MissingExtraError(f"this needs {package}: run '{command_for(extra)}' and try again") from error


def _listed(extras: list[str]) -> str:
    return ",".join(dict.fromkeys(extras))
