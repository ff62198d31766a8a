"""What the HTTP side adds to the application: its routes, its middlewares, its headers."""

from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp_session import AbstractStorage, session_middleware

from app.settings import Settings
from app.web import auth, devices, health, index, paths
from app.web.cors import allow_origin, preflight
from app.web.csrf import refuse_foreign_writes
from app.web.deadline import deadline
from app.web.headers import harden
from app.web.problems import problems


def middlewares(settings: Settings, cookies: AbstractStorage) -> list[Middleware]:
    """Return the middlewares, the outermost first: it answers what all others raise."""
    return [
        problems,
        deadline(settings.request_seconds),
        preflight(settings.allowed_origins),
        session_middleware(cookies),
        refuse_foreign_writes,
    ]


def add_routes(app: web.Application) -> None:
    """The application answers every path but the socket's, and all its answers are hardened."""
    app.on_response_prepare.append(harden)
    app.on_response_prepare.append(allow_origin)
    app.add_routes(
        [
            web.get("/", index.index),
            web.get(paths.HEALTH, health.health),
            web.get(paths.READY, health.ready),
            web.get(paths.METRICS, health.metrics),
            web.post(paths.LOGIN, auth.login),
            web.post("/v1/auth/logout", auth.logout),
            web.get("/v1/auth/logout", auth.logout_by_get, allow_head=False),
            web.get("/v1/auth/session", auth.session),
            web.post("/v1/auth/password", auth.password),
            web.get("/v1/devices", devices.list_devices),
            web.patch("/v1/devices/{id}", devices.rename_device),
            web.delete("/v1/devices/{id}", devices.revoke_device),
        ]
    )
