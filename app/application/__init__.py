"""The whole server as one application: every part is built, opened and closed here."""

from app.application.building import ROUTES, build_application

__all__ = ["ROUTES", "build_application"]
