"""Installs the peers: other projects' servers, each with an equivalent program of a page.

They go into folders of their own beside this file, and never into the project's locks: `.venv` from
requirements.txt, `node/node_modules` from node/package-lock.json.
"""

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.load import PLAIN, Speech
from scripts.benchmark.servers import ROOT, Program
from scripts.benchmark.texts import SOCKET_IO_KINDS

PLACE = Path(__file__).parent
NODE = PLACE / "node"
INSTALL_SECONDS = 600
START_SECONDS = 30


class NotInstalled(Exception):
    """A peer cannot be installed or started; the text says why."""


def _run(command: Sequence[str | Path], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise NotInstalled(f"{Path(command[0]).name} ended with {done.returncode}: {said[-1]}")


def install_once(lock: Path, marker: Path, install: Callable[[], None]) -> None:
    """Install, unless `marker` says that it was done from this very lock."""
    wanted = str(zlib.crc32(lock.read_bytes()))
    if marker.exists() and marker.read_text() == wanted:
        return
    print(f"Installing the peers in {lock.parent.name}/{lock.name} …", file=sys.stderr)
    install()
    marker.write_text(wanted)


def python(place: Path = PLACE) -> Path:
    """Return the interpreter of the Python peers; raises NotInstalled."""
    environment, lock = place / ".venv", place / "requirements.txt"
    program = environment / "bin" / "python"

    def install() -> None:
        _run([sys.executable, "-m", "venv", "--clear", environment], place)
        pip: list[str | Path] = [
            program,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        _run([*pip, "--no-input", "--require-hashes", "-r", lock], place)

    install_once(lock, environment / "installed-lock", install)
    return program


def node_modules(place: Path = NODE) -> Path:
    """Return the folder of the Node peers; raises NotInstalled."""
    modules = place / "node_modules"

    def install() -> None:
        # Packages run no scripts of theirs; Bun's binary is a package of its own.
        _run(["npm", "ci", "--loglevel=error", "--ignore-scripts"], place)

    install_once(place / "package-lock.json", modules / ".installed-lock", install)
    return modules


def _node() -> Path:
    node_modules()
    found = shutil.which("node")
    if not found:
        raise NotInstalled("there is no node")
    return Path(found)


def _bun() -> Path:
    """Return the first of Bun's binaries that this processor can run."""
    for program in sorted((node_modules() / "@oven").glob("bun-*/bin/bun")):
        if not subprocess.run([program, "--version"], capture_output=True).returncode:
            return program
    raise NotInstalled("no package with a binary of Bun for this machine came with bun")


def _from_python(module: str) -> Callable[[], list[str | Path]]:
    return lambda: [python(), "-m", f"scripts.benchmark.peers.{module}"]


def _socket_io(group: int) -> str:
    return f"/socket.io/?EIO=4&transport=websocket&group={group}"


def _by_path(group: int) -> str:
    return f"/{group}"


SOCKET_IO = Speech(SOCKET_IO_KINDS, welcome="40{", hello="40")


@dataclass(frozen=True, slots=True)
class Peer:
    """How to install a peer and talk to it."""

    command: Callable[[], list[str | Path]]
    path: Callable[[int], str] = _by_path
    speech: Speech = PLAIN


PEERS = {
    "picows": Peer(_from_python("picows_server")),
    "websockets": Peer(_from_python("websockets_server")),
    "python-socketio": Peer(_from_python("socketio_server"), _socket_io, SOCKET_IO),
    "ws": Peer(lambda: [_node(), NODE / "ws.js"]),
    "socket.io": Peer(lambda: [_node(), NODE / "socketio.js"], _socket_io, SOCKET_IO),
    "bun": Peer(lambda: [_bun(), NODE / "bun.js"]),
}


def _try(program: Program) -> Program:
    """Return the program once it was seen to start; raises NotInstalled."""
    try:
        done = subprocess.run(
            program.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=START_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"it does not start: {error}") from error
    if not done.stdout.strip().isdigit():
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotInstalled(f"it does not start: {said[-1]}")
    return program


def installed(names: Iterable[str]) -> tuple[list[Program], list[str]]:
    """Return the peers of these names, and a sentence for each that is missing."""
    programs, missing = [], []
    for name in names:
        peer = PEERS[name]
        try:
            programs.append(_try(Program(name, peer.command(), peer.path, peer.speech)))
        except NotInstalled as reason:
            missing.append(f"{name} is missing: {reason}")
    return programs, missing
