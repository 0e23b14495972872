"""What import-linter can't hold: the two files above it, every page's guard, light starts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from services.core.settings import PROJECT_ROOT
from ui.navigation import ROOMS

PAGES = sorted((PROJECT_ROOT / "pages").glob("*.py"))
DRAWN = [*PAGES, *sorted((PROJECT_ROOT / "ui").glob("*.py"))]
GUARDS = {"open_page", "guard"}
BY_SESSION = {
    "ui/sign_in.py:change_password_dialog",  # one's own account, whatever the role
    "ui/sign_in.py:leave_when_signed_out",  # is the check itself
}
"""Fragments and dialogs that ask who is signed in and need no permission."""

MAY_IMPORT = {
    "app.py": {"__future__", "streamlit", "ui"},
    "server.py": {
        "__future__",
        "streamlit",
        "starlette",
        "ui",
        "services.core.health",
        "services.people.sessions",
        "services.people.tickets",
    },
}
HEAVY = (
    "apprise",
    "alembic",
    "boto3",
    "botocore",
    "chromadb",
    "numpy",
    "pandas",
    "plotly.express",
    "plotly.graph_objects",
    "pyarrow",
    "streamlit_authenticator",
    "zstandard",
)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.Module, *, at_once: bool = False) -> set[str]:
    """Every module that a file imports: anywhere in it, or at once when it is imported."""
    names: set[str] = set()
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            ours = base in ("services", "services.core", "services.people", "ui", "db")
            names |= {f"{base}.{alias.name}" for alias in node.names} if ours else {base}
    return names


def called(node: ast.AST) -> str:
    """The name of the function that a statement calls, if it does nothing else."""
    value = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(value, ast.Call):
        return ""
    name = value.func
    return name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")


def body_of(function: ast.FunctionDef) -> list[ast.stmt]:
    has_docstring = ast.get_docstring(function) is not None
    return function.body[1:] if has_docstring else function.body


def fragments() -> dict[str, ast.FunctionDef]:
    return {
        f"{path.relative_to(PROJECT_ROOT).as_posix()}:{node.name}": node
        for path in DRAWN
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        and any(
            word in ast.unparse(decorator)
            for decorator in node.decorator_list
            for word in ("st.fragment", "st.dialog")
        )
    }


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_the_files_above_the_contracts_import_only_what_they_need(name):
    found = {
        module
        for module in imported(parsed(PROJECT_ROOT / name))
        if module.partition(".")[0] not in sys.stdlib_module_names - {"sqlite3"}
    }
    allowed = MAY_IMPORT[name]
    unexpected = {
        module
        for module in found
        if not any(module == one or module.startswith(f"{one}.") for one in allowed)
    }
    assert not unexpected


def test_every_page_in_the_folder_is_a_room_of_the_sidebar_and_the_reverse():
    # A page without a room would still be served by its address.
    assert [path.stem for path in PAGES] == sorted(room.address for room in ROOMS)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_does_nothing_before_its_guard(path):
    tree = parsed(path)
    (main,) = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"
    ]
    assert called(body_of(main)[0]) in GUARDS
    guarding = ast.unparse(body_of(main)[0])
    (room,) = [room for room in ROOMS if room.address == path.stem]
    assert f"Permission.{room.permission.name}" in guarding, "the sidebar shows it to the same"
    # At its top a page only defines; the one statement that runs is the call of `main`.
    running = [
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ]
    assert running == ["main()"]
    allowed = (
        ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef,
        ast.Assign, ast.AnnAssign, ast.Expr,
    )  # fmt: skip
    assert all(isinstance(node, allowed) for node in tree.body)


@pytest.mark.parametrize("name", sorted(fragments()))
def test_a_fragment_or_dialog_does_nothing_before_its_guard(name):
    """Streamlit reruns these alone, without app.py and without the head of the page."""
    first = body_of(fragments()[name])[0]
    if name in BY_SESSION:
        whole = ast.unparse(fragments()[name])
        assert "session.current(" in whole
    else:
        assert called(first) == "guard", ast.unparse(first)


def test_the_fragments_that_need_no_permission_still_exist():
    assert set(fragments()) >= BY_SESSION


STARTS = {
    "doors": [f"services.{name}" for name in ("backup", "restore", "monitor", "sample", "desk")],
    "app": [
        "streamlit",
        "ui.session",
        "ui.navigation",
        "ui.sign_in",
        "ui.cookies",
        "services.core.health",
    ],
    **{path.stem: sorted(imported(parsed(path), at_once=True) - {"__future__"}) for path in PAGES},
}

_BEGIN_EACH = f"""
import importlib, json, os, sys

def begin(name, modules, before):
    if os.fork():
        if os.wait()[1]:
            sys.exit(f"{{name}} does not start")
        return
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module: raise
            package, _, what = module.rpartition('.')
            getattr(importlib.import_module(package), what)
    print(json.dumps([name, sorted(set({HEAVY!r}) & set(sys.modules) - before)]), flush=True)
    os._exit(0)

starts = json.loads(sys.argv[1])
begin("doors", starts.pop("doors"), set())
import streamlit
# What Streamlit itself brings is there whatever the desk does.
before = set(sys.modules)
import services.core.context
for name, modules in starts.items():
    begin(name, modules, before)
"""


@cache
def heavy_at_start() -> dict[str, list[str]]:
    """Of each start: what heavy it imports. One process forks for each, so that what all of
    them import is imported once."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN_EACH, json.dumps(STARTS)],
        cwd=PROJECT_ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.xdist_group("starts")
@pytest.mark.parametrize("name", STARTS)
def test_nothing_heavy_is_imported_before_it_is_needed(name):
    assert heavy_at_start()[name] == []
