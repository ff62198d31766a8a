"""How many examples the property tests try: few every day, many with --long."""

from typing import Final

from hypothesis import HealthCheck, settings

USUAL: Final = 100
LONG: Final = 2000


def set_effort(*, long: bool) -> None:
    """Set how many examples a property test tries unless it has settings of its own."""
    settings.register_profile(
        "switchboard",
        max_examples=LONG if long else USUAL,
        # Nothing is judged by the clock: the machine may have other work.
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("switchboard")


def examples(usual: int) -> int:
    """Return the number of examples for a test that usually tries `usual` of them."""
    return usual * settings.default.max_examples // USUAL
