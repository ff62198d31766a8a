"""Passwords and tokens on their way in: never as an argument, which everybody could read."""

import os
import sys

import click

# Far above the longest password or token.
_MAX_LINE_BYTES = 65_536


def password_from(stdin: bool, *, confirm: bool) -> str:
    """Return a password: a line of standard input, or what is typed unseen on a terminal.

    Raises UsageError when there is neither.
    """
    if stdin:
        return first_line("password")
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal, give the password with --password-stdin.")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return password


def first_line(what: str) -> str:
    """Return the first line of standard input without its end; raise UsageError if it is empty."""
    line = _read_line().rstrip("\r\n")
    if not line:
        raise click.UsageError(f"There is no {what} on standard input.")
    return line


def _read_line() -> str:
    """Take one line and not a byte more, since what follows it may be for somebody else."""
    try:
        descriptor = sys.stdin.fileno()
    except OSError:
        return sys.stdin.readline()
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    return line.decode("utf-8", "replace")
