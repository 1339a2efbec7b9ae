"""Single creates that arrive together are stored together, and each is answered for itself."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import psycopg
import pytest
from psycopg import errors
from psycopg.rows import DictRow

from aiserv.api import creates
from aiserv.database import is_of_one_row
from tests.api.client import CHAT, Answer, Api
from tests.api.together import Post, Together
from tests.sql.calls import in_background, wait_until_blocked
from tests.waiting import SOON, until

Connect = Callable[..., psycopg.Connection[DictRow]]


@pytest.fixture
def one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creates, "LANES", 1)


@pytest.fixture
def creating(api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Together:
    return Together(api, connect, "create_each", monkeypatch)


def creates_of(jobs: dict[str, dict[str, Any]]) -> tuple[Post, dict[str, Post]]:
    """The first create, and those that come while it is on its way."""
    return ("jobs", {**CHAT, "owner_ref": "first"}), {
        name: ("jobs", {**CHAT, "owner_ref": name, **fields}) for name, fields in jobs.items()
    }


@pytest.mark.usefixtures("one_lane")
async def test_creates_that_wait_for_a_statement_share_the_next_one(creating: Together, connect: Connect) -> None:
    await creating.post(*creates_of({name: {} for name in "abcdef"}))

    assert set(creating.statuses.values()) == {201}
    rows = (
        connect().execute("select xmin::text as transaction, count(*) as number from aiserv.job group by 1").fetchall()
    )
    assert sorted(row["number"] for row in rows) == [1, 6]
    assert {answer.job["owner_ref"] for answer in creating.answers.values()} == {"first", *"abcdef"}


async def test_one_bad_create_fails_alone(api: Api, creating: Together) -> None:
    known = await api.create(idempotency_key="known")

    await creating.post(
        *creates_of(
            {
                "good": {"delay": "1h30m"},
                "big": {"metadata": {"a": "x" * 20_000}},
                "other": {"idempotency_key": "known", "priority": 1},
                "same": {"idempotency_key": "known", "owner_ref": ""},
                "also good": {"idempotency_key": "new"},
            }
        )
    )

    assert creating.statuses == {"first": 201, "good": 201, "big": 400, "other": 422, "same": 200, "also good": 201}
    assert creating.answers["big"].problem["errors"] == [{"field": "metadata", "message": "must have at most 16 KiB"}]
    assert creating.answers["same"].job["id"] == known["id"]
    assert creating.answers["same"].headers["Idempotency-Replayed"] == "true"
    assert len((await api.get("jobs")).json["jobs"]) == 4


async def test_a_create_whose_key_is_held_waits_alone(
    api: Api, creating: Together, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creates, "PATIENCE_ALONE", timedelta(seconds=SOON))
    holder = connect()
    keyed = {**CHAT, "idempotency_key": "held"}
    answers: list[Answer] = []

    async def create() -> None:
        answers.append(await api.post("jobs", keyed))

    async with anyio.create_task_group() as tasks:
        with holder.transaction():
            holder.execute("select aiserv.create_each(%s)", [json.dumps([keyed])])
            tasks.start_soon(create)
            await creating.until_held_up()
            other = await api.post("jobs", CHAT)
            assert answers == []

    assert other.status == 201
    assert [answer.status for answer in answers] == [200]


async def test_a_create_whose_key_is_held_does_not_wait_for_ever(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creates, "PATIENCE_ALONE", timedelta(milliseconds=50))
    holder = connect()
    keyed = {**CHAT, "idempotency_key": "held"}

    with holder.transaction():
        holder.execute("select aiserv.create_each(%s)", [json.dumps([keyed])])
        answer = await api.post("jobs", keyed)

    assert answer.refusal == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert (await api.post("jobs", keyed)).status == 200


async def test_a_lost_connection_is_503_for_its_group_and_keys_make_the_repeat_safe(
    api: Api, creating: Together, connect: Connect
) -> None:
    keyed = {name: {"idempotency_key": name} for name in "abc"}

    await creating.post(*creates_of(keyed), meanwhile=creating.terminate)
    repeated = [await api.post("jobs", {**CHAT, "owner_ref": name, **fields}) for name, fields in keyed.items()]

    assert creating.statuses["first"] == 503
    assert {answer.status for answer in repeated} <= {200, 201}
    acknowledged = [answer.job["id"] for answer in [*creating.answers.values(), *repeated] if answer.status < 300]
    stored = {str(row["id"]) for row in connect().execute("select id from aiserv.job").fetchall()}
    assert stored == set(acknowledged)
    assert len(stored) == 3


@pytest.mark.usefixtures("one_lane")
async def test_a_group_whose_fate_is_unknown_is_not_sent_again(creating: Together, connect: Connect) -> None:
    db, other_holder = connect(), connect()
    first, others = creates_of({"a": {}, "b": {}})
    other_holder.execute("begin")

    def line_up() -> None:
        # Behind the first: once that is stored, this holds up the group of the others.
        in_background(lambda: other_holder.execute("lock table aiserv.job in share mode"))
        wait_until_blocked(db, other_holder)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(creating.post, first, others, line_up)
        await until(lambda: "first" in creating.answers)
        await creating.until_held_up()
        creating.terminate()
        other_holder.rollback()

    assert creating.statuses == {"first": 201, "a": 503, "b": 503}
    assert len(db.execute("select from aiserv.job").fetchall()) == 1


@pytest.mark.parametrize(
    ("error", "is_of_one"),
    [
        (errors.DeadlockDetected(), True),
        (errors.LockNotAvailable(), True),
        (errors.CheckViolation(), True),
        (errors.AdminShutdown(), False),
        (errors.ConnectionFailure(), False),
        (errors.DiskFull(), False),
        (psycopg.OperationalError("the connection is lost"), False),
        (OSError("the connection is lost"), False),
    ],
)
def test_only_a_statement_that_was_undone_for_one_of_its_rows_is_divided(error: Exception, *, is_of_one: bool) -> None:
    assert is_of_one_row(error) is is_of_one
