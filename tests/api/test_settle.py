"""Settling jobs in the call that claims the next ones."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from pydantic import JsonValue

from aiserv.answers.jobs import JobsAnswer
from aiserv.database import Database
from aiserv.models import Settlement
from aiserv.queries.base import ShownJob
from aiserv.sweeper import Sweeper
from tests.api.client import CHAT, UNKNOWN, Api
from tests.api.conftest import Start
from tests.api.test_create import EXACT
from tests.api.test_verbs import FAILURE
from tests.api.together import Connect

Settle = Callable[..., Awaitable[list[Settlement]]]


async def claimed(api: Api, count: int) -> list[dict[str, Any]]:
    await api.post("jobs/batch", {**CHAT, "jobs": [{}] * count})
    return (await api.post("jobs/claim", {"worker_id": "w1", "limit": count})).json["jobs"]  # type: ignore[no-any-return]  # jobs


async def test_a_claim_may_settle_what_was_claimed_before(api: Api) -> None:
    done, failing, later, lost = await claimed(api, 4)
    settle: list[JsonValue] = [
        {"id": done["id"], "attempt": 1, "result": 1.50, "usage": {"total_tokens": 3}},
        {"id": failing["id"], "attempt": 1, "category": "timeout", "message": "slow"},
        {"id": later["id"], "attempt": 1, **FAILURE, "retryable": True, "retry_after": "1.5h"},
        {"id": lost["id"], "attempt": 2, "result": 1},
        {"id": UNKNOWN, "attempt": 1, "result": 1},
    ]
    await api.create()

    answer = await api.post("jobs/claim", {"worker_id": "w1", "settle": settle})

    JobsAnswer.model_validate_json(answer.body)
    settled = answer.json["settled"]
    assert [item["id"] for item in settled] == [item["id"] for item in settle]  # type: ignore[index,call-overload]  # objects
    assert [item.get("status") for item in settled] == ["completed", "failed", "pending", None, None]
    assert [item.get("code") for item in settled] == [None, None, None, "lease_lost", "not_found"]
    assert len(answer.json["jobs"]) == 1
    shown = (await api.get(f"jobs/{later['id']}")).json
    assert shown["run_at"] > shown["updated_at"]


async def test_a_settled_result_keeps_its_text(api: Api) -> None:
    (job,) = await claimed(api, 1)
    body = f'{{"worker_id":"w1","limit":0,"settle":[{{"id":"{job["id"]}","attempt":1,"result":{EXACT}}}]}}'

    await api.send("POST", "jobs/claim", data=body.encode())

    assert f'"result":{EXACT},' in (await api.get(f"jobs/{job['id']}")).text


async def test_an_empty_settlement_is_answered_too(api: Api) -> None:
    assert (await api.post("jobs/claim", {"worker_id": "w1", "settle": []})).json == {"jobs": [], "settled": []}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"attempt": 1, "result": 1}, "settle[0].id"),
        ({"id": UNKNOWN, "result": 1}, "settle[0].attempt"),
        ({"id": UNKNOWN, "attempt": 1}, "settle[0].category"),
        ({"id": UNKNOWN, "attempt": 1, "result": 1, "worker_id": "w"}, "settle[0].worker_id"),
        ({"id": UNKNOWN, "attempt": 1, "category": "timeout"}, "settle[0].message"),
        (7, "settle[0]"),
    ],
)
async def test_a_settlement_that_makes_no_sense_is_refused_by_name(refusing: Api, item: JsonValue, field: str) -> None:
    answer = await refusing.post("jobs/claim", {"worker_id": "w1", "settle": [item]})

    assert answer.refusal == (400, "invalid_request")
    assert field in [error["field"] for error in answer.problem["errors"]]


async def test_a_field_twice_in_a_settlement_is_refused(api: Api) -> None:
    body = f'{{"worker_id":"w","settle":[{{"id":"{UNKNOWN}","attempt":1,"result":1,"result":2}}]}}'

    assert (await api.send("POST", "jobs/claim", data=body.encode())).refusal == (400, "invalid_json")


async def test_a_settled_failure_may_come_back_in_microseconds(api: Api) -> None:
    (job,) = await claimed(api, 1)
    failing: dict[str, JsonValue] = {"id": job["id"], "attempt": 1, **FAILURE, "retryable": True, "retry_after": "10us"}

    answer = await api.post("jobs/claim", {"worker_id": "w1", "limit": 0, "settle": [failing]})

    assert answer.json["settled"] == [{"id": job["id"], "status": "pending"}]


async def test_a_claim_gets_the_room_that_its_settlements_make(api: Api) -> None:
    await api.send("PUT", f"queues/{CHAT['model_profile']}", {"max_running": 2})
    first, second, third = [await api.create() for _ in range(3)]
    await api.claim(limit=1)
    await api.claim(limit=1)
    settle: list[JsonValue] = [{"id": job["id"], "attempt": 1, "result": 1} for job in (first, second)]

    answer = await api.post("jobs/claim", {"worker_id": "w1", "limit": 5, "settle": settle})

    assert [job["id"] for job in answer.json["jobs"]] == [third["id"]]


@pytest.fixture
def claimed_first(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settle], None]:
    """Has the settlements of a claim made by a function, after the claim beside them has its jobs."""

    def use(settle: Settle) -> None:
        got = anyio.Event()
        claim_jobs = Database.claim_jobs

        async def claim_and_tell(*given: Any, **options: Any) -> list[ShownJob]:  # noqa: ANN401 - passed on
            jobs = await claim_jobs(*given, **options)
            got.set()
            return jobs

        async def settle_afterwards(*given: Any) -> list[Settlement]:  # noqa: ANN401 - passed on
            await got.wait()
            return await settle(*given)

        monkeypatch.setattr(Database, "claim_jobs", claim_and_tell)
        monkeypatch.setattr(Database, "settle", settle_afterwards)

    return use


async def test_jobs_claimed_beside_settlements_that_break_are_given_back(
    api: Api, claimed_first: Callable[[Settle], None]
) -> None:
    (job,) = await claimed(api, 1)
    other = await api.create()

    async def broken(*_: object) -> list[Settlement]:
        raise psycopg.OperationalError("the connection is lost")

    claimed_first(broken)

    answer = await api.post("jobs/claim", {"worker_id": "w1", "settle": [{"id": job["id"], "attempt": 1, "result": 1}]})

    assert answer.refusal == (503, "unavailable")
    shown = (await api.get(f"jobs/{other['id']}")).job
    assert (shown["status"], shown["attempt"]) == ("pending", 1)


async def test_a_claim_does_not_take_away_what_comes_with_it_to_be_settled(
    start: Start,
    session: ClientSession,
    connect: Connect,
    claimed_first: Callable[[Settle], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It may come at any time, and would take the job away.
    monkeypatch.setattr(Sweeper, "run", staticmethod(anyio.sleep_forever))
    api = Api(session, start().port)
    (job,) = await claimed(api, 1)
    connect().execute("update aiserv.lease set lease_expires_at = clock_timestamp() - interval '1 second'")
    claimed_first(Database.settle)

    answer = await api.post("jobs/claim", {"worker_id": "w1", "settle": [{"id": job["id"], "attempt": 1, "result": 1}]})

    assert answer.json == {"jobs": [], "settled": [{"id": job["id"], "status": "completed"}]}
