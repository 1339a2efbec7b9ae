"""Scoped tokens: every route with every scope, and what a token that is bound to an owner sees and touches."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, ClientTimeout
from pydantic import JsonValue

from aiserv.api.openapi import openapi
from aiserv.api.routes import TABLE
from aiserv.api.routing import Route
from tests.api.client import CHAT, Answer, Api
from tests.api.conftest import Start
from tests.waiting import until

ABSENT = "0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10"
# Scope: what else it may besides what needs it.
MAY = {
    "read": {"read"},
    "write": {"read", "write"},
    "worker": {"worker"},
    "admin": {"read", "write", "worker", "admin"},
}
As = Callable[[str], "Guarded"]


class Guarded(Api):
    """A client with a token."""

    def __init__(self, session: ClientSession, port: int, token: str) -> None:
        super().__init__(session, port)
        self._token = token

    async def send(self, method: str, path: str, body: Any = None, **given: Any) -> Answer:  # noqa: ANN401 - handed on
        headers = {"Authorization": f"Bearer {self._token}", **(given.pop("headers", None) or {})}
        return await super().send(method, path, body, headers=headers, **given)


def table(name: str, scope: str, owner: str) -> str:
    return f'[{name}]\nscope = "{scope}"\nowner_service = "{owner}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\n'


@pytest.fixture
def acting(start: Start, session: ClientSession, tmp_path: Path) -> As:
    """Clients with tokens: read, write, worker, admin for all owners, and a-read, … for owner a."""
    file = tmp_path / "tokens.toml"
    file.write_text("".join(table(scope, scope, "*") + table(f"a-{scope}", scope, "a") for scope in MAY))
    port = start(AI_SERVICE_TOKEN="plain", AI_SERVICE_TOKENS_FILE=str(file)).port
    return lambda token: Guarded(session, port, token)


def jobs_of(*owners: str) -> list[JsonValue]:
    return [{**CHAT, "owner_service": owner} for owner in owners]


def completion(job: dict[str, Any]) -> JsonValue:
    return {"id": job["id"], "attempt": job["attempt"], "result": 1}


def target(route: Route) -> str:
    path = route.path
    for name in ("job_id", "batch_id", "model_profile", "task_type"):
        path = path.replace(f"{{{name}}}", ABSENT)
    return path


@pytest.mark.parametrize("token", [*MAY, "plain"])
async def test_a_scope_allows_its_routes_and_no_other(acting: As, session: ClientSession, token: str) -> None:
    client = acting(token)
    allowed = set()

    for route in TABLE:
        # A body that nobody takes: whoever is allowed so far hears 400, or 404 for what is not there.
        url = f"http://127.0.0.1:{client.port}{target(route)}?x=1"
        async with session.request(
            route.method, url, headers={"Authorization": f"Bearer {token}"}, timeout=ClientTimeout(10)
        ) as answer:
            if answer.status != 403:
                allowed.add((route.method, route.path))

    assert allowed == {(route.method, route.path) for route in TABLE if route.scope in MAY.get(token, {route.scope})}


async def test_a_refusal_names_the_token_and_both_scopes(acting: As) -> None:
    answer = await acting("read").post("jobs", CHAT)

    assert answer.refusal == (403, "forbidden")
    assert answer.problem["detail"] == "this needs a token of scope write; read has read"


async def test_a_scope_is_looked_at_before_the_body_is_read(acting: As) -> None:
    answer = await acting("read").first(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer read\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )

    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_head_needs_the_scope_of_get(acting: As) -> None:
    assert (await acting("worker").send("HEAD", "stats")).status == 403
    assert (await acting("read").send("HEAD", "stats")).status == 200


@pytest.mark.parametrize("token", [*MAY, *(f"a-{scope}" for scope in MAY)])
async def test_what_is_not_there_is_404_and_405_with_every_token(acting: As, token: str) -> None:
    assert (await acting(token).get("nothing")).refusal == (404, "not_found")
    assert (await acting(token).send("DELETE", "jobs")).refusal == (405, "method_not_allowed")


def test_the_document_shows_the_scope_of_every_operation() -> None:
    paths = openapi(TABLE)["paths"]

    for route in TABLE:
        operation = paths[route.path][route.method.lower()]
        assert operation["security"] == [{"bearer": [route.scope]}]
        assert "403" in operation["responses"]


# Tokens that are bound to an owner.


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
BODIES = {"/complete": {"result": 1}, "/fail": {"category": "x", "message": ""}}


def test_every_route_of_a_job_is_among_those_tried() -> None:
    tried = {(method, path.partition("?")[0]) for method, path, _ in JOB_ROUTES}

    assert tried == {(route.method, route.path.partition("{job_id}")[2]) for route in TABLE if "{job_id}" in route.path}


@pytest.mark.parametrize(("method", "path", "token"), JOB_ROUTES)
async def test_the_job_of_another_owner_is_not_there(acting: As, method: str, path: str, token: str) -> None:
    foreign = await acting("write").create(owner_service="b")
    await acting("worker").claim()
    before = (await acting("read").get(f"jobs/{foreign['id']}")).job

    answer = await acting(token).send(method, f"jobs/{foreign['id']}{path}", BODIES.get(path))
    absent = await acting(token).send(method, f"jobs/{ABSENT}{path}", BODIES.get(path))

    assert answer.refusal == absent.refusal == (404, "not_found")
    assert answer.problem["detail"].replace(foreign["id"], ABSENT) == absent.problem["detail"]
    assert (await acting("read").get(f"jobs/{foreign['id']}")).job == before


@pytest.mark.parametrize("owners", [["b"], ["a", "b"]])
async def test_a_batch_that_holds_jobs_of_others_is_not_there(acting: As, owners: list[str]) -> None:
    jobs = jobs_of(*owners)
    batch = (await acting("write").post("jobs/batch", {"jobs": jobs})).json["batch_id"]

    assert (await acting("a-read").get(f"batches/{batch}")).refusal == (404, "not_found")
    assert (await acting("a-read").get(f"batches/{ABSENT}")).refusal == (404, "not_found")


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
    url = f"http://127.0.0.1:{client.port}/api/v1/events"

    async with session.get(url, headers={"Authorization": "Bearer a-read"}, timeout=ClientTimeout(10)) as stream:
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


async def test_a_waiting_claim_of_one_owner_holds_up_nobody(acting: As) -> None:
    answers: list[tuple[str, list[dict[str, Any]]]] = []

    async def wait(token: str) -> None:
        answer = await acting(token).post("jobs/claim", {"worker_id": token, "wait": "20s"})
        answers.append((token, answer.json["jobs"]))

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "a-worker")
            await until_it_waits(acting, "a-worker")
            tasks.start_soon(wait, "worker")
            await until_it_waits(acting, "worker")
            await acting("write").create(owner_service="b")
            # Else the claim of both might find both, and take the other one.
            await until(lambda: answers)
            await acting("write").create(owner_service="a")

    assert {(token, job["owner_service"]) for token, jobs in answers for job in jobs} == {
        ("a-worker", "a"),
        ("worker", "b"),
    }


async def until_it_waits(acting: As, worker_id: str) -> None:
    """Wait for the name that a claim has left when it came back with nothing."""
    while True:
        workers = (await acting("read").get("workers")).json["workers"]
        if worker_id in {worker["worker_id"] for worker in workers}:
            return
        await anyio.sleep(0.01)
