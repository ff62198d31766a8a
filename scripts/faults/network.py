"""Networks of a trial's own, in which a cable can be cut; they go with their last process.

Needs Linux, iproute2 and util-linux, and root or user namespaces.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HERE: Final = "10.99.0.1"
THERE: Final = "10.99.0.2"

OUTSIDE: Final = "192.0.2.1"
"""An address of the documentation's (RFC 5737), which is no loopback address."""

APART: Final = ("unshare", "--net")
"""The beginning of a command that runs in a network of its own, where there is nothing yet."""

NOBODY: Final = "02:00:00:00:00:ff"
"""A hardware address that nobody has: what is sent to it is dropped without a word."""

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000


def enter_own_network() -> None:
    """Take this process, which has one thread, and its children to a new network with loopback.

    Raises OSError if the system does not allow that, or a program is missing.
    """
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            raise OSError(
                f"{program} is needed (on Debian and Ubuntu: apt install iproute2 util-linux)"
            )
    root = os.geteuid() == 0
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET | (0 if root else _CLONE_NEWUSER)):
        reason = os.strerror(ctypes.get_errno())
        raise OSError(f"no network of its own without root or user namespaces: {reason}")
    if not root:
        # Root in this namespace alone (user_namespaces(7)), so that there may be devices.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _run("ip", "link", "set", "lo", "up")


def enter_network() -> bool:
    """Do as `enter_own_network`, and add the address OUTSIDE; tell whether the system allows it."""
    try:
        enter_own_network()
    except OSError:
        return False
    _run("ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo")
    return True


class Cable:
    """A cable between this network and that of a process that runs `APART`.

    The process is at `THERE`, and finds us at `HERE`.
    """

    def __init__(self, pid: int) -> None:
        self._ours, self._theirs = f"here{pid}", f"there{pid}"
        self._inside = ("nsenter", f"--net=/proc/{pid}/ns/net")
        _run("ip", "link", "add", self._ours, "type", "veth", "peer", "name", self._theirs)
        _run("ip", "link", "set", self._theirs, "netns", str(pid))
        self._ends: tuple[tuple[Sequence[str], str, str, str], ...] = (
            ((), self._ours, HERE, THERE),
            (self._inside, self._theirs, THERE, HERE),
        )
        for inside, device, own, _ in self._ends:
            _run(*inside, "ip", "address", "add", f"{own}/30", "dev", device)
            _run(*inside, "ip", "link", "set", device, "up")

    def cut(self) -> None:
        """Drop all that is sent from now on, in both directions, without telling anybody."""
        for inside, device, _, other in self._ends:
            lost = ("lladdr", NOBODY, "nud", "permanent", "dev", device)
            _run(*inside, "ip", "neighbour", "replace", other, *lost)

    def remove(self) -> None:
        """Remove it, and with it the address here."""
        _run("ip", "link", "delete", self._ours)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
