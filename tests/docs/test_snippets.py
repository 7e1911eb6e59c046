"""Every snippet of the README and of the pages in docs/ runs as it stands."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import re
import shlex
from contextlib import redirect_stderr, suppress
from pathlib import Path

import pytest
import soundfile

from streamcodec.cli import build_parser, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CURRENT = [page for page in PAGES if not page.name.startswith("20")]
"""All but the dated log entries, which speak of their own day."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE_COMMAND = re.compile(r"`(streamcodec [a-z][^`]*)`")
RUN = {"encode", "decode", "transcode", "info", "roundtrip", "similar"}
"""Commands that need nothing but files. The others are parsed: devices and networks have tests of their own."""
ENVIRONMENT_TOOLS = {
    "cp",
    "apt",
    "docker",
    "pipx",
    "uv",
    "uvicorn",
    "man",
    "file",
    "find",
    "nats-server",
    "pre-commit",
    "mkdocs",
    "pytest",
}


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for language, body in found if language in languages]


def with_python(pages: list[Path]) -> list[Path]:
    return [page for page in pages if blocks(page, "python", "py")]


def with_commands(pages: list[Path]) -> list[Path]:
    return [page for page in pages if blocks(page, "sh", "bash")]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech_file: Path, fixtures: Path) -> Path:
    """A folder with the files that the snippets speak of, as the working directory."""
    speech, rate_hz = soundfile.read(speech_file, stop=48_000)
    soundfile.write(tmp_path / "talk.wav", speech, rate_hz)
    soundfile.write(tmp_path / "talk-24k.wav", speech, 24_000)
    music, rate_hz = soundfile.read(fixtures / "music_44k.flac", stop=30_000)
    soundfile.write(tmp_path / "song.flac", music, rate_hz)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", with_python(PAGES), ids=names(with_python(PAGES)))
def test_python_runs(page: Path, files: Path) -> None:
    """The blocks of a page, one after the other, as somebody who reads it would type them."""
    namespace: dict[str, object] = {"__name__": "snippet"}
    for number, source in enumerate(blocks(page, "python", "py"), 1):
        if source.startswith("--8<--"):
            continue
        exec(compile(source, f"{page.name}, block {number}", "exec"), namespace)


QUOTED = re.compile(r'^--8<-- "(demos/[^"]*)"$', re.MULTILINE)


PROGRAMS = {name for page in CURRENT for name in QUOTED.findall(page.read_text("utf-8"))}


@pytest.mark.parametrize("name", sorted({*PROGRAMS, "demos/call_in_ten_lines.py"}))
def test_programs_that_are_quoted_are_short_and_compile(name: str) -> None:
    """What they do is tested where the thing that they show is."""
    source = (ROOT / name).read_text(encoding="utf-8")
    compile(source, name, "exec")
    assert len(source.splitlines()) < 40


def command_lines(page: Path) -> list[str]:
    text = "\n".join(blocks(page, "sh", "bash")).replace("\\\n", " ")
    return [part.strip() for line in text.splitlines() for part in line.split("&&") if part.split("#")[0].strip()]


def is_sound_command(words: list[str]) -> None:
    """A command of ours is one that the parser takes."""
    complaint = io.StringIO()
    with redirect_stderr(complaint), suppress(SystemExit):
        build_parser().parse_args(words)
    assert not complaint.getvalue(), complaint.getvalue()


def is_installable(requirement: str) -> None:
    extras = re.search(r"\[(.*)\]", requirement)
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in extras[1].split(",") if extras else ():
        assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), f"there is no extra {extra!r}"


def is_module_command(words: list[str]) -> None:
    spec = importlib.util.find_spec(words[0])
    assert spec is not None, f"there is no module {words[0]}"
    if words[0].startswith("bench."):
        module = importlib.import_module(f"{words[0]}.__main__" if spec.submodule_search_locations else words[0])
        if hasattr(module, "parser"):
            module.parser().parse_args(words[1:])


@pytest.mark.parametrize("page", with_commands(PAGES), ids=names(with_commands(PAGES)))
def test_commands_run(page: Path, files: Path) -> None:
    made: set[str] = set()
    for line in command_lines(page):
        command, _, written = line.partition(" > ")
        words = shlex.split(command, comments=True)
        if written.startswith("~/"):
            assert written.strip().rpartition("/")[0] in made, f"an empty home has no folder for {line!r}"
        tool, rest = words[0].removeprefix(".venv/bin/"), words[1:]
        if tool == "streamcodec":
            is_sound_command(rest)
            if rest[0] in RUN and not any(word.startswith("<") for word in rest):
                assert main(rest) == 0, line
        elif tool == "pip":
            for requirement in (word for word in rest[1:] if word.startswith(".[") or "streamcodec" in word):
                is_installable(requirement)
        elif tool == "mkdir":
            made |= set(rest)
        elif tool in ("python", "python3"):
            if rest[0] == "-m":
                is_module_command(rest[1:])
            else:
                assert (ROOT / rest[0]).is_file(), line
        else:
            assert tool in ENVIRONMENT_TOOLS, f"nothing here knows how to check {line!r}"


RELEASE_COMMAND = re.compile(r"python -m streamcodec\.training\.release ([^`\n]+)")


def test_release_commands_are_complete() -> None:
    """In fences, indented blocks and text alike: what the command refuses without its folder, a page does not say."""
    from streamcodec.training.release import parser

    found = [(page, words) for page in CURRENT for words in RELEASE_COMMAND.findall(page.read_text("utf-8"))]
    assert len(found) >= 4
    for page, words in found:
        complaint = io.StringIO()
        with redirect_stderr(complaint), suppress(SystemExit):
            parser().parse_args(words.split())
        assert not complaint.getvalue(), (page, words)


def options_by_command() -> dict[str, set[str]]:
    subparsers = next(
        action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return {
        name: {option for action in parser._actions for option in action.option_strings}
        for name, parser in subparsers.items()
    }


@pytest.mark.parametrize("page", CURRENT, ids=names(CURRENT))
def test_commands_in_the_text_exist(page: Path) -> None:
    known = options_by_command()
    for command in INLINE_COMMAND.findall(page.read_text(encoding="utf-8")):
        name, *rest = shlex.split(command)[1:]
        assert name in known, command
        assert {word for word in rest if word.startswith("--")} <= known[name], command


def test_the_readme_s_test_command_is_what_ci_runs() -> None:
    line = next(line for line in blocks(ROOT / "README.md", "sh") if "pytest" in line).strip()
    # Line by line, since bash goes on where anything but the end of an "&&" list fails.
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    at = [script.index(part) for part in line.split(" && ")]
    assert at == sorted(at)


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140
