"""Single settlements that arrive together are stored together, and each is answered for itself."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from aiserv.api import settlements
from aiserv.database import Database
from aiserv.queries.base import PATIENCE_ALONE
from aiserv.queries.transitions import Settled
from tests.api.client import CHAT, UNKNOWN, Answer, Api
from tests.api.test_create import EXACT
from tests.api.test_settle import claimed
from tests.api.test_verbs import FAILURE
from tests.api.together import Connect, Post, Together
from tests.waiting import SOON, until


@pytest.fixture
def settling(api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Together:
    monkeypatch.setattr(settlements, "PATIENCE", timedelta(seconds=SOON))
    return Together(api, connect, "settle_each", monkeypatch)


def complete(job: dict[str, Any], result: JsonValue = 1, **fields: JsonValue) -> Post:
    return f"jobs/{job['id']}/complete", {"attempt": 1, "result": result, **fields}


def fail(job: dict[str, Any], **fields: JsonValue) -> Post:
    return f"jobs/{job['id']}/fail", {"attempt": 1, **FAILURE, **fields}


async def test_settlements_that_wait_for_a_statement_share_the_next_one(
    api: Api, settling: Together, connect: Connect
) -> None:
    jobs = await claimed(api, 7)

    await settling.post(
        complete(jobs[0]),
        {str(number): (fail if number % 2 else complete)(job) for number, job in enumerate(jobs[1:])},
    )

    assert set(settling.statuses.values()) == {200}
    rows = (
        connect().execute("select xmin::text as transaction, count(*) as number from aiserv.job group by 1").fetchall()
    )
    assert sorted(row["number"] for row in rows) == [1, 6]
    for answer in settling.answers.values():
        shown = await api.get(f"jobs/{answer.job['id']}")
        assert (shown.body, shown.headers["ETag"]) == (answer.body, answer.headers["ETag"])


async def test_one_bad_settlement_fails_alone(api: Api, settling: Together) -> None:
    first, good, late, failing, later = await claimed(api, 5)
    waiting = await api.create()

    await settling.post(
        complete(first),
        {
            "good": complete(good, usage={"total_tokens": 3}),
            "late": complete(late, attempt=2),
            "unknown": complete({"id": UNKNOWN}),
            "waiting": (f"jobs/{waiting['id']}/complete", {"result": 1}),
            "failing": fail(failing),
            "later": fail(later, retryable=True, retry_after="1h30m"),
        },
    )

    assert settling.statuses == {
        "first": 200, "good": 200, "late": 409, "unknown": 404, "waiting": 409, "failing": 200, "later": 200,
    }  # fmt: skip
    assert {name: settling.answers[name].problem["code"] for name in ("late", "unknown", "waiting")} == {
        "late": "lease_lost",
        "unknown": "not_found",
        "waiting": "invalid_state",
    }
    assert settling.answers["waiting"].problem["detail"] == f"job {waiting['id']} is pending, not running"
    assert settling.answers["good"].job["usage"] == {"total_tokens": 3}
    assert [settling.answers[name].job["status"] for name in ("failing", "later")] == ["failed", "pending"]


async def test_of_one_job_twice_in_a_group_one_result_counts_and_its_repeat_is_answered_alike(
    api: Api, settling: Together
) -> None:
    first, job = await claimed(api, 2)

    await settling.post(
        complete(first), {"one": complete(job), "again": complete(job), "other": complete(job, 2), "failure": fail(job)}
    )

    assert settling.statuses == {"first": 200, "one": 200, "again": 200, "other": 409, "failure": 409}
    assert settling.answers["one"].body == settling.answers["again"].body
    assert settling.answers["one"].job["result"] == 1


async def test_white_space_around_a_settlement_does_not_matter(api: Api) -> None:
    (job,) = await claimed(api, 1)

    answer = await api.send("POST", f"jobs/{job['id']}/complete", data=f'\t{{"result" : {EXACT} }} \r\n'.encode())

    assert f'"result":{EXACT},' in answer.text


async def test_a_lost_connection_is_503_for_its_group_and_a_repeat_is_safe(api: Api, settling: Together) -> None:
    first, *jobs = await claimed(api, 4)

    await settling.post(complete(first), {job["id"]: complete(job) for job in jobs}, settling.terminate)
    repeated = [await api.post(*complete(job)) for job in (first, *jobs)]

    assert settling.answers["first"].refusal == (503, "unavailable")
    assert "Retry-After" in settling.answers["first"].headers
    assert set(settling.statuses.values()) <= {200, 503}
    assert [answer.status for answer in repeated] == [200] * 4


async def test_a_settlement_whose_job_is_held_elsewhere_waits_alone(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = timedelta(seconds=SOON)
    monkeypatch.setattr(settlements, "PATIENCE_ALONE", alone)
    (job, *others), holder = await claimed(api, 3), connect()
    patience: list[timedelta] = []
    settle_each = Database.settle_each

    async def watched(database: Database, given: Sequence[str], for_: timedelta) -> Sequence[Settled]:
        patience.append(for_)
        return await settle_each(database, given, for_)

    monkeypatch.setattr(Database, "settle_each", watched)
    answers: list[Answer] = []

    async def settle() -> None:
        answers.append(await api.post(*complete(job)))

    async with anyio.create_task_group() as tasks:
        with holder.transaction():
            holder.execute("select aiserv.heartbeat_job(%s)", [job["id"]])
            tasks.start_soon(settle)
            await until(lambda: alone in patience)
            answers += [await api.post(*complete(other)) for other in others]

    assert [answer.job["id"] for answer in answers] == [others[0]["id"], others[1]["id"], job["id"]]


async def test_creates_and_settlements_that_wait_alone_leave_most_connections_to_others(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, holder = await claimed(api, 4), connect()
    keyed = [{**CHAT, "idempotency_key": key} for key in "abcd"]
    alone_now, alone_most, answers = 0, 0, list[Answer]()

    def watched(send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watch(database: Database, given: Sequence[str], patience: timedelta, **how: bool) -> Any:  # noqa: ANN401
            nonlocal alone_now, alone_most
            is_alone = patience == PATIENCE_ALONE
            alone_now += is_alone
            alone_most = max(alone_most, alone_now)
            try:
                return await send(database, given, patience, **how)
            finally:
                alone_now -= is_alone

        return watch

    for name in ("create_each", "settle_each"):
        monkeypatch.setattr(Database, name, watched(getattr(Database, name)))

    async def post(path: str, body: JsonValue) -> None:
        answers.append(await api.post(path, body))

    async with anyio.create_task_group() as tasks:
        with holder.transaction():
            holder.execute("select aiserv.create_each(%s)", [json.dumps(keyed)])
            holder.execute("select aiserv.heartbeat_job(id) from aiserv.jobs where status = 'running'")
            for path, body in [*map(complete, jobs), *(("jobs", body) for body in keyed)]:
                tasks.start_soon(post, path, body)
            await until(lambda: alone_now == 3)
            others = [await api.get("jobs"), await api.post("jobs/claim", {"worker_id": "w2"})]

    assert [answer.status for answer in others] == [200, 200]
    assert len(answers) == 8
    assert alone_most == 3


async def test_a_settlement_does_not_wait_for_ever(api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlements, "PATIENCE_ALONE", timedelta(milliseconds=50))
    (job,), holder = await claimed(api, 1), connect()

    with holder.transaction():
        holder.execute("select aiserv.heartbeat_job(%s)", [job["id"]])
        answer = await api.post(*complete(job))

    assert answer.refusal == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert (await api.post(*complete(job))).status == 200


async def test_settlements_in_a_claim_are_counted(api: Api) -> None:
    done, failing, refused = await claimed(api, 3)
    settle: list[JsonValue] = [
        {"id": done["id"], "attempt": 1, "result": 1},
        {"id": failing["id"], "attempt": 1, **FAILURE},
        {"id": refused["id"], "attempt": 2, "result": 1},
    ]

    await api.post("jobs/claim", {"worker_id": "w1", "limit": 0, "settle": settle})

    metrics = (await api.get("/metrics")).text
    labels = f'model_profile="{CHAT["model_profile"]}",task_type="llm_chat"'
    for verb in ("complete", "fail"):
        assert f'aiserv_transitions_total{{{labels},transition="{verb}"}} 1.0' in metrics
