"""Tests use public names alone: one that needs a private name of the code shows what is missing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.clones import ROOT

TESTS = ROOT / "tests"
SETTERS = ("getattr", "setattr", "delattr", "hasattr")
PRIVATE = re.compile(r"_(?!_)\w*")
PRIVATE_IN_A_PATH = re.compile(r"(app|scripts)(\.\w+)*\._(?!_)\w+(\.\w+)*")
OWN_OBJECTS = ("self", "cls")

ATTRIBUTE = "node.manager.{}"
"""An expression whose attribute is put in later, so that this file has no such expression."""


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module of the tests gives to attributes and functions of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node):
            yield node.attr


def is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in OWN_OBJECTS


def foreign(tree: ast.AST, own: set[str]) -> Iterator[tuple[int, str]]:
    """Yield line and name of each private name that the module uses and no test defines."""
    for node in ast.walk(tree):
        for name in private_names(node):
            if name not in own:
                yield getattr(node, "lineno", 0), name


def private_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and not is_own(node):
        names = [node.attr]
    elif isinstance(node, ast.ImportFrom):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.Call) and named_by_text(node):
        names = [one.value for one in node.args if isinstance(one, ast.Constant)]
    else:
        return
    for name in names:
        if isinstance(name, str) and (PRIVATE.fullmatch(name) or PRIVATE_IN_A_PATH.fullmatch(name)):
            yield name


def named_by_text(call: ast.Call) -> bool:
    """Tell whether the call takes an attribute by its name: `setattr`, `monkeypatch.setattr`."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in SETTERS


def test_no_test_uses_a_private_name() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}
    own: defaultdict[Path, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        own[path.parent].update(defined(tree))
    used = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, tree in trees.items()
        for line, name in foreign(tree, own[path.parent] | own[TESTS])
    ]
    assert used == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (ATTRIBUTE.format("_users"), ["_users"]),
        ("server.app[NODE]._live.add(1)", ["_live"]),
        ("from app.node.node import _Progress", ["_Progress"]),
        ("monkeypatch.setattr('app.web.admin.page._STEP', 2)", ["app.web.admin.page._STEP"]),
        ("monkeypatch.setattr(page, '_STEP', 2)", ["_STEP"]),
        ("getattr(node, '_users')", ["_users"]),
        ("self._users, cls._users, node.__dict__, node.users_", []),
        ("class A:\n  def __init__(self): self._users = 1\nA()._users", []),
        ("'_STEP', {'_users': 1}", []),
    ],
)
def test_private_names_are_found(code: str, names: list[str]) -> None:
    tree = ast.parse(code)
    assert [name for _, name in foreign(tree, set(defined(tree)))] == names
