"""Does what the curl commands of a page do."""

import json
import shlex
from collections.abc import Sequence
from string import Template
from typing import Any

import aiohttp
from serving import Server

from tests.docs.conversation import alike
from tests.docs.pages import Example


async def curl(server: Server, key: str, command: str) -> Any:
    """Do what curl would, and return the body of the answer."""
    filled = Template(command).substitute(URL=f"http://{server.host}", KEY=key)
    program, *words = shlex.split(filled.replace("\\\n", " "))
    assert program == "curl"
    [url] = [word for word in words if word.startswith("http://")]
    words.remove(url)
    given = list(zip(words[::2], words[1::2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in given if name == "-H")
    [body] = [value for name, value in given if name == "-d"] or [None]
    [method] = [value for name, value in given if name == "-X"] or [
        "GET" if body is None else "POST"
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, data=body) as response,
    ):
        return json.loads(await response.read())


async def play(server: Server, key: str, examples: Sequence[Example]) -> int:
    """Send each request and compare its answer with the one shown; return how many there were."""
    played = 0
    requests: list[Example] = []
    for example in examples:
        if (example.language, example.role) == ("sh", "curl"):
            requests.append(example)
        elif example.role == "answer":
            answer = await curl(server, key, requests.pop().text)
            assert alike(answer) == alike(example.json)
            played += 1
    assert requests == []
    return played
