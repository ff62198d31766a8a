"""The error tree as it is drawn, beside the classes that there are."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import app
from app.base import errors
from app.base.errors import SwitchboardError, sentence

LINE = re.compile(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?:\s.*)?")
MODULE = re.compile(r"\((app/[\w/]+)\.py\)$")
INDENT = 4


def drawn() -> set[tuple[str, str, str]]:
    """Return parent, name and module of each class in the drawing."""
    found: set[tuple[str, str, str]] = set()
    above: list[str] = []
    lines = (errors.__doc__ or "").partition("\n\n")[2].splitlines()
    for line in lines:
        match = LINE.fullmatch(line)
        assert match is not None, line
        depth = len(match["branch"]) // INDENT
        module = MODULE.search(line)
        del above[depth:]
        if above:
            where = module[1].replace("/", ".") if module else errors.__name__
            found.add((above[-1], match["name"], where))
        above.append(match["name"])
    return found


def real(base: type[SwitchboardError]) -> Iterator[tuple[str, str, str]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith("app."):
            yield base.__name__, kind.__name__, kind.__module__
            yield from real(kind)


def test_the_tree_has_every_error_and_no_other() -> None:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        # A migration runs when it is imported.
        if not module.name.startswith("app.storage.migrations."):
            importlib.import_module(module.name)
    assert drawn() == set(real(SwitchboardError))


def test_a_sentence_begins_large_and_ends_with_a_point_but_for_a_fields_name() -> None:
    assert sentence(" no such user ") == "No such user."
    assert sentence("what now?") == "What now?"
    assert sentence("ttl is too long") == "ttl is too long."
    assert sentence("max_users is too small!") == "max_users is too small!"
