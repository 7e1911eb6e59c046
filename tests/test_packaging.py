"""The container image says what the package does: it is built and asked in CI, its words are checked here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from streamcodec import encode_file
from streamcodec.cli import COMMANDS, build_parser

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "packaging" / "Dockerfile").read_text(encoding="utf-8")
WITH_BASH = pytest.mark.skipif(sys.platform == "win32", reason="releases are made with bash and coreutils")


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


@WITH_BASH
def test_the_man_page_knows_every_command(tmp_path: Path) -> None:
    order = ["bash", ROOT / ".ci" / "man", tmp_path / "streamcodec.1"]
    made = subprocess.run(order, capture_output=True, text=True, env=_with_scripts())
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "streamcodec.1").read_text(encoding="utf-8")
    assert all(f"streamcodec {name}" in page for name in COMMANDS)
    # A line that begins with a dot is an order to the formatter: no sentence may.
    orders = set(re.findall(r"^\.(\S*)", page, re.MULTILINE))
    assert orders <= {"TH", "SH", "SS", "TP", "B", "br", "PP", "nf", "fi", "RS", "RE", "IP"}, orders


def _with_scripts() -> dict[str, str]:
    return {**os.environ, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}


def test_the_recipe_asks_for_what_the_package_asks_for() -> None:
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {"soundfile": "pysoundfile", "soxr": "soxr-python"}
    wanted = {"python": project["requires-python"]}
    for text in project["dependencies"]:
        requirement = Requirement(text)
        wanted[names.get(requirement.name, requirement.name)] = str(requirement.specifier)
    found = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert {name: SpecifierSet(spec) for name, spec in found.items()} == {
        name: SpecifierSet(spec) for name, spec in wanted.items()
    }
    assert recipe["build"]["python"]["entry_points"] == [f"streamcodec = {project['scripts']['streamcodec']}"]
    assert recipe["context"]["version"] == project["version"]


@WITH_BASH
def test_a_release_fills_the_recipe_in(tmp_path: Path) -> None:
    for name in (".ci/recipe", "packaging/conda/recipe.yaml"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "streamcodec-1.2.3.tar.gz").write_bytes(b"source")
    subprocess.run(["bash", tmp_path / ".ci" / "recipe", "owner/name"], check=True)
    recipe = yaml.safe_load((tmp_path / "dist" / "recipe.yaml").read_text())
    assert recipe["context"] == {"version": "1.2.3", "repository": "owner/name"}
    assert recipe["source"]["sha256"] == hashlib.sha256(b"source").hexdigest()


def test_a_file_begins_as_the_magic_says() -> None:
    page = (ROOT / "docs" / "neighbours.md").read_text(encoding="utf-8")
    from streamcodec.codec.files.container import COMPACT_MAGIC, MAGIC

    assert [word.encode() for word in re.findall(r"^0  string  (\w+)", page, re.MULTILINE)] == [MAGIC, COMPACT_MAGIC]


@pytest.mark.skipif(shutil.which("file") is None, reason="needs file(1)")
def test_file_tells_a_coded_file_by_the_magic_of_the_docs(tmp_path: Path, speech_file: Path) -> None:
    page = (ROOT / "docs" / "neighbours.md").read_text(encoding="utf-8")
    lines = re.search(r"^```text\n(0  string.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert lines is not None
    (tmp_path / "magic").write_text(lines[1])
    encode_file(speech_file, tmp_path / "talk")
    for question, answer in (("--brief", "streamcodec audio"), ("--mime-type", "audio/x-streamcodec")):
        told = subprocess.run(
            ["file", "--brief", question, "--magic-file", tmp_path / "magic", tmp_path / "talk"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == answer, told.stderr


@WITH_BASH
def test_wheels_are_asked_for_every_extra_that_installs_without_a_compiler() -> None:
    script = (ROOT / ".ci" / "wheels").read_text(encoding="utf-8")
    asked = {extra for line in re.findall(r'^    "([\w,-]+)"$', script, re.MULTILINE) for extra in line.split(",")}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    within = {inner for extra in asked for inner in _within(extra, extras)}
    assert within == extras.keys() - {"eval", "peers", "fuzz", "release"}


def _within(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """An extra and those that it is made of."""
    found = {extra}
    for requirement in map(Requirement, extras[extra]):
        if requirement.name == "streamcodec":
            found |= {each for inner in requirement.extras for each in _within(inner, extras)}
    return found
