"""What the kernel says about a process: its processor time and its memory. Linux only."""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes; `pss` counts a page that n processes share as 1/n of it."""

    rss: int
    pss: int


def tree(pid: int) -> list[int]:
    """Return the process and its descendants."""
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        children += [int(word) for word in (thread / "children").read_text().split()]
    return [pid, *(member for child in children for member in tree(child))]


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, its threads and its children, to the nanosecond.

    The clock's number is computed as clock_getcpuclockid(3) does; a tick of /proc/PID/stat (10 ms)
    is as long as a thousand deliveries.
    """
    return sum(time.clock_gettime(~member << 3 | 2) for member in tree(pid))


def memory(pid: int) -> Memory:
    """Return the memory of a process and its children."""
    rss = pss = 0
    for member in tree(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                rss += int(rest.split()[0]) * 1024
            elif name == "Pss":
                pss += int(rest.split()[0]) * 1024
    return Memory(rss, pss)


def allow_descriptors(count: int) -> None:
    """Allow this process and its children `count` open files.

    Raises OSError when the system's hard limit is lower and may not be raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except ValueError as error:
        raise OSError(
            f"{count} open files are needed and the limit is {hard}: raise it (ulimit -Hn) "
            "or ask for fewer --connections"
        ) from error


def machine() -> dict[str, str]:
    """Return what the figures depend on: processor, cores, kernel and load."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        os.uname().machine,
    )
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
