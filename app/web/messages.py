"""Messages from the application's backend: one, or many in one request."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from aiohttp import web

from app.auth.api_keys import may_send
from app.base.errors import Problem, sentence
from app.keys import PUBLISHER, RECEIPTS
from app.protocol.messages import feature_of
from app.protocol.publication import Publication, ToEveryone
from app.publishing.checks import check_type, keep_of
from app.publishing.publisher import Draft, Publisher, Sent, sent
from app.publishing.receipts import Receipts
from app.requests.identity import still_holds
from app.requests.route import Route
from app.requests.rules import SENDING_KEY
from app.settings import Settings
from app.storage.api_keys import ApiKey
from app.web.bodies import InvalidBody, json_response, message_limit, parse, read_exact
from app.web.message_bodies import (
    MAX_BATCH_BYTES,
    BatchAnswer,
    BatchBody,
    MessageBody,
    SentAnswer,
)
from app.web.parameters import Described

IDEMPOTENCY_KEY: Final = "Idempotency-Key"

STEP: Final = 50
"""Messages of a batch that are read in one go, in about 2 ms; then the event loop has its turn."""

_KEEP_FIELDS: Final = ("store", "key", "ttl", "message_id", "delete", "payload")


async def send_message(request: web.Request, key: ApiKey) -> web.Response:
    """Answer 200 with the devices that took the message; a durable one is on disk."""
    value = await read_exact(request)
    draft = _draft(request, key, _with_id(value, _idempotency_key(request)))
    publisher = request.app[PUBLISHER]
    publication = await publisher.address(draft)
    still_holds(request, key)
    outcome = await sent(publisher.hand_over(publication))
    return json_response(await _answer(request.app[RECEIPTS], publication, outcome))


async def send_batch(request: web.Request, key: ApiKey) -> web.Response:
    """Answer 200 with the outcome of each message, in their order; no failure holds up another."""
    value = await read_exact(request)
    if IDEMPOTENCY_KEY in request.headers:
        raise _invalid_id("Each message of a batch has its own message_id.")
    body = parse(BatchBody, value)
    publisher = request.app[PUBLISHER]
    drafts = await _drafts(request, key, body.messages)
    messages = await asyncio.gather(*(_addressed(publisher, draft) for draft in drafts))
    still_holds(request, key)
    # All in one go, so that their offsets are in the order of the list.
    pending = [_handed_over(request, message) for message in messages]
    outcomes = await asyncio.gather(*(_outcome(one) for one in pending))
    return json_response({"outcomes": outcomes})


def _draft(request: web.Request, key: ApiKey, value: object) -> Draft:
    """Return the message that the value asks to send; raises Problem for all that is wrong."""
    body = parse(MessageBody, value)
    keep = keep_of({name: getattr(body, name) for name in _KEEP_FIELDS})
    check_type(body.type)
    if not may_send(key, feature_of(body.type)):
        raise Problem(403, "forbidden", "This key may not send this type.")
    request.app[PUBLISHER].check(body.type, body.payload)
    return Draft(body.to.target(), body.type, body.payload, keep, f"key:{key.id}")


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


async def _answer(receipts: Receipts, publication: Publication, outcome: Sent) -> dict[str, Any]:
    """Return what became of the message; of one to everyone the numbers of devices.

    It is stored by now. So if the devices for which it waits are unknown, that refuses nothing.
    """
    to_everyone = isinstance(publication.to, ToEveryone)
    waiting: list[int] | int | None = 0 if to_everyone else []
    place: dict[str, Any] = {}
    if outcome.stored is not None:
        place = {"epoch": outcome.stored.epoch, "offset": outcome.stored.offset}
        if outcome.stored.duplicate:
            place["duplicate"] = True
        waiting = await receipts.waiting(publication.to, outcome.stored)
    place["delivered"] = len(outcome.delivered) if to_everyone else outcome.delivered
    return place if waiting is None else {**place, "waiting": waiting}


# Batches: a Problem takes the place of the message that it refuses.


async def _drafts(
    request: web.Request, key: ApiKey, values: Sequence[object]
) -> list[Draft | Problem]:
    drafts: list[Draft | Problem] = []
    for value in values:
        try:
            drafts.append(_draft(request, key, value))
        except Problem as problem:
            drafts.append(problem)
        if len(drafts) % STEP == 0:
            await asyncio.sleep(0)
    return drafts


async def _addressed(publisher: Publisher, draft: Draft | Problem) -> Publication | Problem:
    if isinstance(draft, Problem):
        return draft
    try:
        return await publisher.address(draft)
    except Problem as problem:
        return problem


def _handed_over(
    request: web.Request, message: Publication | Problem
) -> Awaitable[dict[str, Any]] | Problem:
    if isinstance(message, Problem):
        return message
    try:
        handed = request.app[PUBLISHER].hand_over(message)
    except Problem as problem:
        return problem

    async def answer() -> dict[str, Any]:
        return await _answer(request.app[RECEIPTS], message, await sent(handed))

    return answer()


async def _outcome(pending: Awaitable[dict[str, Any]] | Problem) -> dict[str, Any]:
    if isinstance(pending, Problem):
        return _refused(pending)
    try:
        return {"status": 200, **await pending}
    except Problem as problem:
        return _refused(problem)


def _refused(problem: Problem) -> dict[str, Any]:
    refused: dict[str, Any] = {
        "status": problem.status,
        "code": problem.code,
        "detail": sentence(problem.detail),
    }
    if problem.retry_after_ms is not None:
        refused["retry_after_ms"] = problem.retry_after_ms
    if isinstance(problem, InvalidBody) and problem.errors:
        return {**refused, "errors": problem.errors}
    return refused


def _batch_limit(settings: Settings) -> int:
    """Return how many bytes a batch may have: 4 MiB, but never less than one message needs."""
    return max(MAX_BATCH_BYTES, message_limit(settings))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/v1/messages",
        handler=SENDING_KEY.before(send_message),
        body_limit=message_limit,
        tag="Backend",
        summary="Send a message",
        what="Needs the scope `send`. A message with `store` is on disk when the answer comes. "
        "To an `iss` and `sub` of the server's own issuer, it makes a user who never came.",
        parameters=(
            Described(
                name=IDEMPOTENCY_KEY,
                place="header",
                what="The same as `message_id` in the body.",
                schema={"type": "string", "minLength": 1},
            ),
        ),
        body=MessageBody,
        answer=SentAnswer,
        problems=(
            "400 invalid_message",
            "404 user_not_found",
            "404 device_not_found",
            "409 too_many_keys",
            "409 id_conflict",
            "429 too_many_ids",
            "503 overloaded",
            "503 storage_unavailable",
        ),
    ),
    Route(
        method="POST",
        path="/v1/messages/batch",
        handler=SENDING_KEY.before(send_batch),
        body_limit=_batch_limit,
        tag="Backend",
        summary="Send many messages",
        what="Needs the scope `send`. Each message has its own outcome, in the order of the list: "
        "one that is refused holds up no other. Kept ones get their offsets in that order.",
        body=BatchBody,
        answer=BatchAnswer,
    ),
)
