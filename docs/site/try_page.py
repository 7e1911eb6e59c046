"""Puts the try-it page, with the codec that it runs, beside the site's own pages: ``try/try.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamcodec.web.build import build


def on_post_build(config: Any, **_: Any) -> None:
    """Called by mkdocs once the site stands."""
    build(Path(config["site_dir"]) / "try")
