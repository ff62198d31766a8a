"""What one device sends, another shows."""

from playwright.sync_api import expect

from tests.browser.conftest import NewProfile
from tests.browser.playground import compose
from tests.process.server import ServerProcess


def test_a_message_from_one_device_is_seen_on_the_other_and_not_on_its_own(
    profile: NewProfile,
) -> None:
    phone, laptop = profile(), profile()
    phone.sign_in("phone")
    laptop.sign_in("laptop")
    sender, receiver = phone.connected("/playground"), laptop.connected("/playground")
    compose(sender, "others", "none", {"text": "from-the-phone"})
    receiver.has_messages("from-the-phone")
    assert sender.feed() == []


def test_a_kept_message_reaches_a_device_that_was_away(
    profile: NewProfile, server: ServerProcess
) -> None:
    phone, laptop = profile(), profile()
    phone.sign_in("phone")
    laptop.sign_in("laptop")
    sender, receiver = phone.connected("/playground"), laptop.connected("/playground")
    receiver.page.get_by_role("button", name="Go offline", exact=True).click()
    receiver.has_status("disconnected")
    compose(sender, "others", "log", {"text": "kept-for-later"})
    receiver.page.get_by_role("button", name="Go online", exact=True).click()
    receiver.has_status("connected")
    receiver.has_messages("kept-for-later")


def test_what_is_no_json_is_said_before_it_is_sent(profile: NewProfile) -> None:
    phone = profile()
    phone.sign_in("phone")
    tab = phone.connected("/playground")
    tab.page.get_by_label("Payload", exact=True).fill("{not json")
    tab.page.get_by_role("button", name="Send", exact=True).click()
    field = tab.page.get_by_label("Payload", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
