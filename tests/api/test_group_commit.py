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
from aiserv.api.creates import Creates
from aiserv.database import is_of_one_row
from aiserv.models import CreateJob
from aiserv.queries.jobs import CreatedJob
from tests.api.client import CHAT, Answer, Api
from tests.sql.calls import in_background, wait_until_blocked
from tests.waiting import until

Connect = Callable[..., psycopg.Connection[DictRow]]
BACKENDS = """
    select pid from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%create_each%'
"""


async def until_blocked(db: psycopg.Connection[DictRow]) -> None:
    await until(lambda: db.execute(BACKENDS).fetchall(), 20)


TAKEN_IN: list[str] = []


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    TAKEN_IN.clear()
    create_job = Creates.create_job

    async def counted(creates: Creates, body: str, job: CreateJob) -> CreatedJob:
        TAKEN_IN.append(body)
        return await create_job(creates, body, job)

    monkeypatch.setattr(Creates, "create_job", counted)


async def until_taken_in(count: int) -> None:
    """Wait until the server has so many creates, all but the first in line for the next statement."""
    with anyio.fail_after(20):
        while len(TAKEN_IN) < count:  # noqa: ASYNC110 - the server runs in a thread of its own
            await anyio.sleep(0.01)


class Creating:
    """Creates while nothing can be stored: the first is on its way, all others wait for the next statement."""

    def __init__(self, api: Api, holder: psycopg.Connection[DictRow], watcher: psycopg.Connection[DictRow]) -> None:
        self._api = api
        self._holder = holder
        self._watcher = watcher
        self.answers: dict[str, Answer] = {}

    async def create(self, name: str, fields: dict[str, Any]) -> None:
        self.answers[name] = await self._api.post("jobs", {**CHAT, "owner_ref": name, **fields})

    async def together(self, jobs: dict[str, dict[str, Any]], meanwhile: Callable[[], None] = lambda: None) -> None:
        async with anyio.create_task_group() as tasks:
            with self._holder.transaction():
                self._holder.execute("lock table aiserv.job in share mode")
                tasks.start_soon(self.create, "first", {})
                await until_blocked(self._watcher)
                for name, fields in jobs.items():
                    tasks.start_soon(self.create, name, fields)
                await until_taken_in(1 + len(jobs))
                meanwhile()

    @property
    def statuses(self) -> dict[str, int]:
        return {name: answer.status for name, answer in self.answers.items()}


async def test_creates_that_wait_for_a_statement_share_the_next_one(api: Api, connect: Connect) -> None:
    db = connect()
    creating = Creating(api, connect(), db)

    await creating.together({name: {} for name in "abcdef"})

    assert set(creating.statuses.values()) == {201}
    rows = db.execute("select xmin::text as transaction, count(*) as number from aiserv.job group by 1").fetchall()
    assert sorted(row["number"] for row in rows) == [1, 6]
    assert {answer.job["owner_ref"] for answer in creating.answers.values()} == {"first", *"abcdef"}


async def test_one_bad_create_fails_alone(api: Api, connect: Connect) -> None:
    db = connect()
    known = await api.create(idempotency_key="known")
    TAKEN_IN.clear()
    creating = Creating(api, connect(), db)

    await creating.together(
        {
            "good": {"delay": "1h30m"},
            "big": {"metadata": {"a": "x" * 20_000}},
            "other": {"idempotency_key": "known", "priority": 1},
            "same": {"idempotency_key": "known", "owner_ref": ""},
            "also good": {"idempotency_key": "new"},
        }
    )

    assert creating.statuses == {"first": 201, "good": 201, "big": 400, "other": 422, "same": 200, "also good": 201}
    assert creating.answers["big"].problem["errors"] == [{"field": "metadata", "message": "must have at most 16 KiB"}]
    assert creating.answers["same"].job["id"] == known["id"]
    assert creating.answers["same"].headers["Idempotency-Replayed"] == "true"
    assert len((await api.get("jobs")).json["jobs"]) == 4


async def test_a_create_whose_key_is_held_waits_alone_and_not_for_ever(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creates, "PATIENCE_ALONE", timedelta(seconds=1))
    holder, watcher = connect(), connect()
    keyed = {**CHAT, "idempotency_key": "held"}
    answers: list[Answer] = []

    async def create() -> None:
        answers.append(await api.post("jobs", keyed))

    with holder.transaction():
        holder.execute("select aiserv.create_each(%s)", [json.dumps([keyed])])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create)
            await until_blocked(watcher)
            other = await api.post("jobs", CHAT)

    repeated = await api.post("jobs", keyed)
    assert (other.status, repeated.status) == (201, 200)
    assert [answer.status for answer in answers] == [503]
    assert "Retry-After" in answers[0].headers


async def test_a_lost_connection_is_503_for_its_group_and_keys_make_the_repeat_safe(api: Api, connect: Connect) -> None:
    db = connect()
    creating = Creating(api, connect(), db)
    keyed = {name: {"idempotency_key": name} for name in "abc"}

    await creating.together(
        keyed, meanwhile=lambda: db.execute(f"select pg_terminate_backend(pid) from ({BACKENDS}) as backend").close()
    )
    repeated = [await api.post("jobs", {**CHAT, "owner_ref": name, **fields}) for name, fields in keyed.items()]

    assert creating.statuses["first"] == 503
    assert {answer.status for answer in repeated} <= {200, 201}
    acknowledged = [answer.job["id"] for answer in [*creating.answers.values(), *repeated] if answer.status < 300]
    stored = {str(row["id"]) for row in db.execute("select id from aiserv.job").fetchall()}
    assert stored == set(acknowledged)
    assert len(stored) == 3


async def test_a_group_whose_fate_is_unknown_is_not_sent_again(api: Api, connect: Connect) -> None:
    db, other_holder = connect(), connect()
    creating = Creating(api, connect(), db)
    others: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
    other_holder.execute("begin")

    def line_up() -> None:
        # Behind the first: once that is stored, this holds up the group of the others.
        in_background(lambda: other_holder.execute("lock table aiserv.job in share mode"))
        wait_until_blocked(db, other_holder)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(creating.together, others, line_up)
        with anyio.fail_after(20):
            while "first" not in creating.answers:  # noqa: ASYNC110 - it is short
                await anyio.sleep(0.01)
        await until_blocked(db)
        db.execute(f"select pg_terminate_backend(pid) from ({BACKENDS}) as backend")
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
