"""Queues, workers and numbers."""

from typing import Any
from uuid import UUID

import anyio
import psycopg
import pytest
from psycopg.rows import DictRow
from pydantic import JsonValue

from aiserv.answers.overview import QueueAnswer, QueuesAnswer, StatsAnswer, WorkersAnswer
from tests.api.client import CHAT, Answer, Api
from tests.waiting import SOON, until_found

LIMITS = {"max_running": None, "requests_per_minute": None, "tokens_per_minute": None}


def queue(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    QueueAnswer.model_validate_json(answer.body)
    return answer.json  # type: ignore[no-any-return]  # an object


async def queues(api: Api, path: str = "queues") -> list[tuple[str, str | None]]:
    answer = await api.get(path)
    QueuesAnswer.model_validate_json(answer.body)
    return [(each["model_profile"], each["task_type"]) for each in answer.json["queues"]]


async def test_queues_are_profiles_and_their_task_types(api: Api) -> None:
    await api.create(model_profile="a")
    await api.create(model_profile="b/c", task_type="x/y")
    await api.send("PUT", "queues/idle", {"max_running": 1})

    assert await queues(api) == [("a", None), ("a", "llm_chat"), ("b/c", None), ("b/c", "x/y"), ("idle", None)]
    assert await queues(api, "queues/b%2Fc") == [("b/c", None), ("b/c", "x/y")]
    assert await queues(api, "queues/b%2Fc/x%2Fy") == [("b/c", "x/y")]
    assert await queues(api, "queues/nobody") == []


async def test_names_of_queues_may_hold_slashes(api: Api) -> None:
    await api.create(model_profile="b/c", task_type="x/y")
    await api.create(model_profile="b/c", task_type="x")

    shown = queue(await api.send("PUT", "queues/b%2Fc/x%2Fy", {"paused": True}))

    assert (shown["model_profile"], shown["task_type"], shown["pending"]) == ("b/c", "x/y", 1)
    assert (await api.claim(limit=9))["task_type"] == "x"


async def test_a_queue_is_shown_with_its_numbers(api: Api) -> None:
    await api.create(model_profile="a")
    await api.create(model_profile="a")
    await api.claim()

    shown = queue(await api.send("PUT", "queues/a", {"max_running": 5, "tokens_per_minute": 1000}))

    assert shown == {
        "model_profile": "a", "task_type": None, "paused": False, "paused_until": None, "pause_reason": None,
        **LIMITS, "max_running": 5, "tokens_per_minute": 1000, "running": 1, "pending": 1,
    }  # fmt: skip


async def test_a_paused_queue_gives_no_jobs_until_it_is_resumed(api: Api) -> None:
    await api.create(model_profile="a")
    paused = queue(await api.send("PUT", "queues/a", {"paused": True, "pause_reason": "new weights"}))
    nothing = (await api.post("jobs/claim", {"worker_id": "w"})).json["jobs"]
    resumed = queue(await api.send("PUT", "queues/a", {"paused": False}))

    assert (paused["paused"], paused["pause_reason"], nothing) == (True, "new weights", [])
    assert (resumed["paused"], resumed["pause_reason"]) == (False, None)
    assert await api.claim()


async def test_a_queue_whose_provider_is_in_trouble_gives_no_jobs_and_says_why(
    api: Api, db: psycopg.Connection[DictRow]
) -> None:
    await api.create(model_profile="a")
    db.execute("select aiserv.report_provider('a', 'rate_limited', 'later', retry_after => interval '1 hour')")

    shown = (await api.get("queues/a")).json["queues"][0]
    nothing = (await api.post("jobs/claim", {"worker_id": "w"})).json["jobs"]
    metrics = (await api.get("/metrics")).text

    assert (shown["paused"], shown["pause_reason"], nothing) == (True, "provider a: rate_limited: later", [])
    assert shown["paused_until"] is not None
    assert 'aiserv_queue_paused{model_profile="a"} 1.0' in metrics


async def test_the_metrics_of_the_contract_are_there_and_name_no_owner_and_no_job(api: Api) -> None:
    job = await api.create(model_profile="a", owner_service="telephony", owner_ref="beeline/42")
    await api.get(f"jobs/{job['id']}")

    metrics = (await api.get("/metrics")).text

    for line in (
        'aiserv_jobs{model_profile="a",status="pending",task_type="llm_chat"} 1.0',
        'aiserv_jobs{model_profile="a",status="completed",task_type="llm_chat"} 0.0',
        'aiserv_transitions_total{model_profile="a",task_type="llm_chat",transition="create"} 1.0',
        'aiserv_http_request_seconds_count{method="GET",route="/api/v1/jobs/{job_id}",status="200"} 1.0',
        'aiserv_queue_paused{model_profile="a"} 0.0',
        "aiserv_unfenced_settlements_total 0.0",
    ):
        assert line in metrics.splitlines()
    (waited,) = [line for line in metrics.splitlines() if line.startswith("aiserv_oldest_pending_seconds{")]
    labels, _, seconds = waited.partition(" ")
    assert labels == 'aiserv_oldest_pending_seconds{model_profile="a"}'
    assert 0 < float(seconds) < 60
    assert not [said for said in ("telephony", "beeline", job["id"]) if said in metrics]


async def test_a_client_that_goes_is_none_that_asked_for_nonsense(api: Api, db: psycopg.Connection[DictRow]) -> None:
    await api.first(b"GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    claim = b'{"worker_id":"gone","wait":"60s"}'
    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        await stream.send(
            b"POST /api/v1/jobs/claim HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(claim) + claim
        )
        await until_found(db, "select from aiserv.workers where worker_id = 'gone'")

    for labels in (
        'method="GET",route="/api/v1/events",status="200"',
        'method="POST",route="/api/v1/jobs/claim",status="499"',
    ):
        with anyio.fail_after(SOON):
            while (  # noqa: ASYNC110 - a counter
                f"aiserv_http_request_seconds_count{{{labels}}} 1.0" not in (await api.get("/metrics")).text
            ):
                await anyio.sleep(0.01)


async def test_what_is_left_out_stays_and_null_lifts(api: Api) -> None:
    await api.send("PUT", "queues/a", {"max_running": 3, "requests_per_minute": 60, "paused": True})

    shown = queue(await api.send("PUT", "queues/a", {"max_running": None}))

    assert (shown["max_running"], shown["requests_per_minute"], shown["paused"]) == (None, 60, True)


async def test_the_reason_of_a_pause_can_be_lifted_alone(api: Api) -> None:
    await api.send("PUT", "queues/a", {"paused": True, "pause_reason": "why"})

    kept = queue(await api.send("PUT", "queues/a", {"paused": True}))
    lifted = queue(await api.send("PUT", "queues/a", {"pause_reason": None}))

    assert (kept["pause_reason"], lifted["pause_reason"], lifted["paused"]) == ("why", None, True)


async def test_of_two_levels_the_tighter_holds(api: Api) -> None:
    await api.post("jobs/batch", {**CHAT, "model_profile": "a", "jobs": [{}] * 5})
    await api.send("PUT", "queues/a", {"max_running": 3})
    await api.send("PUT", "queues/a/llm_chat", {"max_running": 2})

    claimed = (await api.post("jobs/claim", {"worker_id": "w", "limit": 5})).json["jobs"]

    assert len(claimed) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_running": -1}, "max_running"),
        ({"max_running": 2**31}, "max_running"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": "1"}, "tokens_per_minute"),
        ({"paused": "yes"}, "paused"),
        ({"pause_reason": "x" * 1001}, "pause_reason"),
        ({"pause_reason": ""}, "pause_reason"),
        ({"pausd": True}, "pausd"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused_by_name(
    refusing: Api, body: dict[str, JsonValue], field: str
) -> None:
    answer = await refusing.send("PUT", "queues/a", body)

    assert answer.refusal == (400, "invalid_request")
    assert [error["field"] for error in answer.problem["errors"]] == [field]


async def test_a_name_of_a_queue_has_at_most_200_characters(api: Api) -> None:
    answer = await api.send("PUT", f"queues/{'x' * 201}", {"paused": True})

    assert answer.refusal == (400, "invalid_request")


async def test_workers_over_http_are_known_by_their_claims(api: Api) -> None:
    await api.create()
    job = await api.claim(worker_id="w/1", task_types=["llm_chat"])

    answer = await api.get("workers")

    WorkersAnswer.model_validate_json(answer.body)
    (worker,) = answer.json["workers"]
    assert str(UUID(worker["instance_id"])) == worker.pop("instance_id")
    assert worker.pop("last_seen_at").endswith("Z")
    assert worker == {
        "worker_id": "w/1", "kind": "http", "task_types": ["llm_chat"], "model_profiles": [], "slots": None,
        "owner_service": None,
        "busy": 1, "state": "live", "jobs": [{"id": job["id"], "attempt": 1}],
    }  # fmt: skip


async def test_metrics_are_openmetrics_when_asked_for(api: Api) -> None:
    plain = await api.get("/metrics")
    asked = await api.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert plain.headers["Content-Type"].startswith("text/plain")
    assert asked.headers["Content-Type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


async def test_stats_count_by_state_group_and_category(api: Api) -> None:
    await api.post("jobs/batch", {**CHAT, "jobs": [{}, {}, {"delay": "1h"}, {"owner_service": "crm"}]})
    job = await api.claim()
    await api.post(f"jobs/{job['id']}/fail", {"category": "timeout", "message": ""})

    answer = await api.get("stats")

    StatsAnswer.model_validate_json(answer.body)
    stats = answer.json
    assert stats["queue"] == {
        "pending": 3, "scheduled": 1, "running": 0, "completed": 0, "failed": 1, "cancelled": 0, "total": 4
    }  # fmt: skip
    assert stats["errors"] == {"timeout": 1}
    assert [group["owner_service"] for group in stats["groups"]] == ["crm", "telephony"]
    assert stats["backlog"]["pending"] == 2
    assert stats["unserved"] == []


async def test_stats_name_the_work_that_no_worker_takes(api: Api) -> None:
    await api.create(task_type="strange")

    stats = (await api.get("stats")).json

    assert stats["unserved"] == [{"task_type": "strange", "model_profile": CHAT["model_profile"], "pending": 1}]


async def test_filters_of_stats_apply_to_all_parts(api: Api) -> None:
    await api.post("jobs/batch", {**CHAT, "jobs": [{}, {"owner_service": "crm", "task_type": "x/y"}]})

    stats = (await api.get("stats?owner_service=crm&task_type=x%2Fy&model_profile=qwen2.5-14b")).json

    assert (stats["queue"]["total"], stats["backlog"]["pending"], len(stats["groups"])) == (1, 1, 1)


async def test_each_filter_of_stats_alone_leaves_out_the_others(api: Api) -> None:
    wanted: list[JsonValue] = [{name: "wanted"} for name in CHAT]
    await api.post("jobs/batch", {**CHAT, "jobs": [{}, *wanted]})

    shown = [(await api.get(f"stats?{name}=wanted")).json["groups"] for name in CHAT]

    assert [[group[name] for group in groups] for name, groups in zip(CHAT, shown, strict=True)] == [["wanted"]] * 3


@pytest.mark.parametrize("since", ["24h", "90", "2020-01-01T00:00:00Z"])
async def test_stats_since_count_what_has_finished_since(api: Api, db: psycopg.Connection[DictRow], since: str) -> None:
    job = await api.create()
    await api.post(f"jobs/{job['id']}/cancel")

    assert (await api.get(f"stats?since={since}")).json["queue"]["cancelled"] == 1
    assert (await api.get("stats?since=2999-01-01T00:00:00Z")).json["queue"]["cancelled"] == 0


@pytest.mark.parametrize("query", ["since=yesterday", "since=2020-01-01", "owner=x", "task_type=", "since=1h&since=2h"])
async def test_a_parameter_of_stats_that_makes_no_sense_is_refused(refusing: Api, query: str) -> None:
    assert (await refusing.get(f"stats?{query}")).refusal == (400, "invalid_request")
