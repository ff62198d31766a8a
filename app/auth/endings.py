"""What has ended in this process: remembered for a while, and the connections that it closes."""

from collections.abc import Iterable
from dataclasses import dataclass

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
            # With the user, whose connections are few: many sessions may end at once.
            return Selector(user_id=ending.user_id, session_id=ending.session_id)
        case DeviceEnding():
            return Selector(user_id=ending.user_id, device_id=ending.device_id)
        case UserEnding():
            return Selector(user_id=ending.user_id, except_session_id=ending.kept_session_id)


@dataclass(frozen=True, slots=True)
class _OfUser:
    """What has ended of a user: sessions up to an id but one, and JWTs up to a time."""

    not_before: int
    sessions_upto: int
    kept_session_id: int | None


class RecentEndings:
    """The sessions, JWTs, users and devices that have ended lately, at least `kept` of each.

    It is asked for identities that were resolved before that, such as those of upgrades under way.
    """

    def __init__(self, kept: int) -> None:
        self._sessions: Lru[int, bool] = Lru(kept)
        self._jwts: Lru[bytes, bool] = Lru(kept)
        self._users: Lru[int, _OfUser] = Lru(kept)
        self._devices: Lru[int, int] = Lru(kept)
        self._removed: Lru[int, bool] = Lru(kept)

    def add(self, ending: Ending) -> None:
        """Remember what has ended."""
        match ending:
            case SessionEnding():
                self._sessions.put(ending.session_id, True)
            case JwtEnding():
                self._jwts.put(ending.jwt_hash, True)
            case DeviceEnding():
                self._devices.put(ending.device_id, ending.not_before)
                if ending.removed:
                    self._removed.put(ending.device_id, True)
            case UserEnding():
                self._add_user(ending)

    def include(self, identity: Identity) -> bool:
        """Return whether one of the endings is the identity's."""
        if identity.session_id is not None:
            return self._include_session(identity, identity.session_id)
        if identity.jwt_hash is not None and identity.jwt_hash in self._jwts:
            return True
        issued = milliseconds(identity.issued_at or 0)
        user = self._users.get(identity.user_id)
        if user is not None and issued <= user.not_before:
            return True
        device = identity.device_id
        return device is not None and issued <= (self._devices.get(device) or -1)

    def _include_session(self, identity: Identity, session_id: int) -> bool:
        if session_id in self._sessions:
            return True
        if identity.device_id is not None and identity.device_id in self._removed:
            return True
        user = self._users.get(identity.user_id)
        if user is None or session_id > user.sessions_upto:
            return False
        return session_id != user.kept_session_id

    def _add_user(self, ending: UserEnding) -> None:
        former = self._users.get(ending.user_id)
        # Rows that are gone do not count any more, and no id is given out again.
        upto = max(ending.sessions_upto, former.sessions_upto if former is not None else 0)
        self._users.put(ending.user_id, _OfUser(ending.not_before, upto, ending.kept_session_id))
