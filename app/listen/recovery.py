"""What a listener carries from one connection to the next, by the rules of docs/protocol.md.

`Progress` knows its position in the stream, `Typed` the notes that the server has not answered, and
`Retry` how long to wait before the next attempt. Nothing here does I/O.
"""

import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import orjson

from app.listen.signing import ListenEnded
from app.protocol.close import CLOSES
from app.protocol.position import Position

PLAIN: Final = "plain"

Start = Literal["plain", "live", "cursor"] | int
"""Where to begin: with what comes next, at the device's cursor, or above an offset.

The offset counts in the server's current epoch. A plain listener names no position at all, as a
simple client.
"""

Kept = Literal["none", "log"]
"""How the server keeps a typed note: not at all, or for the devices that are away."""

MAX_BACKOFF_SECONDS: Final = 30

_TYPED_ID: Final = "typed-"

_COME_BACK_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


# In the stream


class Progress:
    """A listener's place in its stream: `position` is what was shown up to, None until known.

    It follows the rules for positioned clients in docs/protocol.md: a snapshot does not move the
    position, a message at or below the position has been shown before, one at or below the head of
    the last `reset` is a replay, and the outcome alone tells whether a position held, never the
    text of the epoch.
    """

    def __init__(self, start: Start = PLAIN) -> None:
        self.position: Position | None = None
        self._start = start
        self._epoch = ""
        self._seen = 0
        self._reset_head = 0
        self._settled = False

    @property
    def acknowledgeable(self) -> Position | None:
        """The position once this connection has reached it; None before, and during a snapshot."""
        return self.position if self._settled else None

    @property
    def positioned(self) -> bool:
        """True when the listener's query names a position, or asks for one."""
        return self._start != PLAIN

    def query(self) -> dict[str, str]:
        """Return the query parameters with which the next connection resumes."""
        if not self.positioned:
            return {}
        if self.position is not None:
            return {"epoch": self.position.epoch, "offset": str(self.position.offset)}
        # A start at an offset needs the epoch, which the first `connected` tells.
        return {"snapshot": "1"} if self._start == "cursor" else {"resume": "live"}

    def connected(self, resume: Mapping[str, Any]) -> bool:
        """Note where the server lets this connection start.

        Returns False when the listener has only now learnt the epoch of the offset it wants: it
        has to connect again, with both.
        """
        self._epoch, self._seen = str(resume["epoch"]), int(resume["offset"])
        self._settled = False
        known = self.position
        if known is None and isinstance(self._start, int):
            self.position = Position(self._epoch, self._start)
            return False
        outcome = resume["outcome"]
        if outcome != "resumed":
            self._reset_head = int(resume["head"]) if outcome == "reset" else 0
        goes_on = outcome == "resumed" or older_follow(resume)
        if goes_on and known is not None and self._still_holds(known):
            self._seen = max(self._seen, known.offset)
        return True

    def _still_holds(self, known: Position) -> bool:
        """Tell whether the messages up to the known position are those of the server's stream.

        A positioned listener goes on at that very position. A plain one goes on at its device's
        cursor, which may lie behind, and only an equal text says that the numbers are the same:
        after a start of the server a plain listener rather shows a message twice.
        """
        return self.positioned or known.epoch == self._epoch

    def is_new(self, message: Mapping[str, Any]) -> bool:
        """Tell whether to show the message: anything but what is at or below the position."""
        offset = _moves_to(message)
        return offset is None or offset > self._seen

    def is_replay(self, message: Mapping[str, Any]) -> bool:
        """Tell whether the state fetched after a `reset` may have what this message says.

        The server marks it only on the connection that began with the `reset`.
        """
        offset = _moves_to(message)
        return message.get("replayed") is True or (
            offset is not None and offset <= self._reset_head
        )

    def shown(self, message: Mapping[str, Any]) -> None:
        """Move the position to this message, which has just been shown."""
        offset = _moves_to(message)
        if offset is not None:
            self._move(offset)

    def reached(self, payload: Mapping[str, Any]) -> None:
        """Move the position to that of the server's `position` frame, whose text is the newest."""
        self._epoch = str(payload["epoch"])
        self._move(max(int(payload["offset"]), self._seen))

    def _move(self, offset: int) -> None:
        self._seen = offset
        self._settled = True
        self.position = Position(self._epoch, offset)


def older_follow(resume: Mapping[str, Any]) -> bool:
    """Tell whether messages up to the head follow, as after a `reset` at the own position."""
    return int(resume["offset"]) < int(resume["head"])


def _moves_to(message: Mapping[str, Any]) -> int | None:
    """Return the offset of a durable message; None for an ephemeral one and for a snapshot's."""
    offset = message.get("offset")
    return offset if isinstance(offset, int) and message.get("snapshot") is not True else None


# On the way out


_REFUSALS: Final = {
    "busy": "Refused: the server has too many messages waiting and did nothing. Type it again.",
    "timed_out": "Timed out: whether the server passed this on is unknown.",
}
"""Sentences for answers after which a person must know whether something was done."""


_AS_TEXT: Final = "; begin the line with a space to send it as text"


class NoMessage(Exception):
    """A typed line is not sent; prints as a sentence."""

    def __str__(self) -> str:
        return f"Not sent: {self.args[0]}."


class Typed:
    """Turns typed lines into messages, and keeps the durable ones until the server has answered.

    A durable note has a `message_id`, so that sending it again on the next connection is harmless.
    `unanswered` holds such notes by the id of their request. `hold_seconds` is set when the server
    has said after what time it takes more of them: until `release`, they wait.
    """

    def __init__(self, kept: Kept = "none") -> None:
        self._kept = kept
        self._number = 0
        # Notes of another run of the program must not be taken for repeats of ours.
        self._run = secrets.token_hex(8)
        self.unanswered: dict[str, str] = {}
        self.hold_seconds: float | None = None

    def release(self) -> None:
        """Have durable notes wait no longer: their time has come, or another connection."""
        self.hold_seconds = None

    def has_to_wait(self, message: str) -> bool:
        """Tell whether the message is a durable note, and the server takes none now."""
        return self.hold_seconds is not None and message in self.unanswered.values()

    def message_of(self, line: str) -> str | None:
        """Return the message to send for a line: the line if it is one, else a note to the others.

        Returns None for a blank line. Raises NoMessage for a line that begins like a message and
        is none: sent as a note, it would only look as if it had done what it says.
        """
        text = line.strip()
        if not text:
            return None
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise NoMessage("it is not UTF-8")
        if not line.startswith("{"):
            return self._note(text)
        try:
            record = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise NoMessage(f"it is not JSON ({error}){_AS_TEXT}") from None
        if not isinstance(record.get("type"), str):
            raise NoMessage(f'a message has a "type", a string{_AS_TEXT}')
        return text

    def answer(self, message: dict[str, Any]) -> str | None:
        """Return a sentence about the answer to a note; None for any other message."""
        number = message.get("reply_to")
        if not isinstance(number, str) or not number.startswith(_TYPED_ID):
            return None
        payload = message.get("payload")
        fields = payload if isinstance(payload, dict) else {}
        wait = fields.get("retry_after_ms")
        if isinstance(wait, int) and message["type"] == "error" and number in self.unanswered:
            self.hold_seconds = wait / 1000
            return f"{fields.get('message', 'Not now.')} This note goes out by itself then."
        self.unanswered.pop(number, None)
        if message["type"] == "ok":
            return _accepted(fields)
        said = f"Refused: {fields.get('message', message['type'])}."
        return _REFUSALS.get(str(fields.get("code")), said)

    def _note(self, text: str) -> str:
        self._number += 1
        number = f"{_TYPED_ID}{self._number}"
        note: dict[str, Any] = {"to": "others", "type": "note.text", "payload": {"text": text}}
        if self._kept != "none":
            note |= {"store": self._kept, "message_id": f"{self._run}-{self._number}"}
        message = orjson.dumps({"type": "device.send", "id": number, "payload": note}).decode()
        if self._kept != "none":
            self.unanswered[number] = message
        return message


def _accepted(payload: dict[str, Any]) -> str:
    devices = ", ".join(map(str, payload.get("delivered", [])))
    there = f"Delivered to device {devices}." if devices else "No other device is connected."
    if "offset" not in payload:
        return there
    again = " before" if payload.get("duplicate") else ""
    return f"Kept at {payload['offset']}{again}. {there}"


# Coming back


class Retry:
    """Decides after each lost connection how long to wait, and tells the person why.

    `asked_seconds` is the wait that the last `goaway` asked for.
    """

    def __init__(self, tell: Callable[[str], None], jitter: Callable[[], float] | None) -> None:
        self._tell = tell
        self._jitter = jitter or random.random
        self._failures = 0
        self.was_connected = False
        self.asked_seconds = 0.0

    def connected(self) -> None:
        """Begin the back-off anew: the next wait is a short one."""
        self._failures = 0
        self.was_connected = True

    def after_close(self, code: int, reason: str, *, renewed: bool = False) -> float:
        """Return seconds to wait; raise ListenEnded when the code forbids coming back.

        With a token that was `renewed` it does not.
        """
        known = next((one for one in CLOSES if (one.code, one.reason) == (code, reason)), None)
        meaning = known.meaning if known else "The connection was lost."
        if not renewed and not may_come_back(code):
            raise ListenEnded(f"Closed with {code} {reason}: {meaning}")
        return self._pause(f"Closed with {code} {reason}: {meaning}", self.asked_seconds)

    def after_refusal(self, status: int, retry_after: str, *, renewed: bool = False) -> float:
        """Return seconds to wait; raise ListenEnded when the upgrade was refused for good."""
        if renewed:
            return self._pause(f"The token has ended ({status}), and there is another one.")
        if status == 401:
            raise ListenEnded("The session is over or was never valid (401): sign in again.")
        if status not in _COME_BACK_STATUSES:
            raise ListenEnded(f"The server refused the connection with status {status}.")
        asked = retry_after.isascii() and retry_after.isdigit()
        return self._pause(f"The server is busy ({status}).", float(retry_after) if asked else 0.0)

    def after_failure(self, sentence: str) -> float:
        """Return seconds to wait; raise ListenEnded when the server was never reached."""
        if not self.was_connected:
            raise ListenEnded(sentence)
        return self._pause(sentence)

    def _pause(self, sentence: str, floor: float = 0.0) -> float:
        """Return the floor and a random part of the back-off, which spreads the returns of many."""
        ceiling = min(MAX_BACKOFF_SECONDS, 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        pause = floor + self._jitter() * ceiling
        self._tell(f"{sentence} Trying again in {pause:.1f} s.")
        return pause


def may_come_back(code: int) -> bool:
    """Tell whether a close code lets a client reconnect: by the table, else by its range."""
    known = [close.reconnect for close in CLOSES if close.code == code]
    return any(known) if known else not 4500 <= code < 5000
