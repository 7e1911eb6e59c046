"""Turns the roles of docstrings (``:class:`~streamcodec.X```) into links or code before mkdocstrings sees them."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc):`(~?)([\w.]+)`")


def _as_code(found: re.Match[str]) -> str:
    return f"`{found[2].rsplit('.', 1)[-1] if found[1] else found[2]}`"


class Roles(griffe.Extension):
    """Applied to every docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(_as_code, obj.docstring.value).replace("``", "`")
