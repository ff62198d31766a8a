"""Reads the metrics of our server."""

import urllib.request


def metrics(port: int) -> dict[str, float]:
    """Return every metric by its name with its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ")[::2] for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
