"""Turns the C programs beside this file into executables."""

import os
import shutil
import subprocess
from pathlib import Path

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
SOURCES = Path(__file__).parent


def compiler() -> str:
    """Return the C compiler's command; raises OSError when there is none."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise OSError("a C compiler is needed (on Debian and Ubuntu: apt install gcc libc6-dev)")


def compile_program(name: str, folder: Path) -> Path:
    """Compile NAME.c into the folder and return the executable's path."""
    program = folder / name
    subprocess.run(
        [compiler(), *FLAGS, "-o", str(program), str(SOURCES / f"{name}.c")],
        check=True,
    )
    return program
