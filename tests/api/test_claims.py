"""What workers over HTTP claim."""

from datetime import timedelta

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.rows import DictRow
from pydantic import JsonValue

from aiserv.answers.jobs import JobsAnswer
from aiserv.api.waiting_claims import WaitingClaims
from aiserv.database import Database
from aiserv.fields import parse_time
from aiserv.models import ClaimJobs
from aiserv.queries.base import ShownJob
from tests.api.client import UNKNOWN, Api
from tests.api.conftest import Start
from tests.waiting import SOON


async def test_a_claim_gives_due_jobs_each_under_a_lease(api: Api) -> None:
    created = await api.create()

    answer = await api.post("jobs/claim", {"worker_id": "w1", "limit": 10, "lease": "2m"})

    JobsAnswer.model_validate_json(answer.body)
    (job,) = answer.json["jobs"]
    assert (job["id"], job["status"], job["attempt"], job["worker_id"]) == (created["id"], "running", 1, "w1")
    assert parse_time(job["lease_expires_at"]) - parse_time(job["started_at"]) == timedelta(minutes=2)


async def test_a_claim_may_ask_for_the_most(api: Api) -> None:
    created = await api.create()

    job = await api.claim(worker_id="w" * 200, limit=1000, lease="24h", wait="60s", task_types=[], model_profiles=[])

    assert job["id"] == created["id"]


async def test_a_claim_without_work_is_an_empty_list(api: Api) -> None:
    answer = await api.post("jobs/claim", {"worker_id": "w1"})

    assert (answer.status, answer.json) == (200, {"jobs": []})


async def test_a_claim_without_a_lease_gets_that_of_the_settings(
    start: Start, session: ClientSession, db: psycopg.Connection[DictRow]
) -> None:
    api = Api(session, start(WORKER_LEASE_TIMEOUT="7m").port)
    await api.create()

    await api.claim()

    (lease,) = db.execute("select lease from aiserv.lease").fetchall()
    assert lease["lease"].total_seconds() == 420


async def test_a_repeated_claim_id_returns_what_still_runs_of_that_claim(api: Api) -> None:
    await api.create()
    first = await api.claim(claim_id="c")
    await api.create()

    assert (await api.claim(claim_id="c"))["id"] == first["id"]


async def test_a_claim_filters_by_task_type_and_model_profile(api: Api) -> None:
    await api.create()
    wanted = await api.create(task_type="transcribe", model_profile="whisperx")

    job = await api.claim(task_types=["transcribe"], model_profiles=["whisperx", "other"], limit=5)

    assert job["id"] == wanted["id"]


async def test_a_limit_of_0_claims_nothing(api: Api) -> None:
    await api.create()

    answer = await api.post("jobs/claim", {"worker_id": "w1", "limit": 0})

    assert answer.json == {"jobs": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "worker_id"),
        ({"worker_id": ""}, "worker_id"),
        ({"worker_id": "w" * 201}, "worker_id"),
        ({"worker_id": "w", "settle": [{"id": UNKNOWN, "attempt": 1, "result": 1}] * 1001}, "settle"),
        ({"worker_id": "w", "limit": 1001}, "limit"),
        ({"worker_id": "w", "limit": -1}, "limit"),
        ({"worker_id": "w", "lease": "500ms"}, "lease"),
        ({"worker_id": "w", "lease": "25h"}, "lease"),
        ({"worker_id": "w", "task_types": "llm_chat"}, "task_types"),
        ({"worker_id": "w", "task_types": [1]}, "task_types[0]"),
        ({"worker_id": "w", "wait": "61s"}, "wait"),
        ({"worker_id": "w", "worker": "x"}, "worker"),
    ],
)
async def test_a_field_of_a_claim_that_makes_no_sense_is_refused_by_name(
    refusing: Api, body: dict[str, JsonValue], field: str
) -> None:
    answer = await refusing.post("jobs/claim", body)

    assert answer.refusal == (400, "invalid_request")
    assert [error["field"] for error in answer.problem["errors"]] == [field]


@pytest.mark.usefixtures("patient")
async def test_a_job_that_comes_between_the_look_of_a_waiting_claim_and_its_rest_is_not_missed(conninfo: str) -> None:
    wanted = ClaimJobs.model_construct(worker_id="w", wait=timedelta(hours=1))
    looks = 0

    async def claim() -> list[ShownJob]:
        nonlocal looks
        looks += 1
        if looks == 2:
            claims.hear("qwen")
        elif looks == 3:
            claims.stop()
        return []

    async with Database.open(conninfo, size=1, name="claims") as database:
        claims = WaitingClaims(database)
        with anyio.fail_after(SOON):
            await claims.first(wanted, None, claim)

    assert looks == 3
