"""The checker of put-backs: tells from the journals whether devices have what the database has.

    python -m scripts.faults.histories JOURNAL...

A put-back ends a history of the database and begins another, which shares with the copy's all
messages up to the copy's last. The journals say where in the order of events each copy was begun
and finished, and which one was put back; another program read each copy's last offset from its
file. What is owed are the messages of the last history, and those that it shares. A device may be
resumed only where the history in which it got its position is shared. The exit status is 1 if
there is a fault.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from scripts.faults.checker import Verdict, show
from scripts.faults.journal import (
    Acknowledged,
    Connected,
    Copied,
    CopyHolds,
    Copying,
    Finished,
    Joined,
    Positioned,
    PutBack,
    Received,
    Record,
    Refused,
    Repeated,
    Sent,
    read,
)
from scripts.faults.ledger import FOR_NOW, Fault, FaultKind, Message, Peer


@dataclass(slots=True)
class History:
    """What was stored from one put-back to the next; it shares the parent's up to `cut`."""

    parent: "History | None" = None
    cut: int = 0
    copy: "Copy | None" = None
    stored: dict[int, str] = field(default_factory=dict)
    """The messages above `cut`, by offset."""

    def owner(self, offset: int) -> "History":
        """Return the history in which this offset, as this one has it, was given out."""
        found = self
        while found.parent is not None and offset <= found.cut:
            found = found.parent
        return found

    def shared(self) -> Iterator[tuple[int, str]]:
        """Yield all messages that this history has, its own and those of before."""
        node: History | None = self
        end: int | None = None
        while node is not None:
            for offset, name in node.stored.items():
                if end is None or offset <= end:
                    yield offset, name
            if node.parent is not None:
                end = node.cut if end is None else min(end, node.cut)
            node = node.parent


@dataclass(slots=True)
class Copy:
    """A copy of the database: when it was made, of which history, and the last offset in it."""

    history: History
    begun: int
    last: int
    done: int | None = None


@dataclass(slots=True)
class Place:
    """Where a device is: the history that gave it its position, and the text of it."""

    history: History
    text: str
    offset: int


@dataclass(slots=True)
class Traveller:
    """A device over all histories; what it received counts since it last fetched its state."""

    peer: Peer
    place: Place | None = None
    start: int | None = None
    text: str = ""
    received: dict[str, int] = field(default_factory=dict)
    offsets: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.peer)


class Histories:
    """Takes the records in order, and notes the faults."""

    def __init__(self, records: Iterable[Record], lasts: Mapping[str, int]) -> None:
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self._lasts = lasts
        self._now = History()
        self._copies: dict[str, Copy] = {}
        self._travellers: dict[int, Traveller] = {}
        self._messages: dict[str, Message] = {}
        self._sent_first: dict[str, int] = {}
        self._acknowledged: list[tuple[int, History, str, int]] = []
        self._born: dict[str, tuple[History, int]] = {}
        self._epoch = ""
        for place, record in enumerate(records):
            self._take(place, record)
        self._check_copies()
        self._check_last()

    def fault(self, kind: FaultKind, text: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, text))

    def _take(self, place: int, record: Record) -> None:
        self.counts[record.what] += 1
        match record:
            case Joined():
                self._travellers.setdefault(record.by, Traveller(Peer(record)))
            case Connected():
                self._connected(self._travellers[record.by], record, place)
            case Positioned():
                self._positioned(self._travellers[record.by], record, place)
            case Sent():
                new = Message(record.message, record.by, record.to)
                self._messages.setdefault(record.message, new).attempts += 1
                self._sent_first.setdefault(record.message, place)
            case Acknowledged():
                self._answered(record, place)
            case Refused() if record.code not in FOR_NOW:
                what = record.message or "an ack"
                text = f"{self._travellers[record.by]} sent {what} and got {record.code!r}"
                self.fault("refused", text)
            case Received():
                self._received(self._travellers[record.by], record)
            case Repeated():
                text = f"{self._travellers[record.by]} got offset {record.offset}, which it had"
                self.fault("doubled", text)
            case Finished():
                self._travellers[record.by].peer.finished = True
            case Copying():
                last = self._lasts[record.copy]
                self._copies[record.copy] = Copy(self._now, place, last)
            case Copied():
                self._copies[record.copy].done = place
            case PutBack():
                copy = self._copies[record.copy]
                self._now = History(copy.history, copy.last, copy)

    # Devices

    def _connected(self, one: Traveller, record: Connected, place: int) -> None:
        self.counts[record.outcome] += 1
        self._told(record.epoch, place)
        one.text = record.epoch
        if record.asked is None:
            if record.outcome == "reset":
                self.fault("reset", f"{one} named no position and was told 'reset'")
            return
        if one.place is None or record.asked != one.place.offset:
            self.fault("foreign", f"{one} came with {record.asked}, which it was never told")
            return
        if record.outcome == "resumed":
            self._resumed(one, one.place, record)
        elif record.outcome == "reset":
            self._reset(one, one.place, record)
        else:
            self.fault("reset", f"{one} came with {record.asked} and was told {record.outcome!r}")

    def _resumed(self, one: Traveller, came: Place, record: Connected) -> None:
        if record.offset != came.offset:
            self.fault("reset", f"{one} came with {came.offset} and was put at {record.offset}")
        if self._now.owner(came.offset) is not came.history.owner(came.offset):
            self.fault("lost", f"{one} was resumed at {came.offset}, of a history that is gone")

    def _reset(self, one: Traveller, came: Place, record: Connected) -> None:
        if self._must_resume(came):
            self.fault("reset", f"{one} was reset at {came.offset}, which the database has")
        if self._now.owner(came.offset) is not came.history.owner(came.offset):
            self.counts["reset: ahead of the copy"] += 1
        one.received.clear()
        one.offsets.clear()
        one.start = record.offset
        one.place = Place(self._now, record.epoch, record.offset)

    def _must_resume(self, came: Place) -> bool:
        """Tell whether the database has this position, and knows the generation of its text."""
        if self._now.owner(came.offset) is not came.history.owner(came.offset):
            return False
        born, when = self._born[came.text]
        node: History | None = self._now
        left_by: Copy | None = None
        while node is not None and node is not born:
            left_by = node.copy
            node = node.parent
        return node is not None and (left_by is None or when < left_by.begun)

    def _positioned(self, one: Traveller, record: Positioned, place: int) -> None:
        self._told(record.epoch, place)
        one.text = record.epoch
        if one.start is None:
            one.start = record.offset
        if one.place is not None and record.offset < one.place.offset:
            self.fault("out of order", f"{one} went from {one.place.offset} to {record.offset}")
        one.place = Place(self._now, record.epoch, record.offset)

    def _received(self, one: Traveller, record: Received) -> None:
        name, offset = record.message, record.offset
        if one.start is None:
            one.start = offset - 1
        if one.place is not None and offset <= one.place.offset:
            self.fault("out of order", f"{one} got offset {offset} after {one.place.offset}")
        if name in one.received:
            self.fault("doubled", f"{one} got {name} twice")
        one.received[name] = offset
        one.offsets[offset] = name
        one.place = Place(self._now, one.text, offset)
        message = self._messages.get(name)
        if message is None:
            self.fault("foreign", f"{one} got {name}, which nobody had sent")
            return
        sender = self._travellers[message.by].peer.joined
        if not record.whole or not one.peer.gets(message, sender):
            self.fault("foreign", f"{one} got {name}, changed, or not for it")
        if (record.device, record.instance) != (sender.device, sender.instance):
            self.fault("foreign", f"{one} got {name} as if from device {record.device}")
        self._store(name, offset)

    def _answered(self, record: Acknowledged, place: int) -> None:
        self._same_epoch(record.epoch)
        self._acknowledged.append((place, self._now, record.message, record.offset))
        self.counts["repeats recognised"] += record.duplicate
        self._store(record.message, record.offset)

    def _store(self, name: str, offset: int) -> None:
        stored = self._now.owner(offset).stored
        if stored.setdefault(offset, name) != name:
            self.fault("doubled", f"offset {offset} is {stored[offset]}, and {name} too")

    def _told(self, text: str, place: int) -> None:
        self._same_epoch(text)
        self._born.setdefault(text, (self._now, place))

    def _same_epoch(self, text: str) -> None:
        epoch = text.partition(".")[0]
        if self._epoch not in ("", epoch):
            self.fault("reset", f"the epoch went from {self._epoch} to {epoch}")
        self._epoch = epoch

    # In the end

    def _check_copies(self) -> None:
        """Check that each copy has what was acknowledged before it, and nothing of later."""
        for name, copy in self._copies.items():
            for place, history, message, offset in self._acknowledged:
                if history is not copy.history:
                    continue
                if place < copy.begun and offset > copy.last:
                    self.fault("lost", f"copy {name} lacks {message}, acknowledged before it")
                late = copy.done is not None and self._sent_first[message] > copy.done
                if late and offset <= copy.last:
                    self.fault("foreign", f"copy {name} has {message}, which was sent after it")

    def _check_last(self) -> None:
        """Check that every device has all of the last history above where it started."""
        kept: dict[str, int] = {}
        for offset, name in self._now.shared():
            if name in kept:
                self.fault("doubled", f"{name} has the offsets {kept[name]} and {offset}")
            kept[name] = offset
        for one in self._travellers.values():
            self._check_traveller(one, kept)
        told = {message for _, _, message, _ in self._acknowledged}
        self.counts["kept"] = len(kept)
        self.counts["acknowledged"] = len(told)
        self.counts["acknowledged, and put away with a database"] = len(told - kept.keys())

    def _check_traveller(self, one: Traveller, kept: Mapping[str, int]) -> None:
        if not one.peer.finished:
            self.fault("unfinished", f"{one} never had the last message of its user")
        for name, offset in one.received.items():
            if kept.get(name) != offset:
                self.fault("lost", f"{one} has {name}, which is gone, and was not told 'reset'")
        for name, offset in kept.items():
            message = self._messages[name]
            sender = self._travellers[message.by].peer.joined
            owed = one.start is not None and offset > one.start and one.peer.gets(message, sender)
            if owed and name not in one.received:
                self.fault("lost", f"{one} lacks {name}, kept at offset {offset}")


def check(records: Sequence[Record]) -> Verdict:
    """Return the verdict."""
    lasts = {one.copy: one.last for one in records if isinstance(one, CopyHolds)}
    found = Histories((one for one in records if not isinstance(one, CopyHolds)), lasts)
    names = ("acknowledged", "acknowledged, and put away with a database", "kept", "received")
    counts = {name: found.counts[name] for name in names}
    counts |= {
        "devices": found.counts["joined"],
        "connections": found.counts["connected"],
        "resumed": found.counts["resumed"],
        "told reset": found.counts["reset"],
        "told reset, ahead of the copy": found.counts["reset: ahead of the copy"],
        "copies": found.counts["copying"],
        "put back": found.counts["put back"],
    }
    return Verdict(found.faults, counts)


def main(arguments: Sequence[str]) -> int:
    """Check and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="histories", description=__doc__)
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")
    options = parser.parse_args(arguments)
    verdict = check(list(chain.from_iterable(read(path) for path in options.journals)))
    print(show(verdict))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
