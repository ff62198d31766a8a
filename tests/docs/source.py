"""Finds calls in the source of app/."""

import ast
import re
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


def template(node: ast.AST) -> str | None:
    """Return the text of a string or an f-string, `…` for what is put in; None for anything else.

    So it stands in a page that quotes what the code says.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdr]", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [one.value if isinstance(one, ast.Constant) else "…" for one in node.values]
        return "".join(map(str, parts))
    return None


def templates(under: str = "") -> set[str]:
    """Return every text in the modules below this folder of app/, parts of f-strings apart."""
    found: set[str] = set()
    for path in sorted((APP / under).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        texts = (template(node) for node in ast.walk(tree) if id(node) not in parts)
        found |= {text for text in texts if text}
    return found


def of_a_log(call: ast.Call) -> bool:
    """Tell whether this call writes a line to the log."""
    func = call.func
    return isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == "log"
