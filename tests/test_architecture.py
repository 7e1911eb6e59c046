"""Imports point one way, downwards, and torch stays where it belongs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ERRORS, WORDING, EXTRAS = "streamcodec.errors", "streamcodec.wording", "streamcodec.extras"
LIVE_PATH = {"native_dsp", "streamcodec.models", "streamcodec.runtime", "streamcodec.codec", ERRORS, WORDING, EXTRAS}
# Each room, and what it may import besides itself. Loading of shipped models and configuration is torch-free.
ALLOWED: dict[str, set[str]] = {
    "native_dsp": set(),
    "streamcodec.models": {"native_dsp", ERRORS},
    "streamcodec.runtime": {"native_dsp", "streamcodec.models", ERRORS, EXTRAS},
    "streamcodec.codec": LIVE_PATH,
    "streamcodec.net": {"native_dsp", "streamcodec.codec", ERRORS, WORDING, EXTRAS},
    "streamcodec.live": {*LIVE_PATH, "streamcodec.net"},
    "streamcodec.web": LIVE_PATH,
    "streamcodec.corpora": LIVE_PATH,
    "streamcodec.adapters": {*LIVE_PATH, "streamcodec.net"},
    "streamcodec.features": LIVE_PATH,
    "streamcodec.evaluation": {*LIVE_PATH, "streamcodec.net"},
    "streamcodec.training": {*LIVE_PATH, "streamcodec.evaluation"},
    "streamcodec.research": {*LIVE_PATH, "streamcodec.features", "streamcodec.training", "streamcodec.evaluation"},
}
# Rooms within rooms. The shared part of a room never imports what is built on it.
INNER: dict[str, set[str]] = {
    "native_dsp.transforms": {"native_dsp.filters"},
    "native_dsp.coding": {"native_dsp.filters", "native_dsp.transforms"},
    "native_dsp.filters": {"native_dsp.transforms", "native_dsp.networks", "native_dsp.coding"},
    "native_dsp.networks": {"native_dsp.transforms", "native_dsp.filters"},
    "streamcodec.codec.neural": set(),
    "streamcodec.codec.near_lossless": set(),
    "streamcodec.codec.lossless": set(),
    "streamcodec.net.relay": set(),
    "streamcodec.research.models": set(),
    "streamcodec.research.datasets": set(),
    "streamcodec.research.training": {"streamcodec.research.models"},
}
TORCH_FOLDERS = {"streamcodec.models", "streamcodec.training", "streamcodec.research"}
# The torch backend, and what loads it when it is chosen.
TORCH_FILES = {"runtime/torch_step.py", "runtime/backend.py", "cli/train_command.py"}


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "native_dsp" else ".".join(parts[:2])


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "streamcodec":
                found |= {f"streamcodec.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_arrows_point_one_way(folder: str) -> None:
    files = list((ROOT / folder.replace(".", "/")).rglob("*.py"))
    assert files
    for path in files:
        for module in imports_of(path):
            if module.split(".")[0] in ("streamcodec", "native_dsp"):
                assert folder_of(module) in ALLOWED[folder] | {folder}, f"{path} imports {module}"


def test_torch_is_imported_only_where_it_belongs() -> None:
    for path in ROOT.glob("streamcodec/**/*.py"):
        package = folder_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        uses = any(m.split(".")[0] == "torch" for m in imports_of(path))
        file = path.relative_to(ROOT / "streamcodec").as_posix()
        assert not uses or package in TORCH_FOLDERS or file in TORCH_FILES, path


@pytest.mark.parametrize("room", INNER)
def test_rooms_within_rooms_know_only_what_they_stand_on(room: str) -> None:
    files = list((ROOT / room.replace(".", "/")).rglob("*.py"))
    assert files
    house = room.rsplit(".", 1)[0]
    others = {other for other in INNER if other.startswith(f"{house}.")} - {room} - INNER[room]
    for path in files:
        for module in imports_of(path):
            for other in others:
                assert not f"{module}.".startswith(f"{other}."), f"{path} imports {module}"


def test_kernels_live_in_rooms() -> None:
    for path in set(ROOT.glob("native_dsp/*.py")) - {ROOT / "native_dsp/kernel_arguments.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names = {getattr(mark, "id", None) for mark in node.decorator_list}
                assert "kernel" not in names, f"{path}: {node.name} belongs in a folder of native_dsp"


def test_tests_take_what_they_share_from_helpers_and_references() -> None:
    for path in ROOT.glob("tests/**/*.py"):
        for module in imports_of(path):
            if module.startswith("tests."):
                assert module.split(".")[1] in ("helpers", "reference"), f"{path} imports {module}"


def modules_of(path: Path) -> set[str]:
    """Modules imported, each by its own name: of ``from package import module`` not the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = ROOT / node.module.replace(".", "/") / alias.name
                is_module = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def test_no_module_imports_in_a_circle() -> None:
    imports: dict[str, set[str]] = {}
    for path in [*ROOT.glob("streamcodec/**/*.py"), *ROOT.glob("native_dsp/**/*.py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        imports[name] = modules_of(path) - {name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name in done:
            return
        for module in imports[name] & imports.keys():
            visit(module, (*trail, name))
        done.add(name)

    for name in imports:
        visit(name, ())


@pytest.mark.parametrize("folder", [*ALLOWED, *INNER])
def test_every_folder_says_what_lives_there(folder: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / folder.replace(".", "/") / "__init__.py").read_text()))
    assert docstring
    assert "import" in docstring


def test_public_functions_of_native_dsp_name_the_shapes_of_their_arrays() -> None:
    for path in ROOT.glob("native_dsp/**/*.py"):
        module = ast.parse(path.read_text())
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        for node in [*module.body, *(inner for each in classes for inner in each.body)]:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            kinds = [a.annotation for a in node.args.args] + [node.returns]
            if any("Array" in ast.unparse(kind) for kind in kinds if kind is not None):
                assert re.search(r"Shape: |\[", ast.get_docstring(node) or ""), f"{path}: {node.name}"


STAGED = "into a folder that whole_folder puts in place"
# Whoever writes files without streamcodec.codec.files.output_file, and why no file of a user can come to harm.
WRITES_BY_ITSELF = {
    "codec/files/output_file.py": "where files are put in place",
    "codec/files/sound_writer.py": "into a stream of output_file",
    "codec/files/media_file.py": "into a temporary file",
    "codec/near_lossless/learnt_coefficients.py": "into memory",
    "models/weights.py": STAGED,
    "models/shipped.py": STAGED,
    "training/export.py": STAGED,
    "training/release.py": STAGED,
    "training/kept_state.py": STAGED,
    "training/checkpoint.py": "into memory",
    "training/loop.py": "a log, line by line",
    "research/models/registry.py": STAGED,
    "research/training/restorer_export.py": STAGED,
    "research/experiments/sounds.py": "into a stream of output_file",
    "corpora/manifest.py": "a log, line by line",
    "corpora/work.py": "beside the name and renamed, without waiting for the disk",
    "cli/call_screen.py": "standard error",
    "cli/network.py": "a passphrase, into a file that must be new",
    "adapters/datasets.py": "into memory",
    "evaluation/peers/at_size.py": "into a temporary folder",
    "evaluation/peers/lossless.py": "into memory",
    "evaluation/peers/programs.py": "into a temporary folder",
    "web/tools.py": "into a temporary folder",
}
WRITING = {"write_text", "write_bytes", "savefig", "save_file", "savez", "savez_compressed", "tofile"}
SAVING = {"torch.save", "onnx.save", "np.save", "soundfile.write", "shutil.copy", "shutil.copyfile", "shutil.move"}


WRITE_MODE = re.compile(r"[rbt]*[wax+][bt+]*")


def writes(node: ast.AST) -> bool:
    """Whether an expression opens a file for writing, or has a library do so."""
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    name = called.rsplit(".", 1)[-1]
    modes = [*node.args[:2], *(word.value for word in node.keywords if word.arg == "mode")]
    constants = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    opens = name in ("open", "fdopen", "SoundFile")
    return (opens and any(map(WRITE_MODE.fullmatch, constants))) or name in WRITING or called in SAVING


def test_files_are_written_whole_or_not_at_all() -> None:
    """An error, a full disk or Ctrl-C in the middle costs nobody an older file: what writes goes by output_file."""
    found = {
        path.relative_to(ROOT / "streamcodec").as_posix()
        for path in ROOT.glob("streamcodec/**/*.py")
        if any(map(writes, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == WRITES_BY_ITSELF.keys()
