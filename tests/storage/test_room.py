"""How much the database takes, and what its disk has left, as the metrics show it."""

import asyncio
import math
import shutil
from pathlib import Path

from prometheus_client import generate_latest

from app.base.metrics import Metrics
from app.storage.database import Database
from app.storage.room import Room
from tests.clocks import HandClock
from tests.scrape import Scrape


def scrape(metrics: Metrics) -> Scrape:
    return Scrape.read(generate_latest(metrics.registry).decode())


def test_a_scrape_shows_the_last_look_and_asks_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "data" / "switchboard.db"
    path.parent.mkdir()
    path.write_bytes(b"x" * 5000)
    path.with_name("switchboard.db-wal").write_bytes(b"x" * 300)
    clock, metrics = HandClock(50), Metrics()
    room = Room(path, clock.stamp)
    room.show_on(metrics)
    assert math.isnan(scrape(metrics).value("database_bytes"))
    room.look()
    shutil.rmtree(path.parent)
    clock.advance(40)
    found = scrape(metrics)
    assert found.value("database_bytes") == 5000
    assert found.value("wal_bytes") == 300
    assert 0 < found.value("disk_free_bytes") <= found.value("disk_bytes")
    assert found.value("disk_look_age_seconds") == 40
    room.look()
    found = scrape(metrics)
    assert math.isnan(found.value("database_bytes")), "gone is not empty"
    assert math.isnan(found.value("disk_free_bytes"))
    assert found.value("disk_look_age_seconds") == 0


async def test_an_open_database_shows_its_sizes_and_goes_on_looking(database: Database) -> None:
    metrics = Metrics()
    database.show_on(metrics)
    before = scrape(metrics)
    assert before.value("database_bytes") == database.path.stat().st_size
    assert before.value("disk_free_bytes") > 0
    # As when an import fills the log.
    await database.transact(
        lambda connection: connection.exec_driver_sql(
            "INSERT INTO meta (key, value) VALUES ('big', ?)", ("x" * 3_000_000,)
        )
    )
    watching = asyncio.create_task(database.watch())
    try:
        async with asyncio.timeout(120):
            while scrape(metrics).value("wal_bytes") < 3_000_000:  # noqa: ASYNC110 (nothing announces it)
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def test_each_commit_counts_with_its_seconds_and_no_failure_does(database: Database) -> None:
    metrics = Metrics()
    database.show_on(metrics)
    before = scrape(metrics).value("commit_seconds_count")
    await database.transact(lambda connection: None)
    await database.transact(lambda connection: None)
    failed = asyncio.create_task(
        database.transact(lambda connection: connection.exec_driver_sql("SELECT * FROM meta2"))
    )
    await asyncio.wait([failed])
    assert failed.exception() is not None
    after = scrape(metrics)
    assert after.value("commit_seconds_count") == before + 2
    assert after.value("commit_seconds_sum") > 0
