"""Who stepped in over HTTP: the name of the token, and nothing else of it."""

from hashlib import sha256
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.api.client import CHAT, Api
from tests.api.conftest import As

Db = psycopg.Connection[DictRow]
ACTIONS = "select actor, action, jobs, model_profile from aiserv.actions order by acted_at"
MINE: dict[str, Any] = {**CHAT, "owner_service": "a"}


async def step_in(api: Api, *, queues: bool) -> None:
    """Everything that a caller may do to others' jobs and to queues."""
    jobs = [(await api.post("jobs", MINE)).job["id"] for _ in range(3)]
    assert (await api.post(f"jobs/{jobs[0]}/cancel", {"reason": "why"})).status == 200
    assert (await api.post("jobs/cancel", {"id": jobs})).json["cancelled"] == 2
    if queues:
        assert (await api.send("PUT", "queues/qwen2.5-14b", {"paused": True})).status == 200
        assert (await api.send("PUT", "queues/qwen2.5-14b", {"paused": True})).status == 200
        assert (await api.send("PUT", "queues/qwen2.5-14b/llm_chat", {"max_running": 1})).status == 200


@pytest.mark.parametrize(
    ("token", "name"),
    [("plain", "AI_SERVICE_TOKEN"), ("admin", "admin"), ("write", "write"), ("a-write", "a-write")],
)
async def test_what_a_token_did_bears_its_name(acting: As, db: Db, token: str, name: str) -> None:
    await step_in(acting(token), queues=name in {"AI_SERVICE_TOKEN", "admin"})

    rows = db.execute(ACTIONS).fetchall()
    assert {row["actor"] for row in rows} == {name}
    assert [(row["action"], row["jobs"], row["model_profile"]) for row in rows] == [
        ("cancel", 1, None),
        ("cancel", 2, None),
        *(("set_queue", None, "qwen2.5-14b") for row in rows[2:]),
    ]
    assert len(rows) == (4 if name in {"AI_SERVICE_TOKEN", "admin"} else 2)


async def test_retries_bear_the_name_of_the_token_too(acting: As, db: Db) -> None:
    api = acting("a-write")
    jobs = [(await api.post("jobs", MINE)).job["id"] for _ in range(2)]
    await acting("worker").post("jobs/claim", {"worker_id": "w", "limit": 2})

    assert (await api.post(f"jobs/{jobs[0]}/retry", {})).status == 200
    assert (await api.post("jobs/retry", {"id": jobs})).json["retried"] == 1

    assert db.execute(ACTIONS).fetchall() == [
        {"actor": "a-write", "action": "retry", "jobs": 1, "model_profile": None},
        {"actor": "a-write", "action": "retry", "jobs": 1, "model_profile": None},
    ]


async def test_of_an_open_api_it_was_anybody(api: Api, db: Db) -> None:
    await step_in(api, queues=True)

    assert {row["actor"] for row in db.execute(ACTIONS).fetchall()} == {"anybody"}


async def test_what_was_refused_is_not_remembered(acting: As, db: Db) -> None:
    job = (await acting("plain").post("jobs", {**CHAT, "owner_service": "b"})).job["id"]

    refused = [
        (await acting("a-write").post(f"jobs/{job}/cancel", {})).status,
        (await acting("read").post(f"jobs/{job}/cancel", {})).status,
        (await acting("write").send("PUT", "queues/qwen2.5-14b", {"paused": True})).status,
        (await acting("plain").post(f"jobs/{job}/cancel", {}, **{"If-Match": '"1"'})).status,
        (await acting("plain").post(f"jobs/{job}/retry", {})).status,
        (await acting("a-write").post("jobs/cancel", {"all": True})).json["cancelled"],
    ]

    assert refused == [404, 403, 403, 412, 409, 0]
    assert db.execute(ACTIONS).fetchall() == []


async def test_no_token_and_no_payload_is_remembered(acting: As, db: Db) -> None:
    job = (await acting("plain").post("jobs", {**CHAT, "input": "planted input", "metadata": {"x": "planted"}})).job
    await acting("plain").post(f"jobs/{job['id']}/cancel", {})

    (row,) = db.execute("select to_jsonb(kept)::text as text from aiserv.action as kept").fetchall()

    assert job["id"] in row["text"]
    for secret in ('"plain"', sha256(b"plain").hexdigest(), "planted"):
        assert secret not in row["text"]
