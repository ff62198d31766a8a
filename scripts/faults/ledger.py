"""Gathers the records of the journals by message and by device."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from scripts.faults.gaps import Gaps
from scripts.faults.journal import (
    Acknowledged,
    Connected,
    Copied,
    CopyHolds,
    Copying,
    Finished,
    Joined,
    Left,
    Positioned,
    PutBack,
    Received,
    Record,
    Refused,
    Repeated,
    Returned,
    Sent,
    To,
    Vanished,
)

FaultKind = Literal[
    "lost",
    "doubled",
    "out of order",
    "foreign",
    "reset",
    "refused",
    "unfinished",
    "into nothing",
]

FOR_NOW: Final = ("storage_unavailable",)
"""Errors that a valid message may get; nothing of it is stored."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that must not happen."""

    kind: FaultKind
    text: str


@dataclass(slots=True)
class Message:
    """One message, however often it was sent."""

    name: str
    by: int
    to: To
    attempts: int = 0
    acknowledged: set[int] = field(default_factory=set)
    """The offsets that the server told its sender."""
    received: set[int] = field(default_factory=set)
    """The offsets under which devices received it."""
    refused: bool = False

    @property
    def offset(self) -> int | None:
        """Its place in the stream; None when nobody but its sender knows of it."""
        return min(self.acknowledged | self.received, default=None)


@dataclass(slots=True)
class Peer:
    """One instance of a device, and its place in the stream."""

    joined: Joined
    start: int | None = None
    """The server owes it every message above this offset."""
    epoch: str = ""
    newest: int = 0
    """The highest offset that it received, or that the server told it as its position."""
    received: dict[str, int] = field(default_factory=dict)
    gaps: Gaps = field(default_factory=Gaps)
    marked_upto: int = 0
    """What comes on its connection up to this offset is marked as replayed, and nothing else is."""
    finished: bool = False

    def __str__(self) -> str:
        return f"device {self.joined.device} ({self.joined.instance})"

    def gets(self, message: Message, sender: Joined) -> bool:
        """Tell whether the message is for this one."""
        own = self.joined
        if own.user != sender.user:
            return False
        if message.to == "others":
            return (own.device, own.instance) != (sender.device, sender.instance)
        return message.to in ("user", own.device)


class Ledger:
    """Takes the records in order, and notes the faults that a single record shows.

    With `removes`, the server may remove old messages. A `reset` at the own position tells of that.
    """

    def __init__(self, records: Iterable[Record], *, removes: bool = False) -> None:
        self._removes = removes
        self.peers: dict[int, Peer] = {}
        self.messages: dict[str, Message] = {}
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        # A receiver's journal may be read before the sender's.
        self._strangers: list[Received] = []
        self._gone = False
        self._sent_while_gone: set[str] = set()
        for record in records:
            self._take(record)
        self._look_at_strangers()

    def audience(self, message: Message) -> Iterator[Peer]:
        """Yield the devices that the message is for."""
        sender = self.peers[message.by].joined
        return (peer for peer in self.peers.values() if peer.gets(message, sender))

    def fault(self, kind: FaultKind, text: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, text))

    def _take(self, record: Record) -> None:
        self.counts[record.what] += 1
        match record:
            case Joined():
                self.peers.setdefault(record.by, Peer(record))
            case Connected():
                self._connected(self.peers[record.by], record)
            case Positioned():
                self._positioned(self.peers[record.by], record)
            case Sent():
                new = Message(record.message, record.by, record.to)
                if self._gone and record.message not in self.messages:
                    self._sent_while_gone.add(record.message)
                self.messages.setdefault(record.message, new).attempts += 1
            case Acknowledged():
                self._acknowledged(record)
            case Refused():
                self._refused(record)
            case Received():
                self._received(self.peers[record.by], record)
            case Repeated():
                peer = self.peers[record.by]
                text = f"{peer} got offset {record.offset} at or below the position it had named"
                self.fault("doubled", text)
            case Finished():
                self.peers[record.by].finished = True
            case Left() | Copying() | Copied() | CopyHolds() | PutBack():
                # Put-backs have a checker of their own.
                pass
            case Vanished():
                self._gone = True
            case Returned():
                self._gone = False
                self._sent_while_gone.clear()

    def _connected(self, peer: Peer, record: Connected) -> None:
        self.counts[record.outcome] += 1
        removed = self._removes and record.outcome == "reset" and record.offset < record.head
        peer.gaps.lost_connection()
        peer.marked_upto = record.head if removed else 0
        if removed:
            peer.gaps.told(max(record.offset, peer.newest), record.head)
        if (removed or record.outcome == "resumed") and peer.start is None:
            peer.start = record.offset
        if (record.outcome == "reset" and not removed) or (
            record.asked is not None and record.outcome == "live"
        ):
            self.fault("reset", f"{peer} came with {record.asked} and was told {record.outcome!r}")
        elif record.asked is not None and record.offset != record.asked:
            text = f"{peer} came with {record.asked} and was put at {record.offset}"
            self.fault("reset", text)
        self._same_epoch(peer, record.epoch)

    def _same_epoch(self, peer: Peer, text: str) -> None:
        # What follows the dot names the generation, another one with each start of the server.
        epoch = text.partition(".")[0]
        if peer.epoch not in ("", epoch):
            self.fault("reset", f"{peer} went from epoch {peer.epoch} to {epoch}")
        peer.epoch = epoch

    def _positioned(self, peer: Peer, record: Positioned) -> None:
        self._same_epoch(peer, record.epoch)
        if peer.start is None:
            peer.start = record.offset
        peer.gaps.came(record.offset + 1)
        if record.offset < peer.newest:
            text = f"{peer} was told position {record.offset} after {peer.newest}"
            self.fault("out of order", text)
        peer.newest = max(peer.newest, record.offset)

    def _acknowledged(self, record: Acknowledged) -> None:
        message = self.messages[record.message]
        if record.message in self._sent_while_gone:
            self.fault("into nothing", f"{message.name} was kept while there was no database")
        if message.acknowledged and not record.duplicate:
            self.fault("doubled", f"{message.name} was kept anew when it was repeated")
        self.counts["duplicates"] += record.duplicate
        message.acknowledged.add(record.offset)
        self._same_epoch(self.peers[record.by], record.epoch)

    def _refused(self, record: Refused) -> None:
        if record.message in self.messages:
            self.messages[record.message].refused = True
        if record.code not in FOR_NOW:
            what = record.message or "an ack"
            text = f"{self.peers[record.by]} sent {what} and was answered {record.code!r}"
            self.fault("refused", text)

    def _received(self, peer: Peer, record: Received) -> None:
        if peer.start is None:
            # It starts just below the first message that it received.
            peer.start = record.offset - 1
        if record.offset <= peer.newest:
            text = f"{peer} got offset {record.offset} after {peer.newest}"
            self.fault("out of order", text)
        if record.message in peer.received:
            self.fault("doubled", f"{peer} got {record.message} twice")
        peer.gaps.came(record.offset)
        self.counts["replayed"] += record.replayed
        if record.replayed != (record.offset <= peer.marked_upto):
            text = f"{peer} got {record.message} with the mark {record.replayed}"
            self.fault("reset", text)
        if not record.whole:
            self.fault("foreign", f"{peer} got {record.message}, which had changed on its way")
        peer.newest = max(peer.newest, record.offset)
        peer.received[record.message] = record.offset
        if record.message in self.messages:
            self._placed(peer, record)
        else:
            self._strangers.append(record)

    def _placed(self, peer: Peer, record: Received) -> None:
        message = self.messages[record.message]
        message.received.add(record.offset)
        sender = self.peers[message.by].joined
        if not peer.gets(message, sender):
            self.fault("foreign", f"{peer} got {message.name}, which was for {message.to}")
        if (record.device, record.instance) != (sender.device, sender.instance):
            text = f"{peer} got {message.name} as if it came from device {record.device}"
            self.fault("foreign", text)

    def _look_at_strangers(self) -> None:
        for record in self._strangers:
            if record.message in self.messages:
                self._placed(self.peers[record.by], record)
            else:
                peer = self.peers[record.by]
                self.fault("foreign", f"{peer} got {record.message}, which nobody sent")
