"""What a device need not have, since retention removed it before the device came back for it."""


class Gaps:
    """The gaps of which a device was told by `reset`: each ends below what comes first after it.

    It holds for streams without `latest` values and messages to everyone, of which some may be left
    where others were removed.
    """

    def __init__(self) -> None:
        self._closed: list[range] = []
        self._open: range | None = None

    def told(self, above: int, head: int) -> None:
        """Note a `reset` of a device that has everything up to `above`, which told this head."""
        self._open = range(above + 1, head + 1)

    def lost_connection(self) -> None:
        """Forget a gap after which nothing came: the device is told of it again."""
        self._open = None

    def came(self, offset: int) -> None:
        """Note that the first message after a gap has this offset, or would have it at least."""
        if self._open is not None:
            start, end = self._open.start, self._open.stop
            self._closed.append(range(start, min(end, offset)))
            self._open = None

    def __contains__(self, offset: int) -> bool:
        return any(offset in gap for gap in self._closed)
