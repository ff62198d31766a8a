"""The lines that the source of app/ logs: message, level and fields of each."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from tests.docs.source import APP, called

LEVELS = ("debug", "info", "warning", "error", "critical")
METHODS = (*LEVELS, "exception", "log")


@dataclass
class Line:
    """A message, with `…` for the values in it, and what comes with it at any of its places."""

    message: str
    levels: set[str] = field(default_factory=set)
    """Empty if the level is chosen while the server runs."""
    fields: set[str] = field(default_factory=set)


@cache
def lines() -> dict[str, Line]:
    """Return the lines by their messages."""
    functions = [one for tree in _trees() for one in ast.walk(tree) if isinstance(one, _FUNCTION)]
    found: dict[str, Line] = {}
    for function in functions:
        for call in _log_calls(function):
            level, message = _level_and_message(call)
            if message is None:
                continue
            line = found.setdefault(message, Line(message))
            line.levels |= {level} & {*LEVELS}
            line.fields |= _fields(call, function, functions)
            if called(call) == "exception" or any(one.arg == "exc_info" for one in call.keywords):
                line.fields.add("exception")
    return found


_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _trees() -> Iterator[ast.Module]:
    for path in sorted(APP.rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _log_calls(function: _Function) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            method = isinstance(node.func, ast.Attribute) and called(node) in METHODS
            if method or called(node) == "made_record":
                yield node


def _level_and_message(call: ast.Call) -> tuple[str, str | None]:
    name = called(call)
    level = {"exception": "error", "log": "", "made_record": ""}.get(name, name)
    position = 0 if name in LEVELS or name == "exception" else 1
    if name == "made_record" and isinstance(call.args[0], ast.Attribute):
        level = call.args[0].attr.lower()
    argument = call.args[position] if position < len(call.args) else None
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return level, argument.value.replace("%s", "…")
    return level, None


def _fields(call: ast.Call, function: _Function, functions: list[_Function]) -> set[str]:
    """Return the names of the fields that the call is given, also by what it names or calls."""
    found: set[str] = set()
    roots: list[ast.AST] = [one.value for one in call.keywords if one.arg == "extra"]
    roots += call.args[2:] if called(call) == "made_record" else []
    seen: set[str] = set()
    while roots:
        root = roots.pop()
        found |= _named_in(root)
        for name in _names(root) - seen:
            seen.add(name)
            values = _assigned(name, function)
            found |= {key for value in values for key in _keys(value)}
            roots += values
            if not values:
                # A function that makes fields, or what it has returned under its name.
                found |= {key for one in functions if one.name == name for key in _returned(one)}
    return found - {"fields"}


def _names(root: ast.AST) -> set[str]:
    names = {one.id for one in ast.walk(root) if isinstance(one, ast.Name)}
    return names | {called(one) for one in ast.walk(root) if isinstance(one, ast.Call)}


def _named_in(root: ast.AST) -> set[str]:
    calls = [one for one in ast.walk(root) if isinstance(one, ast.Call)]
    return {
        one.arg for call in calls if called(call) == "fields" for one in call.keywords if one.arg
    }


def _returned(function: _Function) -> set[str]:
    returns = [one for one in ast.walk(function) if isinstance(one, ast.Return)]
    return {key for one in returns for key in _named_in(one)}


def _keys(value: ast.AST) -> set[str]:
    keys = value.keys if isinstance(value, ast.Dict) else []
    return {str(one.value) for one in keys if isinstance(one, ast.Constant)}


def _assigned(name: str, function: _Function) -> list[ast.AST]:
    """Return what the function assigns to this name, or adds to it."""
    values: list[ast.AST] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bare = [one.value if isinstance(one, ast.Subscript) else one for one in targets]
            if any(isinstance(one, ast.Name) and one.id == name for one in bare):
                values.append(node.value)
    return values
