"""Reads a file of strace: did the server write each message, sync the log, and only then answer?

It finds a message by its `message_id` in the pages written to the write-ahead log, and by
`reply_to` in what is written to sockets. strace writes a line when a call ends; a call during which
others end has two lines, `<unfinished ...>` and `<... resumed>`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NAME: Final = r"[0-9]+\.[0-9]+"

_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\(\d+<([^>]*)>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>")
_IN_LOG = re.compile(rf'\{{\\"message\\":\\"({NAME})\\"')
_ANSWERED = re.compile(rf'\\"reply_to\\":\\"({NAME})\\"')


@dataclass(slots=True)
class Calls:
    """The names of messages, by what the calls so far have done to them."""

    written: set[str] = field(default_factory=set)
    """Written to the log, and not known to be on disk."""
    synced: set[str] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)
    early: list[str] = field(default_factory=list)
    """Answered before they were known to be on disk."""
    syncs: int = 0
    syncs_with_messages: int = 0

    def logged(self, text: str) -> None:
        """Note that pages were written to the log."""
        self.written.update(name for name in _IN_LOG.findall(text) if name not in self.synced)

    def sync(self, covered: set[str]) -> None:
        """Note the end of a sync, which covers what had been written when it began."""
        self.syncs += 1
        self.syncs_with_messages += bool(covered)
        self.synced |= covered
        self.written -= covered

    def answered(self, text: str) -> None:
        """Note that bytes are being written to a socket."""
        for name in _ANSWERED.findall(text):
            self.answers.add(name)
            if name not in self.synced:
                self.early.append(name)


@dataclass(slots=True)
class _Begun:
    """A call that has not ended, and what had been written when it began."""

    name: str
    file: str
    text: str
    written: set[str]


def read_calls(path: Path) -> Calls:
    """Return what the calls in strace's file did to the messages."""
    calls = Calls()
    begun: dict[str, _Begun] = {}
    with path.open(encoding="latin-1") as lines:
        for line in lines:
            if found := _LINE.match(line):
                _take(calls, begun, found[1], found[2])
    return calls


def _take(calls: Calls, begun: dict[str, _Begun], thread: str, text: str) -> None:
    if _RESUMED.match(text):
        if thread in begun:
            _end(calls, begun.pop(thread))
        return
    found = _CALL.match(text)
    if not found:
        return
    call = _Begun(found[1], found[2], text, set())
    _begin(calls, call)
    if text.rstrip().endswith("<unfinished ...>"):
        begun[thread] = call
    else:
        _end(calls, call)


def _begin(calls: Calls, call: _Begun) -> None:
    """Note the beginning of a call: an answer may be out, a sync covers what was written before."""
    if call.name in ("fsync", "fdatasync"):
        call.written = set(calls.written)
    elif call.file.startswith(("TCP", "socket")):
        calls.answered(call.text)


def _end(calls: Calls, call: _Begun) -> None:
    """Note the end of a call: a write is done, and what a sync covers is on disk."""
    if not call.file.endswith("-wal"):
        return
    if call.name in ("fsync", "fdatasync"):
        calls.sync(call.written)
    else:
        calls.logged(call.text)
