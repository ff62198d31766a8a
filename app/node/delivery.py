"""From the log to the connections: pushed while they are live, read for those that are behind.

A connection is either live or behind. A live one is handed each row as it is committed. One that
comes back, or whose outbox was full, is behind: it reads its stream from its own position, at the
speed of its peer, until it has caught up. So no sender ever waits for a receiver.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from app.base.errors import StorageUnavailable
from app.base.foreign import handle_shown
from app.base.logs import fields
from app.base.metrics import Metrics
from app.node.connection import Connection
from app.node.registry import ConnectionManager
from app.node.turns import Turns
from app.protocol.close import INTERNAL, TOO_SLOW
from app.protocol.messages import Mark, Resume, Source, durable_frame, position
from app.protocol.position import Numbering, Position, resume
from app.storage.database import SNAPSHOT_READERS
from app.streams.base import EVERYONE, ReadLimits, Row, Slice, StreamLog
from app.streams.standings import Standings

STEP: Final = 500
"""Connections that are handed rows before the event loop gets a turn."""

PAGE: Final = ReadLimits(rows=200, bytes=65_536)
"""The most that a connection that is behind reads at once, beside the limits of its outbox."""

RETRY_SECONDS: Final = 1.0
"""Pause before a read that failed is tried again."""

MAX_TRIES: Final = 30
"""Reads in a row that may fail before the connection is closed and its client comes back."""

NOTHING: Final = -1
"""Below every offset: no snapshot, or no row that is replayed."""

RESET_REASONS: Final = ("removed", "foreign")
"""What the client lacks was removed meanwhile; its position is of another history, or of none."""

log = logging.getLogger(__name__)


class Delivery:
    """Hands rows of the log to the connections of this node."""

    def __init__(self, manager: ConnectionManager, streams: StreamLog, metrics: Metrics) -> None:
        self._manager = manager
        self._log = streams
        self._metrics = metrics
        self.standings = Standings(streams)
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        # As many connections read at once as there are readers.
        self._turns = Turns(SNAPSHOT_READERS)

    @property
    def behind(self) -> int:
        """How many connections are catching up."""
        return len(self._tasks)

    # A connection begins

    def place(self, connection: Connection, wanted: Position | None, *, live: bool) -> Resume:
        """Set where the connection starts, and return what `connected` says about it.

        `live` skips what was missed. Without `wanted` the device's cursor supplies the position.
        Call it in the step that registers the connection, and before `begin`.
        """
        standing = self.standings.of(connection.user_id, connection.device_id)
        numbering = self._log.numbering
        if live:
            wanted = None
        elif wanted is None and standing.cursor is not None:
            wanted = numbering.of_cursor(standing.cursor)
        start = resume(
            wanted, numbering, head=standing.head, floor=standing.floor, last=self._log.last
        )
        if start.outcome == "reset" and wanted is not None:
            self._metrics.resets[_reset_reason(wanted, numbering, self._log.last)] += 1
        place = connection.place
        place.position = place.last = place.told = start.offset
        place.behind = start.offset < standing.head
        head = max(standing.head, start.offset)
        return Resume(start.outcome, numbering.text, start.offset, head)

    def begin(self, connection: Connection, started: Resume, *, snapshot: bool) -> None:
        """Begin to hand over what the connection lacks, in the step in which it got `connected`.

        `snapshot` asks for the `latest` values also when the position is resumed.
        """
        standing = self.standings.of(connection.user_id, connection.device_id)
        wanted = snapshot if started.outcome == "resumed" else connection.positioned
        replay_upto = started.head if started.outcome == "reset" else NOTHING
        if standing.keys and wanted:
            self._start_catching_up(connection, started.head, replay_upto=replay_upto)
        elif connection.place.behind:
            self._start_catching_up(connection, replay_upto=replay_upto)
        else:
            self.tell(connection)

    def retire(self, connection: Connection) -> None:
        """Stop reading for a connection whose socket has ended."""
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop reading for all connections, and wait until no read runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.standings.close()

    def lag_of(self, connection: Connection) -> int:
        """Return how many offsets the connection is behind the head of its user's stream."""
        return max(0, self.standings.head(connection.user_id) - connection.place.position)

    def tell(self, connection: Connection) -> None:
        """Tell a positioned client up to where it has everything."""
        if connection.positioned and connection.closing is None:
            place = connection.place
            place.told = place.position
            told = position(self._log.numbering.text, place.position, live=not place.behind)
            connection.reply(told.frame)

    def tell_if_moved(self, connection: Connection) -> None:
        """Tell a positioned client its position, if it moved since the client was told one."""
        if connection.place.told != connection.place.position:
            self.tell(connection)

    def acknowledge(self, connection: Connection, offset: int) -> bool:
        """Move the device's cursor; False when the offset is above all that was sent.

        If it acknowledges the newest message that it was handed, the cursor moves to the
        connection's position, which may be past rows of others.
        """
        place = connection.place
        if offset > max(place.last, place.told):
            return False
        reached = place.position if offset >= place.last else offset
        epoch = self._log.numbering.epoch
        self.standings.acknowledge(
            connection.user_id, connection.device_id, Position(epoch, reached)
        )
        return True

    # What is committed

    async def deliver(self, rows: Sequence[Row]) -> list[list[int]]:
        """Hand the rows to the connections that are live; return the devices that took each.

        The first step, without an await, moves the heads and lists the live connections. One that
        comes or catches up later compares itself with these heads, and reads what it lacks.
        """
        live = {user_id: self._live(user_id) for user_id in {row.user_id for row in rows}}
        self.standings.advance(rows)
        taken: list[list[int]] = []
        steps = 0
        for row in rows:
            connections = live[row.user_id]
            frame = b""
            devices: dict[int, None] = {}
            for connection in connections:
                if self._lacks(connection, row):
                    frame = frame or _frame(row)
                    if self._push(connection, row, frame):
                        devices[connection.device_id] = None
                steps += 1
                if steps == STEP:
                    steps = 0
                    await asyncio.sleep(0)
            taken.append(list(devices))
        return taken

    def doubt(self) -> None:
        """Have every connection read its stream: the log may hold rows that nobody was handed."""
        self.standings.doubt()
        for connection in self._manager.connections():
            if not connection.place.behind:
                self._start_catching_up(connection)

    def lost(self, floor: int) -> None:
        """Close every connection that may lack something up to `floor`, the floor of everyone.

        Rows up to there were damaged or missing, and nobody knows whose. The devices come back,
        and are told `reset`.
        """
        self.standings.raise_floors({EVERYONE: floor})
        for connection in self._manager.connections():
            if connection.place.position < floor:
                connection.disconnect(INTERNAL)

    def _live(self, user_id: int) -> list[Connection]:
        if user_id == EVERYONE:
            found = self._manager.connections()
        else:
            found = self._manager.of_user(user_id)
        return [connection for connection in found if not connection.place.behind]

    @staticmethod
    def _lacks(connection: Connection, row: Row) -> bool:
        """Tell whether the connection needs the row; move its position past a row of others."""
        place = connection.place
        if place.behind or place.position >= row.offset or connection.closing is not None:
            return False
        if row.is_for(connection.device_id, connection.instance):
            return True
        place.position = row.offset
        return False

    def _push(self, connection: Connection, row: Row, frame: bytes) -> bool:
        """Hand over the row, or turn a connection that cannot take it behind."""
        if not connection.send(frame):
            self._start_catching_up(connection)
            return False
        place = connection.place
        place.position = place.last = row.offset
        return True

    # Catching up

    def _start_catching_up(
        self, connection: Connection, snapshot_upto: int = NOTHING, replay_upto: int = NOTHING
    ) -> None:
        connection.place.behind = True
        task = asyncio.create_task(self._catch_up(connection, snapshot_upto, replay_upto))
        self._tasks[connection] = task
        task.add_done_callback(lambda _: self._forget(connection, task))

    def _forget(self, connection: Connection, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(connection) is task:
            del self._tasks[connection]
        if not task.cancelled() and task.exception() is not None:
            log.error("catching up failed", exc_info=task.exception())
            connection.disconnect(INTERNAL)

    async def _catch_up(self, connection: Connection, snapshot_upto: int, replay_upto: int) -> None:
        """Hand over what the connection lacks, and turn it live in the step in which it has all.

        Rows up to `replay_upto`, the head that a `reset` has told, are marked as replayed.
        """
        if snapshot_upto > NOTHING:
            await self._send_snapshot(connection, snapshot_upto)
        place = connection.place
        gone = place.position
        while connection.closing is None:
            await connection.drained()
            page = await self._read(connection)
            if page is None or connection.is_closing():
                return
            if place.position <= gone and page.floor <= replay_upto:
                # `reset` has told it of a gap, which grows as long as no row has come after it.
                gone = page.floor
            if page.floor > max(gone, place.position):
                # Rows that it lacks were pruned meanwhile: it is told so when it comes back.
                self.standings.raise_floors({connection.user_id: page.floor})
                connection.disconnect(TOO_SLOW)
                return
            for row in page.rows:
                if row.offset > place.position:
                    mark: Mark | None = "replayed" if row.offset <= replay_upto else None
                    self._hand_over(connection, row, mark)
            place.position = max(place.position, page.through)
            if page.through >= self.standings.head(connection.user_id):
                place.behind = False
                self.tell(connection)
                return

    def _hand_over(self, connection: Connection, row: Row, mark: Mark | None) -> None:
        if row.is_for(connection.device_id, connection.instance):
            connection.reply(_frame(row, mark))
            connection.place.last = row.offset
        connection.place.position = row.offset

    async def _read(self, connection: Connection) -> Slice | None:
        def page() -> Awaitable[Slice]:
            return self._log.read(connection.user_id, connection.place.position, PAGE)

        return await self._ask(connection, page)

    async def _send_snapshot(self, connection: Connection, upto: int) -> None:
        """Hand over the `latest` values as they are now; that moves no position."""
        after = 0

        def page() -> Awaitable[Slice]:
            user_id, device_id = connection.user_id, connection.device_id
            return self._log.latest(user_id, device_id, after=after, upto=upto, limits=PAGE)

        while after < upto and connection.closing is None:
            await connection.drained()
            found = await self._ask(connection, page)
            if found is None or connection.is_closing():
                return
            for row in found.rows:
                if row.is_for(connection.device_id, connection.instance):
                    connection.reply(_frame(row, "snapshot"))
            after = found.through

    async def _ask(
        self, connection: Connection, read: Callable[[], Awaitable[Slice]]
    ) -> Slice | None:
        """Return what is read; None if the connection ends first, or reading fails for too long."""
        for _ in range(MAX_TRIES):
            if connection.closing is not None:
                return None
            try:
                async with self._turns.of(connection.user_id):
                    return await read()
            except StorageUnavailable as error:
                self._note_failure(connection, error)
                await asyncio.sleep(RETRY_SECONDS)
        connection.disconnect(INTERNAL)
        return None

    @staticmethod
    def _note_failure(connection: Connection, error: Exception) -> None:
        log.warning(
            "stream not read",
            extra=fields(
                user=connection.user_id,
                handle=handle_shown(connection.handle),
                connection=connection.connection_id,
                reason=type(error).__name__,
            ),
        )


def _reset_reason(wanted: Position, numbering: Numbering, last: int) -> str:
    removed, foreign = RESET_REASONS
    return removed if numbering.holds(wanted, last) else foreign


def _frame(row: Row, mark: Mark | None = None) -> bytes:
    source = None
    # A feature's answer counts as a device's, but no instance of it has sent the message.
    if row.source_instance:
        source = Source(row.source_device, row.source_instance)
    return durable_frame(
        row.type,
        row.payload,
        offset=row.offset,
        time=row.created_at,
        key=row.key,
        deleted=bool(row.deleted),
        source=source,
        mark=mark,
    )
