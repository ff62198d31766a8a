"""Turns the C programs beside this file into executables."""

import os
import shutil
import subprocess
from pathlib import Path

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
TLS_FLAGS = ("-DWITH_TLS",)
TLS_LIBRARIES = ("-lssl", "-lcrypto")
SOURCES = Path(__file__).parent
_TLS_TRIAL = "#include <openssl/ssl.h>\nint main(void) { return !TLS_client_method(); }\n"


def compiler() -> str:
    """Return the C compiler's command; raises OSError when there is none."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise OSError("a C compiler is needed (on Debian and Ubuntu: apt install gcc libc6-dev)")


def compile_program(name: str, folder: Path, *, tls: bool = False) -> Path:
    """Compile NAME.c into the folder and return the executable's path."""
    program = folder / (f"{name}-tls" if tls else name)
    more, libraries = (TLS_FLAGS, TLS_LIBRARIES) if tls else ((), ())
    source = str(SOURCES / f"{name}.c")
    subprocess.run([compiler(), *FLAGS, *more, "-o", str(program), source, *libraries], check=True)
    return program


def has_tls(folder: Path) -> bool:
    """Tell whether programs can be compiled with OpenSSL."""
    command = [compiler(), "-xc", "-", "-o", str(folder / "trial"), *TLS_LIBRARIES]
    return subprocess.run(command, input=_TLS_TRIAL, text=True, capture_output=True).returncode == 0
