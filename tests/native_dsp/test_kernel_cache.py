"""The cache of compiled kernels: whatever is wrong with it, kernels run, and one line says what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from native_dsp import compile_news
from native_dsp.compile_news import CacheWarning
from native_dsp.kernel_cache import folder_risk

ROOT = Path(__file__).parents[2]
USE = """
import sys
sys.path.insert(0, sys.argv[1])
from native_dsp import compile_news
compiled = []
compile_news.listeners.append(compiled.append)
from own_kernels import first, second
assert (first(1), second(1)) == (2, 3)
print(*compiled)
"""
KERNELS = """
from native_dsp.jit import kernel, outlined_kernel

@kernel
def first(x):
    return x + 1

@outlined_kernel
def second(x):
    return x + 2
"""


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    (tmp_path / "own_kernels.py").write_text(KERNELS)
    return tmp_path


def use(folder: Path, cache: Path | str) -> tuple[str, str]:
    """Names of the kernels that were compiled, and what was said."""
    told = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)}
    found = subprocess.run(
        [sys.executable, "-c", USE, str(folder)], env=told, capture_output=True, text=True, timeout=100, check=True
    )
    return found.stdout.strip(), found.stderr


@pytest.mark.parametrize("damage", [b"", b"\x80\x04garbage"])
def test_a_damaged_cache_is_written_anew(damage: bytes, kernels: Path) -> None:
    cache = kernels / "cache"
    assert use(kernels, cache) == ("first second", "")
    for kind in ("*.nbi", "*.nbc"):
        files = list(cache.rglob(kind))
        assert files
        for path in files:
            path.write_bytes(damage)
        assert use(kernels, cache) == ("first second", "")
        assert use(kernels, cache) == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_others_can_write_is_not_used(kernels: Path) -> None:
    """What lies there is unpickled and run."""
    cache = kernels / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    found, said = use(kernels, cache)
    assert found == "first second"
    assert said.count("is not used: others can write") == 1
    assert list(cache.rglob("*.nbi")) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_who_can_write_a_folder(tmp_path: Path) -> None:
    mine = tmp_path / "open" / "mine"
    mine.mkdir(parents=True)
    assert folder_risk(mine) is None
    assert folder_risk(mine / "not" / "yet") is None
    mine.chmod(0o770)
    assert folder_risk(mine) == f"others can write {mine.resolve()}"
    mine.chmod(0o700)
    mine.parent.chmod(0o777)
    assert folder_risk(mine) == f"others can write {mine.parent.resolve()}"
    # Where only owners may rename, as in /tmp, what is ours stays ours.
    mine.parent.chmod(0o1777)
    assert folder_risk(mine) is None
    assert folder_risk(mine.parent) == f"others can write {mine.parent.resolve()}"


def test_a_cache_that_cannot_be_written_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.caching import FunctionCache

    from native_dsp import kernel_cache
    from native_dsp.jit import kernel

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def plus_one(x: int) -> int:
        return x + 1

    def plus_two(x: int) -> int:
        return x + 2

    monkeypatch.setattr(FunctionCache, "save_overload", full)
    kernel_cache._say.cache_clear()
    with pytest.warns(CacheWarning, match="cannot be kept .No space left on device.") as said:
        assert (kernel(plus_one)(1), kernel(plus_two)(1)) == (2, 3)
    assert len(said) == 1


def test_code_that_numba_cannot_keep_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.caching import FunctionCache

    from native_dsp.jit import kernel

    def no_object(*_: object) -> None:
        raise RuntimeError("no compiled object yet")

    def plus_one(x: int) -> int:
        return x + 1

    monkeypatch.setattr(FunctionCache, "save_overload", no_object)
    assert kernel(plus_one)(1) == 2


def test_no_folder_to_write_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from native_dsp import kernel_cache
    from native_dsp.jit import kernel

    def nowhere(*_: object) -> None:
        raise RuntimeError("no locator available")

    def plus_one(x: int) -> int:
        return x + 1

    monkeypatch.setattr(kernel_cache, "KernelCache", nowhere)
    kernel_cache._say.cache_clear()
    with pytest.warns(CacheWarning, match="no folder can be written") as said:
        assert kernel(plus_one)(1) == kernel(plus_one)(1) == 2
    assert len(said) == 1


def test_compiling_is_told_to_the_log_once_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 100.0
    monkeypatch.setattr(compile_news.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(compile_news, "_first_s", 0.0)
    monkeypatch.setattr(compile_news, "_told_s", 0.0)
    compile_news.tell("first")
    assert not caplog.records
    now_s = 101.5
    heard: list[str] = []
    monkeypatch.setattr(compile_news, "listeners", [heard.append])
    compile_news.tell("second")
    assert heard == ["second"]
    assert not caplog.records
    monkeypatch.setattr(compile_news, "listeners", [])
    compile_news.tell("third")
    compile_news.tell("fourth")
    (record,) = caplog.records
    assert "streamcodec warmup" in record.getMessage()
