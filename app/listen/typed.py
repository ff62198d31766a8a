"""What is typed into a listener, on its way to the server and until its answer is there."""

import contextlib
import secrets
from typing import Any, Literal

import orjson

Kept = Literal["none", "log"]
"""How a typed note is kept: for those connected now, or also for those who are away."""

_ANSWERED = "typed-"


class Typed:
    """Turns typed lines into messages, and says which of them are still to be sent.

    A note that is kept has a `message_id`, so that sending it again after a cut line is harmless:
    it is in `unanswered` until the server has answered.
    """

    def __init__(self, kept: Kept = "none") -> None:
        self._kept = kept
        self._number = 0
        # Notes of another run of the program must not be taken for repeats of ours.
        self._run = secrets.token_hex(8)
        self.unanswered: dict[str, str] = {}

    def message_of(self, line: str) -> str | None:
        """Return what a line means: itself if it is a message, else a note to the others."""
        text = line.strip()
        if not text:
            return None
        with contextlib.suppress(orjson.JSONDecodeError):
            record = orjson.loads(text)
            if isinstance(record, dict) and isinstance(record.get("type"), str):
                return text
        return self._note(text)

    def answer(self, message: dict[str, Any]) -> str | None:
        """Return the sentence for the answer to a note; None when this is none."""
        number = message.get("reply_to")
        if not isinstance(number, str) or not number.startswith(_ANSWERED):
            return None
        self.unanswered.pop(number, None)
        payload = message.get("payload")
        fields = payload if isinstance(payload, dict) else {}
        if message["type"] == "ok":
            return _accepted(fields)
        return f"Refused: {fields.get('message', message['type'])}."

    def _note(self, text: str) -> str:
        self._number += 1
        number = f"{_ANSWERED}{self._number}"
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
