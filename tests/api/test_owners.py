"""Tokens that are bound to an owner: what they see and touch."""

from itertools import product
from typing import Any

import anyio
import psycopg
import pytest
from aiohttp import ClientSession, ClientTimeout
from psycopg.rows import DictRow
from pydantic import JsonValue

from aiserv.api.routes import TABLE
from tests.api.client import CHAT, UNKNOWN
from tests.api.conftest import As
from tests.waiting import SOON, until, until_found

# The name that a claim has left when it came back with nothing, and waits.
LEFT = "select from aiserv.workers where worker_id = '{}'"


def jobs_of(*owners: str) -> list[JsonValue]:
    return [{**CHAT, "owner_service": owner} for owner in owners]


def completion(job: dict[str, Any]) -> JsonValue:
    return {"id": job["id"], "attempt": job["attempt"], "result": 1}


async def test_a_bound_token_creates_for_its_owner_alone(acting: As) -> None:
    mine = await acting("a-write").post("jobs", {**CHAT, "owner_service": "a"})
    foreign = await acting("a-write").post("jobs", {**CHAT, "owner_service": "b"})

    assert mine.status == 201
    assert foreign.refusal == (403, "forbidden")
    assert foreign.problem["detail"] == "owner_service: the token a-write is for a alone"


async def test_one_foreign_item_refuses_the_batch_by_its_position(acting: As) -> None:
    answer = await acting("a-write").post("jobs/batch", {"jobs": jobs_of("a", "b")})

    assert answer.refusal == (403, "forbidden")
    assert answer.problem["detail"].startswith("jobs[1].owner_service: ")
    assert (await acting("read").get("stats")).json["queue"]["total"] == 0


async def test_a_foreign_idempotency_key_answers_nothing_foreign(acting: As) -> None:
    foreign = await acting("write").create(owner_service="b", idempotency_key="k")

    refused = await acting("a-write").post("jobs", {**CHAT, "owner_service": "b", "idempotency_key": "k"})
    mine = await acting("a-write").post("jobs", {**CHAT, "owner_service": "a", "idempotency_key": "k"})

    assert refused.refusal == (403, "forbidden")
    assert (mine.status, mine.job["id"] == foreign["id"]) == (201, False)


JOB_ROUTES = [
    ("GET", "", "a-read"),
    ("GET", "?wait=1s", "a-read"),
    ("GET", "/attempts", "a-read"),
    ("POST", "/retry", "a-write"),
    ("POST", "/cancel", "a-write"),
    ("POST", "/complete", "a-worker"),
    ("POST", "/fail", "a-worker"),
    ("POST", "/heartbeat", "a-worker"),
    ("POST", "/release", "a-worker"),
]
BODIES: dict[str, JsonValue] = {"/complete": {"result": 1}, "/fail": {"category": "x", "message": ""}}


def test_every_route_of_a_job_is_among_those_tried() -> None:
    tried = {(method, path.partition("?")[0]) for method, path, _ in JOB_ROUTES}

    assert tried == {(route.method, route.path.partition("{job_id}")[2]) for route in TABLE if "{job_id}" in route.path}


async def test_the_job_of_another_owner_is_not_there(acting: As) -> None:
    foreign = await acting("write").create(owner_service="b")
    await acting("worker").claim()
    before = (await acting("read").get(f"jobs/{foreign['id']}")).job

    for method, path, token in JOB_ROUTES:
        answer = await acting(token).send(method, f"jobs/{foreign['id']}{path}", BODIES.get(path))
        absent = await acting(token).send(method, f"jobs/{UNKNOWN}{path}", BODIES.get(path))
        assert answer.refusal == absent.refusal == (404, "not_found"), path
        assert answer.problem["detail"].replace(foreign["id"], UNKNOWN) == absent.problem["detail"], path

    assert (await acting("read").get(f"jobs/{foreign['id']}")).job == before


def about(job: dict[str, Any]) -> dict[str, JsonValue]:
    """What each route that takes a body is asked about this job of another owner, so that it goes as far as it does."""
    held: dict[str, JsonValue] = {"attempt": job["attempt"]}
    return {
        "/jobs": {**CHAT, "owner_service": "theirs", "idempotency_key": job["idempotency_key"]},
        "/jobs/batch": {"jobs": jobs_of("a", "theirs")},
        "/jobs/retry": {"id": [job["id"]]},
        "/jobs/cancel": {"id": [job["id"]]},
        "/jobs/claim": {"worker_id": "w", "limit": 9, "settle": [completion(job)]},
        "/jobs/{job_id}/complete": {**held, "result": 1},
        "/jobs/{job_id}/fail": {**held, "category": "x", "message": ""},
        "/jobs/{job_id}/heartbeat": {**held, "progress": 1},
        "/jobs/{job_id}/release": held,
        "/jobs/{job_id}/retry": None,
        "/jobs/{job_id}/cancel": {},
        "/queues/{model_profile}": {"paused": True},
        "/queues/{model_profile}/{task_type}": {"paused": True},
    }


# A stream, which has a test of its own.
ENDLESS = "/api/v1/events"


async def test_no_route_shows_or_touches_anything_of_another_owner(acting: As, db: psycopg.Connection[DictRow]) -> None:
    """Every route of the router, so that a new one needs a request here. All that is theirs says so."""
    words: dict[str, JsonValue] = {"owner_service": "theirs", "model_profile": "shared", "task_type": "shared"}
    words |= {"owner_ref": "theirs", "input": {"of": "theirs"}, "metadata": {"of": "theirs"}}
    jobs: list[JsonValue] = [{"idempotency_key": f"theirs-{number}"} for number in range(5)]
    created = (await acting("write").post("jobs/batch", {"defaults": words, "jobs": jobs})).json
    held = (await acting("worker").post("jobs/claim", {"worker_id": "w", "limit": 3})).json["jobs"]
    ended, failed, running = held
    await acting("worker").post(f"jobs/{ended['id']}/complete", {"result": "theirs"})
    await acting("worker").post(f"jobs/{failed['id']}/fail", {"category": "theirs", "message": "theirs"})
    await acting("worker").post(f"jobs/{running['id']}/heartbeat", {"progress": "theirs"})
    before = db.execute("select * from aiserv.jobs order by id").fetchall()

    for job, route in product([ended, failed, running], [route for route in TABLE if route.path != ENDLESS]):
        named = {"job_id": job["id"], "batch_id": created["batch_id"], "model_profile": "shared", "task_type": "shared"}
        path = route.path.format(**named)
        body = None if route.method == "GET" else about(job)[route.path.removeprefix("/api/v1")]
        answer = await acting(f"a-{route.scope}").send(route.method, path, body)
        assert "theirs" not in answer.text, (route.method, path)
        assert answer.status in {200, 403, 404}, (route.method, path, answer.text)

    assert db.execute("select * from aiserv.jobs order by id").fetchall() == before
    assert db.execute("select * from aiserv.queue_setting").fetchall() == []


@pytest.mark.parametrize("owners", [["b"], ["a", "b"]])
async def test_a_batch_that_holds_jobs_of_others_is_not_there(acting: As, owners: list[str]) -> None:
    jobs = jobs_of(*owners)
    batch = (await acting("write").post("jobs/batch", {"jobs": jobs})).json["batch_id"]

    assert (await acting("a-read").get(f"batches/{batch}")).refusal == (404, "not_found")
    assert (await acting("a-read").get(f"batches/{UNKNOWN}")).refusal == (404, "not_found")


async def test_a_batch_of_its_own_is_there(acting: As) -> None:
    jobs = jobs_of("a", "a")
    batch = (await acting("a-write").post("jobs/batch", {"jobs": jobs})).json["batch_id"]

    assert (await acting("a-read").get(f"batches/{batch}")).json["counts"]["total"] == 2


async def test_lists_and_numbers_are_those_of_the_owner(acting: As) -> None:
    mine = await acting("write").create(owner_service="a", task_type="common")
    await acting("write").create(owner_service="b", task_type="common")
    await acting("write").create(owner_service="b", task_type="foreign", model_profile="foreign")
    client = acting("a-read")

    page = (await client.get("jobs?include_total=true")).json
    stats = (await client.get("stats")).json
    queues = (await client.get("queues")).json["queues"]

    assert [job["id"] for job in page["jobs"]] == [mine["id"]]
    assert page["total"] == 1
    assert stats["queue"]["total"] == 1
    assert {group["owner_service"] for group in stats["groups"]} == {"a"}
    assert {(queue["model_profile"], queue["task_type"], queue["pending"]) for queue in queues} == {
        ("qwen2.5-14b", None, 1),
        ("qwen2.5-14b", "common", 1),
    }


async def test_the_settings_of_a_queue_are_everybodys_and_its_numbers_are_not(acting: As) -> None:
    await acting("write").create(owner_service="b", model_profile="shared")
    await acting("admin").send("PUT", "queues/shared", {"paused": True})

    (queue,) = (await acting("a-read").get("queues/shared")).json["queues"]

    assert (queue["paused"], queue["pending"]) == (True, 0)


@pytest.mark.parametrize("path", ["jobs", "stats", "events"])
async def test_asking_for_another_owner_is_forbidden(acting: As, path: str) -> None:
    answer = await acting("a-read").get(f"{path}?owner_service=b")

    assert answer.refusal == (403, "forbidden")
    assert "owner_service" in answer.problem["detail"]


async def test_workers_show_the_jobs_of_the_owner(acting: As) -> None:
    for owner in ("a", "b"):
        await acting("write").create(owner_service=owner)
    await acting("worker").post("jobs/claim", {"worker_id": "w", "limit": 2})
    mine = (await acting("a-read").get("jobs")).json["jobs"][0]["id"]

    (seen,) = (await acting("a-read").get("workers")).json["workers"]

    assert [job["id"] for job in seen["jobs"]] == [mine]
    assert seen["busy"] == 1


@pytest.mark.parametrize("verb", ["retry", "cancel"])
async def test_bulk_verbs_reach_the_jobs_of_the_owner_alone(acting: As, verb: str) -> None:
    ids = {owner: (await acting("write").create(owner_service=owner))["id"] for owner in ("a", "b")}
    if verb == "retry":
        await acting("worker").post("jobs/claim", {"worker_id": "w", "limit": 2})
    client = acting("a-write")

    nothing = await client.post(f"jobs/{verb}", {})
    foreign = await client.post(f"jobs/{verb}", {"owner_service": ["a", "b"]})
    by_id = await client.post(f"jobs/{verb}", {"id": ids["b"]})
    everything = await client.post(f"jobs/{verb}", {"all": True})

    assert nothing.refusal == (400, "empty_filter")
    assert foreign.refusal == (403, "forbidden")
    assert by_id.json["ids"] == []
    assert everything.json["ids"] == [ids["a"]]


async def test_queues_are_nobodys_own(acting: As) -> None:
    assert (await acting("a-admin").send("PUT", "queues/x", {"paused": True})).refusal == (403, "forbidden")
    assert (await acting("admin").send("PUT", "queues/x", {"paused": True})).status == 200


async def test_events_tell_of_the_jobs_of_the_owner(acting: As, session: ClientSession) -> None:
    client = acting("a-read")
    await client.listening()
    url = f"http://127.0.0.1:{client.port}/api/v1/events"

    async with session.get(url, headers={"Authorization": "Bearer a-read"}, timeout=ClientTimeout(SOON)) as stream:
        for owner in ("b", "a"):
            job = await acting("write").create(owner_service=owner)
            await acting("write").post(f"jobs/{job['id']}/cancel")
        text = ""
        while "event: job" not in text:
            text += (await stream.content.readline()).decode()
        text += (await stream.content.readuntil(b"\n\n")).decode()

    assert '"owner_service":"a"' in text.replace(" ", "")
    assert '"owner_service":"b"' not in text.replace(" ", "")


async def test_a_settlement_within_a_claim_reaches_the_jobs_of_the_owner_alone(acting: As) -> None:
    for owner in ("a", "b", "a"):
        await acting("write").create(owner_service=owner)
    jobs = (await acting("worker").post("jobs/claim", {"worker_id": "w", "limit": 3})).json["jobs"]
    answer = await acting("a-worker").post(
        "jobs/claim", {"worker_id": "w", "limit": 0, "settle": [completion(job) for job in jobs]}
    )

    settled = {job["owner_service"]: item for job, item in zip(jobs, answer.json["settled"], strict=True)}
    assert [item["id"] for item in answer.json["settled"]] == [job["id"] for job in jobs]
    assert settled["a"]["status"] == "completed"
    assert settled["b"]["code"] == "not_found"
    assert (await acting("read").get("stats")).json["queue"]["running"] == 1


async def test_a_claim_gets_the_jobs_of_the_owner_alone(acting: As) -> None:
    await acting("write").create(owner_service="b", priority=100)
    mine = await acting("write").create(owner_service="a", priority=-100)
    await acting("write").create(owner_service="b", priority=-100)

    answer = await acting("a-worker").post("jobs/claim", {"worker_id": "w", "limit": 3})

    assert [job["id"] for job in answer.json["jobs"]] == [mine["id"]]


async def test_a_repeated_claim_answers_nothing_foreign(acting: As) -> None:
    await acting("write").create(owner_service="b")
    claim: dict[str, Any] = {"worker_id": "w", "claim_id": "c"}
    await acting("worker").post("jobs/claim", claim)

    assert (await acting("a-worker").post("jobs/claim", claim)).json["jobs"] == []


async def test_a_waiting_claim_of_one_owner_holds_up_nobody(acting: As, db: psycopg.Connection[DictRow]) -> None:
    answers: list[tuple[str, list[dict[str, Any]]]] = []

    async def wait(token: str) -> None:
        answer = await acting(token).post("jobs/claim", {"worker_id": token, "wait": "60s"})
        answers.append((token, answer.json["jobs"]))

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "a-worker")
            await until_found(db, LEFT.format("a-worker"))
            tasks.start_soon(wait, "worker")
            await until_found(db, LEFT.format("worker"))
            await acting("write").create(owner_service="b")
            # Else the claim of both might find both, and take the other one.
            await until(lambda: answers)
            await acting("write").create(owner_service="a")

    assert {(token, job["owner_service"]) for token, jobs in answers for job in jobs} == {
        ("a-worker", "a"),
        ("worker", "b"),
    }
