"""What the project is built and checked with: locked to the hash, pinned by commit, bounded where majors break."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements-dev.lock").read_text()
# Which build is right depends on the machine.
NOT_LOCKED = {"torch"}
LINUX = {
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "sys_platform": "linux",
    "platform_system": "Linux",
}
# Of these a new major is known to take away what is used here.
BOUNDED = ["numpy", "onnxruntime", "websockets", "aiortc", "zxcvbn", "xkcdpass", "nats-py", "sounddevice", "torch"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(extra: str | None) -> list[Requirement]:
    """What the project, or one of its extras, asks for; extras of its own followed."""
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, listed):
        if requirement.name == PROJECT["name"]:
            found += [inner for name in sorted(requirement.extras) for inner in requirements(name)]
        else:
            found.append(requirement)
    return found


def locked() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each locked package."""
    entries = re.findall(
        r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})*)$", LOCK, re.MULTILINE
    )
    return {normal(name): (version, hashes.count("--hash")) for name, version, hashes in entries}


@pytest.mark.parametrize("extra", [None, "test", "release"])
def test_the_lock_holds_what_the_project_asks_for(extra: str | None) -> None:
    versions = locked()
    for requirement in requirements(extra):
        if requirement.marker is not None and not requirement.marker.evaluate({**LINUX, "extra": ""}):
            continue
        if requirement.name not in NOT_LOCKED:
            version = versions.get(normal(requirement.name), ("nothing", 0))[0]
            assert version in requirement.specifier, f"{requirement}, and locked is {version}: run .ci/lock"


def test_every_locked_package_has_hashes_and_nothing_names_an_index() -> None:
    versions = locked()
    assert len(versions) == len(re.findall(r"^[\w.-]+(?:\[[^]]*\])?==", LOCK, re.MULTILINE)) > 50
    assert all(hashes for _, hashes in versions.values())
    for word in ("://", "--index", "--find-links", "--extra", "@ "):
        assert word not in LOCK


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    uses = re.findall(r"uses:\s*(\S+)(.*)", path.read_text())
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), f"{action} may change under its name"
        assert re.fullmatch(r"\s+# v\d+(\.\d+)*", comment), f"{action}: which version is that?"


def test_npm_packages_are_pinned_and_locked_by_hash() -> None:
    folder = ROOT / "tests" / "web"
    wanted = json.loads((folder / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version, f"{name}: run npm install in {folder}"
    assert all(each["integrity"].startswith("sha512-") for path, each in locked.items() if path)


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_what_github_reads_is_yaml(path: Path) -> None:
    """Schemas and zizmor look at it in CI; here, that it can be read at all, and that jobs have something to do."""
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    for name, job in found.get("jobs", {}).items():
        assert {"runs-on", "steps"} <= job.keys(), name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            if "uses" in step and step["uses"].startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, f"{name}: a token of the repository stays behind"


@pytest.mark.parametrize("name", BOUNDED)
def test_majors_that_break_are_bounded(name: str) -> None:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [requirement for listed in lists for requirement in map(Requirement, listed) if requirement.name == name]
    assert found
    for requirement in found:
        assert any(part.operator in ("<", "<=", "~=", "==") for part in requirement.specifier), str(requirement)
