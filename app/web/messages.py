"""Messages from the application's backend: one, or many in one request."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from aiohttp import web

from app.auth.api_keys import may_send
from app.base.errors import Problem
from app.keys import BACKEND, SETTINGS
from app.node.node import Send
from app.protocol.messages import feature_of
from app.publishing.backend import Backend, Message, Sent, check_size, check_type, keep_of, sent
from app.requests.identity import authorize, still_holds
from app.storage.api_keys import ApiKey
from app.web.answers import json_response
from app.web.bodies import message_limit, parse, read_exact
from app.web.message_bodies import MAX_BATCH_BYTES, BatchBody, MessageBody
from app.web.problems import InvalidBody

IDEMPOTENCY_KEY = "Idempotency-Key"

_KEEP_FIELDS = ("store", "key", "ttl", "message_id")

# Messages of a batch that are read in one go, about 2 ms; then the loop breathes.
_STEP = 50


async def send_message(request: web.Request) -> web.Response:
    """200 with who took the message; a durable one is on disk."""
    key = await authorize(request, "send")
    value = await read_exact(request, _message_limit(request))
    message = _message(request, key, _with_id(value, _idempotency_key(request)))
    backend = request.app[BACKEND]
    send = await backend.address(message)
    still_holds(request, key)
    outcome = await sent(backend.hand_over(send))
    return json_response(await _answer(backend, send, outcome))


async def send_batch(request: web.Request) -> web.Response:
    """200 with the outcome of each message, in their order; one that fails holds up no other."""
    key = await authorize(request, "send")
    value = await read_exact(request, max(MAX_BATCH_BYTES, _message_limit(request)))
    if IDEMPOTENCY_KEY in request.headers:
        raise _invalid_id("Each message of a batch has its own message_id.")
    body = parse(BatchBody, value)
    backend = request.app[BACKEND]
    messages = await _messages(request, key, body.messages)
    sends = await asyncio.gather(*(_addressed(backend, message) for message in messages))
    still_holds(request, key)
    # In one go, so that offsets are in the order of the list.
    pending = [_handed_over(backend, send) for send in sends]
    outcomes = await asyncio.gather(*(_outcome(one) for one in pending))
    return json_response({"outcomes": outcomes})


def _message_limit(request: web.Request) -> int:
    return message_limit(request.app[SETTINGS].max_message_bytes)


def _message(request: web.Request, key: ApiKey, value: object) -> Message:
    """Return what is asked to be sent; raises Problem for whatever is wrong with it."""
    body = parse(MessageBody, value)
    keep = keep_of({name: getattr(body, name) for name in _KEEP_FIELDS})
    check_type(body.type)
    if not may_send(key, feature_of(body.type)):
        raise Problem(403, "forbidden", "This key may not send this type.")
    check_size(body.type, body.payload, request.app[SETTINGS].max_message_bytes)
    return Message(body.to.target(), body.type, body.payload, keep, f"key:{key.id}")


def _idempotency_key(request: web.Request) -> str | None:
    """Return the message id of the header: bare, or in the quotes of a structured field."""
    given = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not given:
        return None
    text = given[0].strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(given) > 1 or not text:
        raise _invalid_id("One Idempotency-Key, and not an empty one.")
    return text


def _with_id(value: dict[str, Any], message_id: str | None) -> dict[str, Any]:
    if message_id is None:
        return value
    if value.get("message_id") not in (None, message_id):
        raise _invalid_id("Idempotency-Key and message_id are two ids for one message.")
    return {**value, "message_id": message_id}


def _invalid_id(detail: str) -> Problem:
    return InvalidBody(detail, ({"field": "message_id", "code": "message_id", "detail": detail},))


async def _answer(backend: Backend, send: Send, outcome: Sent) -> dict[str, Any]:
    """Return what became of the message; of one to everyone the numbers of devices.

    It is stored by now, so who it waits for may be unknown, and is no reason to refuse it.
    """
    place: dict[str, Any] = {}
    if outcome.stored is not None:
        place = {"epoch": outcome.stored.epoch, "offset": outcome.stored.offset}
        if outcome.stored.duplicate:
            place["duplicate"] = True
    waiting: list[int] | int | None
    if send.where == "everyone":
        place["delivered"] = len(outcome.delivered)
        waiting = await backend.count_waiting(outcome)
    else:
        place["delivered"] = outcome.delivered
        waiting = await backend.waiting(send, outcome)
    return place if waiting is None else {**place, "waiting": waiting}


# Batches: a Problem stands in the place of what it refused.


async def _messages(
    request: web.Request, key: ApiKey, values: Sequence[object]
) -> list[Message | Problem]:
    messages: list[Message | Problem] = []
    for value in values:
        try:
            messages.append(_message(request, key, value))
        except Problem as problem:
            messages.append(problem)
        if len(messages) % _STEP == 0:
            await asyncio.sleep(0)
    return messages


async def _addressed(backend: Backend, message: Message | Problem) -> Send | Problem:
    if isinstance(message, Problem):
        return message
    try:
        return await backend.address(message)
    except Problem as problem:
        return problem


def _handed_over(backend: Backend, send: Send | Problem) -> Awaitable[dict[str, Any]] | Problem:
    if isinstance(send, Problem):
        return send
    try:
        handed = backend.hand_over(send)
    except Problem as problem:
        return problem

    async def answer() -> dict[str, Any]:
        return await _answer(backend, send, await sent(handed))

    return answer()


async def _outcome(pending: Awaitable[dict[str, Any]] | Problem) -> dict[str, Any]:
    if isinstance(pending, Problem):
        return _refused(pending)
    try:
        return {"status": 200, **await pending}
    except Problem as problem:
        return _refused(problem)


def _refused(problem: Problem) -> dict[str, Any]:
    refused = {"status": problem.status, "code": problem.code, "detail": problem.detail}
    if isinstance(problem, InvalidBody) and problem.errors:
        return {**refused, "errors": problem.errors}
    return refused
