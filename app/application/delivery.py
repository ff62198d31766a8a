"""The node with its limits, and the door through which messages come to features."""

from collections.abc import AsyncIterator

from aiohttp import web

from app.application.background import background
from app.features.accepted import AcceptedFeature
from app.features.ack import AckFeature
from app.features.device import DeviceFeature, SendLimits
from app.features.dispatch import Dispatcher
from app.features.door import Door
from app.features.feature import Feature, handlers, load_features
from app.features.lines import LineLimits, Lines
from app.features.presence import PresenceFeature
from app.features.token import TokenFeature
from app.keys import (
    CLOCK,
    DATABASE,
    DOOR,
    LAST_WRITES,
    MANAGER,
    METRICS,
    NODE,
    PUBLISHER,
    SESSIONS,
    SETTINGS,
    STREAMS,
)
from app.node.allowance import Pace, UserLimits
from app.node.deadlines import TimeLimits
from app.node.inflow import RateLimit
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.protocol.frames import wire_size
from app.protocol.messages import RESERVED_PREFIXES, SERVER_PREFIXES
from app.settings import Settings
from app.streams.audit import Audit
from app.streams.maintenance import Maintenance


async def run_node(app: web.Application) -> AsyncIterator[None]:
    """Run what pings, commits, keeps and checks; at the end answer what was taken."""
    settings = app[SETTINGS]
    node = app[NODE] = Node(
        app[MANAGER],
        app[STREAMS],
        app[METRICS],
        NodeLimits(
            time=TimeLimits(
                heartbeat=settings.heartbeat_seconds,
                stall=settings.stall_seconds,
                message=settings.message_seconds,
            ),
            outbox=OutboxLimits(frames=settings.max_outbox_frames, bytes=settings.max_outbox_bytes),
            message_bytes=settings.max_message_bytes,
            unfinished_bytes=_unfinished_bytes(settings),
            reconnect_window=settings.reconnect_window_seconds,
            user=_user_limits(settings),
        ),
        calendar=app[CLOCK],
    )
    node.watch()
    removals = app[METRICS].removals
    maintenance = Maintenance(node.log, node.delivery.standings, removals=removals)
    audit = Audit(app[STREAMS], app[DATABASE], app[METRICS], node.delivery.lost)
    await audit.begin()
    async with (
        background(app, node.run(), "node"),
        background(app, node.committer.run(), "committer"),
        background(app, maintenance.run(), "keeper"),
        background(app, audit.run(), "audit"),
    ):
        yield
        audit.stop()
    # Nobody sends any more; what was taken still has its answer, and is on disk.
    await node.committer.drain()
    await node.delivery.close()
    await app[LAST_WRITES].attempt("cursors", maintenance.close())


def _unfinished_bytes(settings: Settings) -> int:
    most = settings.unfinished_bytes_per_user
    # One message that is allowed can always be sent.
    return most and max(most, wire_size(settings.max_message_bytes))


def _user_limits(settings: Settings) -> UserLimits:
    return UserLimits(
        messages=Pace(settings.user_messages_per_second, settings.user_messages_burst),
        bytes=Pace(
            settings.user_bytes_per_second,
            # Two of the largest messages always fit, whatever the rate.
            max(settings.user_bytes_burst, 2 * settings.max_message_bytes),
        ),
        deliveries=Pace(settings.user_deliveries_per_second, settings.user_deliveries_burst),
        durable=Pace(settings.user_durable_per_second, settings.user_durable_burst),
        upgrades=Pace(settings.user_upgrades_per_second, settings.user_upgrades_burst),
        writes=Pace(settings.user_writes_per_second, settings.user_writes_burst),
    )


async def run_door(app: web.Application) -> AsyncIterator[None]:
    """Load the features, and open the door through which messages come to them."""
    settings, node = app[SETTINGS], app[NODE]
    own = load_features(settings.features, node)
    taken = {feature.prefix for feature in own}
    # Prefixes of features that are not part of this server yet: clients speak some of them.
    accepted = [AcceptedFeature(prefix) for prefix in RESERVED_PREFIXES - taken]
    owned = frozenset({*taken, *SERVER_PREFIXES, *RESERVED_PREFIXES})
    limits = SendLimits(
        node.allowances.limited,
        settings.durable_prefixes,
        Pace(settings.durable_per_second, settings.durable_burst),
    )
    device = DeviceFeature(node, app[PUBLISHER], owned, limits)
    presence = PresenceFeature(node)
    app[SESSIONS].on_devices_changed = presence.list_changed
    token = TokenFeature(node, app[SESSIONS])
    features: list[Feature] = [device, presence, token, *own, *accepted]
    found = handlers(features)
    ack = AckFeature(node)
    for prefix in found:
        # Known from the start, so that it counts by its name whoever sends the first one.
        app[METRICS].sent.add(prefix, 0)
    received = app[METRICS].received
    dispatcher = Dispatcher({**found, ack.prefix: ack.handle}, received, naming={device.prefix})
    waits = LineLimits(
        handler_seconds=settings.handler_seconds, message_bytes=settings.max_message_bytes
    )
    lines = Lines(dispatcher, app[METRICS], waits, pausing={device.prefix})
    app[DOOR] = Door(node, dispatcher, lines, settings.max_message_bytes, _rate_limit(settings))
    yield
    presence.close()


def _rate_limit(settings: Settings) -> RateLimit:
    return RateLimit(
        messages_per_second=settings.messages_per_second,
        messages_burst=settings.messages_burst,
        bytes_per_second=settings.bytes_per_second,
        # Two of the largest messages always fit, whatever the rate.
        bytes_burst=2 * max(settings.bytes_per_second, wire_size(settings.max_message_bytes)),
    )
