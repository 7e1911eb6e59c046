"""The container image says what the package does: it is built and asked in CI, its words are checked here."""

from __future__ import annotations

import json
import re
from pathlib import Path

from streamcodec.cli import build_parser

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "packaging" / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_starts_a_relay_for_everybody_as_nobody() -> None:
    command = json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[-1])
    options = build_parser().parse_args(command)
    assert (options.command, options.host) == ("serve", "0.0.0.0")
    assert f"EXPOSE {options.port}" in DOCKERFILE
    assert f"http://127.0.0.1:{options.port}/health" in DOCKERFILE
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)


def test_the_image_copies_what_is_there() -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name


def test_a_file_begins_as_the_magic_says() -> None:
    page = (ROOT / "docs" / "neighbours.md").read_text(encoding="utf-8")
    magic = re.search(r"^0  string  (\w+)", page, re.MULTILINE)
    assert magic is not None
    from streamcodec.codec.files.container import MAGIC

    assert magic[1].encode() == MAGIC
