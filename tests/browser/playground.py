"""The playground, as a person uses it."""

import json

from tests.browser.profile import Tab


def compose(tab: Tab, to: str, kept: str, payload: object) -> None:
    """Fill in the form of the playground and send it."""
    page = tab.page
    page.get_by_label("To", exact=True).select_option(to)
    page.get_by_label("Kept", exact=True).select_option(kept)
    page.get_by_label("Type", exact=True).fill("note.text")
    page.get_by_label("Payload", exact=True).fill(json.dumps(payload))
    page.get_by_role("button", name="Send", exact=True).click()
