"""PromQL taken apart by a real parser, and compared with what a server shows."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Matcher,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    UnaryExpr,
    VectorSelector,
    parse,
)

COMPARING: Final = frozenset({">", "<", "==", "!=", ">=", "<=", "and", "or", "unless"})
"""Operators whose result has all labels of their left side."""


class Unfit(AssertionError):
    """An expression names what no server shows."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The metrics that there are: by name, the labels of each of their samples."""

    samples: Mapping[str, list[Mapping[str, str]]]

    def labels(self, expression: str) -> frozenset[str]:
        """Return the labels of the result; raises Unfit for a name or a label that there is not."""
        return self._of(parse(expression))

    def _of(self, one: Any) -> frozenset[str]:
        match one:
            case VectorSelector():
                return self._of_selector(one)
            case MatrixSelector():
                return self._of(one.vector_selector)
            case ParenExpr() | UnaryExpr():
                return self._of(one.expr)
            case NumberLiteral() | StringLiteral():
                return frozenset()
            case Call():
                inner = frozenset[str]().union(*map(self._of, one.args))
                return inner - {"le"} if one.func.name == "histogram_quantile" else inner
            case AggregateExpr():
                return self._of_aggregate(one)
            case BinaryExpr():
                return self._of_binary(one)
        raise Unfit(f"no rule for {type(one).__name__}")

    def _of_selector(self, one: VectorSelector) -> frozenset[str]:
        if one.name not in self.samples:
            raise Unfit(f"there is no {one.name}")
        found = self.samples[one.name]
        for matcher in one.matchers.matchers:
            if not any(fits(matcher, labels) for labels in found):
                raise Unfit(f"no sample of {one.name} has {matcher}")
        return frozenset().union(*found)

    def _of_aggregate(self, one: AggregateExpr) -> frozenset[str]:
        inner, by = self._of(one.expr), one.modifier
        if by is None:
            return frozenset()
        if by.type != AggModifierType.By:
            raise Unfit("no rule for without")
        require(by.labels, inner)
        return frozenset(by.labels)

    def _of_binary(self, one: BinaryExpr) -> frozenset[str]:
        left, right = self._of(one.lhs), self._of(one.rhs)
        if one.modifier is not None and one.modifier.matching is not None:
            require(one.modifier.matching.labels, left & right)
        elif left and right and left != right:
            # Prometheus would find no pair, and the result would be empty for ever.
            raise Unfit(f"the sides have different labels: {sorted(left ^ right)}")
        return left if str(one.op) in COMPARING else left | right


def require(wanted: Iterable[str], there: frozenset[str]) -> None:
    if missing := set(wanted) - there:
        raise Unfit(f"there is no label {missing}, but {sorted(there)}")


def fits(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    """Tell whether the matcher chooses this sample by a label that it has."""
    if matcher.name not in labels:
        return False
    value = labels[matcher.name]
    if matcher.op in (MatchOp.Equal, MatchOp.NotEqual):
        return (value == matcher.value) == (matcher.op == MatchOp.Equal)
    matches = re.fullmatch(matcher.value, value) is not None
    return matches == (matcher.op == MatchOp.Re)
