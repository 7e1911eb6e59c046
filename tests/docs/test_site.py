"""The site builds without a warning, and nothing in it points nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LISTENING = ROOT / "docs" / "listening"
SOUNDS_AT_MOST_BYTES = 1_500_000
FREE = ("CC0", "CC BY", "public domain", "Apache")


class Links(HTMLParser):
    """What a page points to, and what in it can be pointed to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value and tag != "base":
                self.targets.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = f"-m mkdocs build --strict -q -f docs/site/mkdocs.yml -d {folder}".split()
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=quiet, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_no_link_is_broken(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are from the root of wherever the site lies
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme:
                if parts.scheme not in ("https", "mailto", "data"):
                    broken.append(f"{path.relative_to(site)}: {target}")
                continue
            place = path.parent / unquote(parts.path) if parts.path else path
            place = (place / "index.html" if place.is_dir() else place).resolve()
            no_anchor = parts.fragment and place in pages and parts.fragment not in pages[place].anchors
            if not place.exists() or no_anchor:
                broken.append(f"{path.relative_to(site)}: {target}")
    assert broken == []


def test_the_try_it_page_comes_with_its_codec(site: Path) -> None:
    names = {path.name for path in (site / "try").iterdir()}
    assert {"try.html", "try.js", "codec.wasm", "codec.json", "decoder.bin", "encoder.bin"} <= names
    assert 'href="../try/try.html"' in (site / "listening" / "index.html").read_text(encoding="utf-8")


def test_api_pages_show_signatures_and_no_markup(site: Path) -> None:
    text = (site / "api" / "codec" / "index.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", text)
    assert "bitrate_bps" in plain
    assert "sample_rate_hz" in plain
    assert not re.search(r":(class|func|meth|mod):`", plain)


def test_files_that_the_readme_points_to_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{page.name}: {target}"


def test_listening_page_is_small_complete_and_credited(site: Path) -> None:
    clips = json.loads((ROOT / "bench" / "results" / "listening.json").read_text(encoding="utf-8"))["clips"]
    kinds = [clip["name"].split("-")[0] for clip in clips]
    assert (kinds.count("voice"), kinds.count("noise"), kinds.count("music")) == (5, 2, 1)
    named = {row["file"] for clip in clips for row in clip["versions"]}
    assert named == {path.name for path in LISTENING.glob("*.opus")}
    assert sum((LISTENING / name).stat().st_size for name in named) <= SOUNDS_AT_MOST_BYTES
    for clip in clips:
        assert any(licence in clip["credit"] for licence in FREE), clip["credit"]
        versions = {row["version"] for row in clip["versions"]}
        assert {"Original", "Opus 6", "Opus 9", "streamcodec 3", "streamcodec 6", "streamcodec 9"} <= versions
        assert any("lost" in version and version.startswith("streamcodec") for version in versions)
    page = (site / "listening" / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{name}"' in page for name in named)
