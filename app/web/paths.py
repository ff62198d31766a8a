"""The paths that more than one file has to know."""

API = "/v1/"
INDEX = "/"
SOCKET = "/v1/ws"
LOGIN = "/v1/auth/login"
LOGOUT = "/v1/auth/logout"
SESSION = "/v1/auth/session"
CHANGE = "/v1/auth/password"
DEVICES = "/v1/devices"
DEVICE = "/v1/devices/{id}"
MESSAGES = "/v1/messages"
BATCH = "/v1/messages/batch"
USER_STREAM = "/v1/users/{id}/stream"
USER_DEVICES = "/v1/users/{id}/devices"
OPENAPI = "/v1/openapi.json"
REFERENCE = "/v1/docs"
HEALTH = "/health"
READY = "/ready"
METRICS = "/metrics"


def is_api(path: str) -> bool:
    """Whether `path` belongs to the versioned interface."""
    return path.startswith(API)
