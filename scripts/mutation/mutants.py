"""Small faults put into a source text: each one replaces a single expression or statement.

What only people read is left alone: docstrings, prose, and what is logged. So is what only type
checkers read: the words of a `Literal`, the name of a `TypeVar`.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in `path`, the text from `begin` to `end` becomes `after`.

    `begin` and `end` count bytes of the source in UTF-8; `first` to `last` are the lines of its
    statement, or of as much of it as comes before what follows in a block.
    """

    path: str
    line: int
    first: int
    last: int
    scope: str
    begin: int
    end: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """What tells it apart, also after lines were added elsewhere in the file."""
        return f"{self.path} | {self.scope} | {self.before} | {self.after}"

    def apply(self, source: bytes) -> bytes:
        """Return the source with the fault in it."""
        return source[: self.begin] + self.after.encode() + source[self.end :]


def mutants(path: str, source: bytes) -> list[Mutant]:
    """Return all faults that can be put into a file, in the order of the text."""
    found = _Finder(path, source)
    found.visit(ast.parse(source))
    return sorted(found.mutants, key=lambda one: (one.begin, one.end, one.after))


class _Finder(ast.NodeVisitor):
    """Walks a module and notes what can be changed."""

    def __init__(self, path: str, source: bytes) -> None:
        self.mutants: list[Mutant] = []
        self._path = path
        self._source = source
        self._scope: list[str] = []
        self._first = 1
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def _add(self, node: ast.expr | ast.stmt, after: str) -> None:
        begin = self._starts[node.lineno - 1] + node.col_offset
        end_line, end_column = node.end_lineno, node.end_col_offset
        if end_line is None or end_column is None:
            return
        end = self._starts[end_line - 1] + end_column
        before = " ".join(self._source[begin:end].decode().split())
        scope = ".".join(self._scope) or "module"
        self.mutants.append(
            Mutant(
                self._path,
                node.lineno,
                self._first,
                end_line,
                scope,
                begin,
                end,
                before[:120],
                after,
            )
        )

    def _replace(self, node: ast.expr, changed: ast.expr) -> None:
        self._add(node, f"({ast.unparse(changed)})")

    # Where it is

    def visit(self, node: ast.AST) -> None:
        """Visit a node, and keep the line on which its statement begins."""
        if isinstance(node, ast.stmt):
            self._first = node.lineno
        super().visit(node)

    def _visit_scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._scope.append(node.name)
        # Annotations and decorators are no behaviour that a test of this function could see.
        if not isinstance(node, ast.ClassDef):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Change its body and defaults."""
        self._visit_scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Change its body and defaults."""
        self._visit_scope(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Change its body."""
        self._visit_scope(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Change the value, not its type."""
        if node.value is not None:
            self.visit(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        """Leave imports alone."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Leave imports alone."""

    # Statements

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leave a call out; docstrings and what is logged stay."""
        if isinstance(node.value, ast.Constant) or _logs(node.value):
            return
        if isinstance(node.value, ast.Call | ast.Await):
            self._add(node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Leave out what is kept in an object or a table."""
        if self._is_slots(node):
            return
        if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self._add(node, "pass")
        self.generic_visit(node)

    def _is_slots(self, node: ast.Assign) -> bool:
        return any(
            isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets
        )

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Turn the sign."""
        changed = _ARITHMETIC.get(type(node.op))
        if changed is not None:
            self._add(node, ast.unparse(ast.AugAssign(node.target, changed(), node.value)))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Go on where the code refuses."""
        self._add(node, "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        """Return nothing."""
        if node.value is not None and ast.unparse(node.value) != "None":
            self._add(node, "return None")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        """Stay in the loop."""
        self._add(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        """Leave the loop."""
        self._add(node, "break")

    def visit_If(self, node: ast.If) -> None:
        """Take the other branch."""
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self._negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        """Take the other branch."""
        self._negate(node.test)
        self.generic_visit(node)

    # Expressions

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Take the other branch."""
        self._negate(node.test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        # A comparison and a `not` are changed as such.
        if not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant):
            self._add(test, f"(not ({ast.unparse(test)}))")

    def visit_Compare(self, node: ast.Compare) -> None:
        """Move each bound by one, or turn the comparison."""
        for at, operator in enumerate(node.ops):
            changed = _COMPARISONS[type(operator)]()
            ops = [*node.ops[:at], changed, *node.ops[at + 1 :]]
            self._replace(node, ast.Compare(node.left, ops, node.comparators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """Exchange `and` and `or`."""
        changed = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._replace(node, ast.BoolOp(changed, node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Leave out `not` and the sign."""
        if isinstance(node.op, ast.Not | ast.USub):
            self._replace(node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Calculate something else; formatting stays."""
        changed = _ARITHMETIC.get(type(node.op))
        formats = isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant)
        if changed is not None and not formats:
            self._replace(node, ast.BinOp(node.left, changed(), node.right))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Leave alone what is logged, and names of type variables."""
        if not _logs(node) and not _is_name(node.func, "TypeVar"):
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Leave the words of a type alone."""
        if not _is_name(node.value, "Literal"):
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave formatted text alone; it is prose nearly everywhere."""

    def visit_Constant(self, node: ast.Constant) -> None:
        """Change a number by one, a truth value to the other, and a word."""
        value = node.value
        if isinstance(value, bool):
            self._add(node, str(not value))
        elif isinstance(value, int):
            self._add(node, str(value + 1))
        elif isinstance(value, float):
            self._add(node, str(value * 2 + 1))
        elif isinstance(value, str) and value and " " not in value:
            self._add(node, repr(f"{value}X"))


def _logs(node: ast.expr) -> bool:
    call = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(call, ast.Attribute)
        and isinstance(call.value, ast.Name)
        and call.value.id in ("log", "logging", "logger")
    )


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def all_mutants(sources: dict[str, bytes]) -> Iterator[Mutant]:
    """Yield the faults of all files, file by file; a replacement that is no Python is left out."""
    for path in sorted(sources):
        for one in mutants(path, sources[path]):
            try:
                compile(one.apply(sources[path]), path, "exec", dont_inherit=True)
            except SyntaxError:
                continue
            yield one
