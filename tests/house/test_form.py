"""The rules of the house that no linter knows: sizes, test files, words."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for path in (ROOT / "bridge").rglob("*.py") if path.name != "__init__.py")
#: Longer than the house likes, each with its reason.
LONG_MODULES = {
    "oauth/grant.py": "two grants of one vocabulary; splitting them would split the reply reader",
    "credentials/store.py": "one file, its lock and every message that names it",
    "credentials/rotating.py": "the life of a token is read in one place",
    "proxy/visit.py": "every way that a request may take through the house, and every end",
    "service/pidfile.py": "claim, state and signal share one file format",
}
#: Rooms whose promises are tested elsewhere, each with the place.
TESTED_ELSEWHERE = {
    "__main__.py": "process/test_start.py",
    "clock.py": "fakes/test_clock.py",
    "errors.py": "house/test_errors.py",
    "credentials/source.py": "credentials/test_rotating.py",
    "proxy/means.py": "proxy/test_visit.py",
    "wire/reader.py": "wire/test_connection.py",
    "commands/account.py": "process/test_login.py",
    "commands/daemon.py": "process/test_start.py",
    "commands/ordering.py": "commands/test_service.py",
    "commands/parser.py": "test_cli.py",
    "commands/standing.py": "commands/test_service.py",
    "commands/serving.py": "process/test_lifecycle.py",
    "commands/verbs.py": "test_cli.py",
    "units/label.py": "units/test_shipped.py",
    "units/launchctl.py": "process/test_service.py",
    "units/state.py": "process/test_service.py",
    "units/systemctl.py": "process/test_service.py",
    "service/run.py": "process/test_signals.py",
}


def named(path: Path) -> str:
    """The module's path below the package."""
    return str(path.relative_to(ROOT / "bridge"))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_fits_in_the_head(path: Path) -> None:
    """A module has at most 250 lines, or a written reason and at most 400."""
    lines = path.read_text().count("\n")
    assert lines <= (400 if named(path) in LONG_MODULES else 250)


def test_functions_fit_on_a_screen() -> None:
    """Every function has at most 45 lines and nine in ten have fewer than 40."""
    lengths = {
        f"{named(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: size for name, size in lengths.items() if size > 45} == {}
    long = [name for name, size in lengths.items() if size >= 40]
    assert len(long) <= len(lengths) / 10


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    """A module opens with a sentence, and no name in it is a drawer for odds and ends."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.split("\n")[0].endswith((".", ":", ","))
    words = {"utils", "helpers", "manager", "common", "misc"}
    assert words.isdisjoint(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_has_its_test_file(path: Path) -> None:
    """Who opens a module finds its promises under the same name in tests."""
    name = named(path)
    place = TESTED_ELSEWHERE.get(name) or str(Path(name).with_name(f"test_{Path(name).name}"))
    assert (ROOT / "tests" / place).exists()


def test_every_test_states_its_promise() -> None:
    """Each test function has a docstring, so that a run reads as a specification."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_check_imports_no_dependency() -> None:
    """The path of --check loads none of the packages and no heavy part of the standard library."""
    heavy = ["aiohttp", "authlib", "filelock", "daemon", "watchfiles", "asyncio", "argparse"]
    heavy += ["dataclasses", "json", "pathlib", "tomllib", "typing", "logging", "subprocess"]
    program = (
        "import sys; before = set(sys.modules); from bridge.cli import main; "
        "main(['--check', 'kimi', '--pid-file', '/nonexistent/bridge.pid', '--port', '1']); "
        f"print(sorted(set({heavy!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
