"""The tokens seen before: what they stand for, which are dead, what has ended lately."""

from dataclasses import dataclass

from app.auth.identity import Identity
from app.base.lru import Lru
from app.storage.endings import DeviceEnding, Ending, SessionEnding, UserEnding


@dataclass(slots=True, eq=False)
class Entry:
    """A token that holds."""

    identity: Identity
    last_used: int
    """Milliseconds since the epoch."""
    ended: bool = False
    """Set when the entry was dropped because its session is over."""


class TokenCache:
    """Entries by the hash of their token, and the ways to them that endings need."""

    def __init__(self, kept: int) -> None:
        self._entries: Lru[bytes, Entry] = Lru(kept)
        # Lists: a user has some dozens of tokens, and a set takes four times the memory.
        self._by_user: dict[int, list[bytes]] = {}
        self._by_session: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        return self._entries.get(key)

    def of_session(self, session_id: int) -> Entry | None:
        return self._by_session.get(session_id)

    def put(self, key: bytes, entry: Entry) -> None:
        """The token stands for this entry."""
        self.drop(key)
        self._by_user.setdefault(entry.identity.user_id, []).append(key)
        if entry.identity.session_id is not None:
            self._by_session[entry.identity.session_id] = entry
        for displaced in self._entries.put(key, entry):
            self._unlink(*displaced)

    def drop(self, key: bytes) -> None:
        """The token is not known here."""
        if (entry := self._entries.pop(key)) is not None:
            self._unlink(key, entry)

    def of_user(self, user_id: int) -> list[tuple[bytes, Entry]]:
        """Return the tokens of a user."""
        found = ((key, self._entries.get(key)) for key in self._by_user.get(user_id, ()))
        return [(key, entry) for key, entry in found if entry is not None]

    def _unlink(self, key: bytes, entry: Entry) -> None:
        identity = entry.identity
        keys = self._by_user[identity.user_id]
        keys.remove(key)
        if not keys:
            del self._by_user[identity.user_id]
        if identity.session_id is not None:
            self._by_session.pop(identity.session_id, None)


class Endings:
    """What has ended in this process lately, for those who resolved a token just before."""

    def __init__(self, kept: int) -> None:
        self._sessions: Lru[int, bool] = Lru(kept)
        self._users: Lru[int, int] = Lru(kept)
        self._devices: Lru[int, int] = Lru(kept)

    def add(self, ending: Ending) -> None:
        """Remember what has ended."""
        match ending:
            case SessionEnding(session_id=session_id):
                self._sessions.put(session_id, True)
                return
            case DeviceEnding(device_id=device_id):
                self._devices.put(device_id, ending.not_before)
            case UserEnding(user_id=user_id):
                self._users.put(user_id, ending.not_before)
        for session_id in ending.session_ids:
            self._sessions.put(session_id, True)

    def hold(self, identity: Identity) -> bool:
        """Return whether nothing here has ended the identity."""
        if identity.session_id is not None:
            return identity.session_id not in self._sessions
        issued = int((identity.issued_at or 0) * 1000)
        if issued <= (self._users.get(identity.user_id) or -1):
            return False
        device = identity.device_id
        return device is None or issued > (self._devices.get(device) or -1)
