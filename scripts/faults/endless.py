"""A feature such as an operator may have, whose handlers hang; the trial `hang` loads it."""

import asyncio

from app.features import ClientMessage, Connection, Outcome


class Endless:
    """`hang.forever` is never answered; everything else is, when its turn comes."""

    prefix = "hang"

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Wait until cancelled, or answer `ok`."""
        if message.type == "hang.forever":
            await asyncio.Event().wait()
        return None


endless = Endless()
