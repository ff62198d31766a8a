"""What has ended in this process: remembered for a while, and the connections that it closes."""

from collections.abc import Iterable

from app.auth.tokens import Identity
from app.base.lru import Lru
from app.protocol.close import REVOKED, Close, Selector
from app.storage.endings import DeviceEnding, Ending, JwtEnding, SessionEnding, UserEnding
from app.storage.schema import milliseconds

ToClose = list[tuple[Selector, Close]]
"""Connections that have ended: the caller gives each to `node.disconnect`."""


def connections_of(endings: Iterable[Ending], close: Close = REVOKED) -> ToClose:
    """Return the connections of what was ended, and the close to give them."""
    return [(_selector(ending), close) for ending in endings if not isinstance(ending, JwtEnding)]


def _selector(ending: SessionEnding | DeviceEnding | UserEnding) -> Selector:
    match ending:
        case SessionEnding():
            return Selector(session_id=ending.session_id)
        case DeviceEnding():
            return Selector(user_id=ending.user_id, device_id=ending.device_id)
        case UserEnding():
            return Selector(user_id=ending.user_id, except_session_id=ending.kept_session_id)


class RecentEndings:
    """The sessions, JWTs, users and devices that have ended lately, at least `kept` of each.

    It is asked for identities that were resolved before that, such as those of upgrades under way.
    """

    def __init__(self, kept: int) -> None:
        self._sessions: Lru[int, bool] = Lru(kept)
        self._jwts: Lru[bytes, bool] = Lru(kept)
        self._users: Lru[int, int] = Lru(kept)
        self._devices: Lru[int, int] = Lru(kept)

    def add(self, ending: Ending) -> None:
        """Remember what has ended."""
        match ending:
            case SessionEnding():
                self._add_sessions([ending.session_id])
            case JwtEnding():
                self._jwts.put(ending.jwt_hash, True)
            case DeviceEnding():
                self._devices.put(ending.device_id, ending.not_before)
                self._add_sessions(ending.session_ids)
            case UserEnding():
                self._users.put(ending.user_id, ending.not_before)
                self._add_sessions(ending.session_ids)

    def include(self, identity: Identity) -> bool:
        """Return whether one of the endings is the identity's."""
        if identity.session_id is not None:
            return identity.session_id in self._sessions
        if identity.jwt_hash is not None and identity.jwt_hash in self._jwts:
            return True
        issued = milliseconds(identity.issued_at or 0)
        if issued <= (self._users.get(identity.user_id) or -1):
            return True
        device = identity.device_id
        return device is not None and issued <= (self._devices.get(device) or -1)

    def _add_sessions(self, session_ids: Iterable[int]) -> None:
        for session_id in session_ids:
            self._sessions.put(session_id, True)
