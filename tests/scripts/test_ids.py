"""What one user can fill with message ids in a day."""

from app.settings import Settings
from scripts.benchmark.ids import measure

MAX_MEGABYTES_A_DAY = 8.0
"""As docs/operations.md says."""


def test_a_user_adds_as_many_ids_as_the_settings_say_and_they_take_few_megabytes() -> None:
    with_ids, without = measure(batch=512)
    assert with_ids.appends == Settings.model_fields["message_ids_per_user"].default
    assert with_ids.bytes / 1e6 < MAX_MEGABYTES_A_DAY
    assert without.appends == with_ids.appends
    # Tables and indexes without a row have a page each.
    assert without.bytes < 20_000
