"""Finds calls in the source of app/."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

APP = ROOT / "app"


def calls(*under: str) -> Iterator[ast.Call]:
    """Yield every call in the modules below these folders of app/."""
    for name in under:
        base = APP / name
        for path in [base] if base.is_file() else sorted(base.rglob("*.py")):
            for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield node


def called(call: ast.Call) -> str:
    """Return the last part of the called name."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def constant(call: ast.Call, position: int) -> object:
    """Return the literal at this position of the arguments; None if there is none."""
    if position >= len(call.args):
        return None
    argument = call.args[position]
    return argument.value if isinstance(argument, ast.Constant) else None


def of_a_log(call: ast.Call) -> bool:
    """Tell whether this call writes a line to the log."""
    func = call.func
    return isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == "log"
