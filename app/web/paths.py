"""The paths that more than one file has to know."""

API = "/v1/"
SOCKET = "/v1/ws"
LOGIN = "/v1/auth/login"
HEALTH = "/health"
READY = "/ready"
METRICS = "/metrics"


def is_api(path: str) -> bool:
    """Whether `path` belongs to the versioned interface."""
    return path.startswith(API)
