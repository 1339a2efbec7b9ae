"""What may become of one job over HTTP: complete, fail, heartbeat, release, retry, cancel."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue

from aiserv.fields import parse_time
from tests.api.client import CHAT, UNKNOWN, Api
from tests.api.test_create import EXACT

FAILURE: dict[str, JsonValue] = {"category": "timeout", "message": "too slow"}
SETTLEMENTS: list[tuple[str, dict[str, JsonValue]]] = [
    ("complete", {"result": {}}),
    ("fail", FAILURE),
    ("heartbeat", {}),
    ("release", {}),
]


async def running(api: Api, **fields: JsonValue) -> dict[str, Any]:
    await api.create(**fields)
    return await api.claim()


async def test_a_completed_job_shows_its_result_character_for_character(api: Api) -> None:
    job = await running(api)
    body = f'{{"attempt": 1, "result": {EXACT} , "usage": {{"total_tokens": 7, "x": 1.10}}}}'

    answer = await api.send("POST", f"jobs/{job['id']}/complete", data=body.encode())

    assert (answer.status, answer.job["status"]) == (200, "completed")
    assert f'"result":{EXACT},' in answer.text
    assert '"usage":{"total_tokens": 7, "x": 1.10},' in answer.text


@pytest.mark.parametrize("result", ["null", "0", '"text"', "[]"])
async def test_a_result_may_be_any_json(api: Api, result: str) -> None:
    job = await running(api)

    answer = await api.send("POST", f"jobs/{job['id']}/complete", data=f'{{"result":{result}}}'.encode())

    assert answer.job["status"] == "completed"
    assert f'"result":{result},' in answer.text


async def test_a_repeated_completion_returns_the_job_unchanged(api: Api) -> None:
    job = await running(api)
    first = await api.post(f"jobs/{job['id']}/complete", {"result": 1, "attempt": 1})

    again = await api.post(f"jobs/{job['id']}/complete", {"result": 1, "attempt": 1})

    assert (again.status, again.json) == (200, first.json)


async def test_a_failure_that_may_be_retried_makes_the_job_pending_again(api: Api) -> None:
    job = await running(api)

    answer = await api.post(f"jobs/{job['id']}/fail", {**FAILURE, "retryable": True, "retry_after": "1h"})

    shown = answer.job
    assert (shown["status"], shown["failures"]) == ("pending", 1)
    assert (shown["error_category"], shown["error_message"]) == ("timeout", "too slow")


async def test_a_final_failure_fails_the_job(api: Api) -> None:
    job = await running(api)

    answer = await api.post(f"jobs/{job['id']}/fail", {**FAILURE, "usage": {"total_tokens": 3}})

    assert (answer.job["status"], answer.job["usage"]) == ("failed", {"total_tokens": 3})


async def test_a_long_message_is_cut(api: Api) -> None:
    job = await running(api)

    answer = await api.post(f"jobs/{job['id']}/fail", {**FAILURE, "message": "é" * 10_001})

    assert answer.job["error_message"] == "é" * 10_000


async def test_a_heartbeat_renews_the_lease_and_shows_progress(api: Api) -> None:
    job = await running(api)

    answer = await api.send(
        "POST", f"jobs/{job['id']}/heartbeat", data=f'{{"attempt":1,"lease":"1h","progress":{EXACT}}}'.encode()
    )

    renewed = parse_time(answer.job["lease_expires_at"]) - parse_time(answer.job["updated_at"])
    assert abs(renewed - timedelta(hours=1)) < timedelta(minutes=1)
    assert f'"progress":{EXACT},' in answer.text


async def test_progress_over_1_mib_is_refused(api: Api) -> None:
    job = await running(api)

    answer = await api.post(f"jobs/{job['id']}/heartbeat", {"progress": "x" * 1024 * 1024})

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"] == [{"field": "progress", "message": "must have at most 1 MiB"}]


async def test_a_released_job_is_pending_unharmed(api: Api) -> None:
    job = await running(api)

    answer = await api.post(f"jobs/{job['id']}/release", {"attempt": 1, "delay": "1h"})

    assert (answer.job["status"], answer.job["failures"], answer.job["attempt"]) == ("pending", 0, 1)
    assert answer.job["run_at"] > job["run_at"]


@pytest.mark.parametrize(("verb", "body"), SETTLEMENTS)
async def test_who_does_not_hold_the_job_has_lost_its_lease(api: Api, verb: str, body: dict[str, JsonValue]) -> None:
    job = await running(api)

    for holder in ({"attempt": 2}, {"worker_id": "other"}):
        answer = await api.post(f"jobs/{job['id']}/{verb}", {**body, **holder})
        assert answer.refusal == (409, "lease_lost")


@pytest.mark.parametrize(("verb", "body"), SETTLEMENTS)
async def test_a_job_that_does_not_run_is_in_an_invalid_state(api: Api, verb: str, body: dict[str, JsonValue]) -> None:
    job = await api.create()

    answer = await api.post(f"jobs/{job['id']}/{verb}", body)

    assert answer.refusal == (409, "invalid_state")
    assert "pending" in answer.problem["detail"]


@pytest.mark.parametrize(("verb", "body"), [*SETTLEMENTS, ("retry", {}), ("cancel", {})])
async def test_a_job_that_is_not_there_is_not_found(refusing: Api, verb: str, body: dict[str, JsonValue]) -> None:
    answer = await refusing.post(f"jobs/{UNKNOWN}/{verb}", body)

    assert answer.refusal == (404, "not_found")


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("complete", {}, "result"),
        ("complete", {"result": 1, "attempt": 0}, "attempt"),
        ("complete", {"result": 1, "attempt": "1"}, "attempt"),
        ("complete", {"result": 1, "attempt": 2**31}, "attempt"),
        ("complete", {"result": 1, "usage": {"total_tokens": -1}}, "usage.total_tokens"),
        ("complete", {"result": 1, "usage": {"total_tokens": 10**25}}, "usage.total_tokens"),
        ("complete", {"result": 1, "usage": []}, "usage"),
        ("fail", {"category": "timeout"}, "message"),
        ("fail", {"category": "Timed out", "message": ""}, "category"),
        ("fail", {**FAILURE, "retryable": 1}, "retryable"),
        ("fail", {**FAILURE, "retry_after": "-1s"}, "retry_after"),
        ("heartbeat", {"lease": 0}, "lease"),
        ("release", {"delay": "soon"}, "delay"),
        ("retry", {"force": True}, "force"),
        ("cancel", {"reason": 1}, "reason"),
        ("cancel", {"reason": "x" * 10_001}, "reason"),
    ],
)
async def test_a_field_that_makes_no_sense_is_refused_by_name(
    refusing: Api, verb: str, body: dict[str, JsonValue], field: str
) -> None:
    answer = await refusing.post(f"jobs/{UNKNOWN}/{verb}", body)

    assert answer.refusal == (400, "invalid_request")
    assert [error["field"] for error in answer.problem["errors"]] == [field]


async def test_a_failed_job_can_be_retried(api: Api) -> None:
    job = await running(api)
    await api.post(f"jobs/{job['id']}/fail", FAILURE)

    answer = await api.post(f"jobs/{job['id']}/retry")

    assert (answer.job["status"], answer.job["error_category"], answer.job["attempt"]) == ("pending", None, 1)


async def test_a_pending_job_cannot_be_retried(api: Api) -> None:
    job = await api.create()

    answer = await api.post(f"jobs/{job['id']}/retry", {})

    assert answer.refusal == (409, "invalid_state")
    assert "pending" in answer.problem["detail"]


async def test_cancelling_twice_is_the_same_as_once(api: Api) -> None:
    job = await api.create()
    first = await api.post(f"jobs/{job['id']}/cancel", {"reason": "nobody waits"})

    again = await api.post(f"jobs/{job['id']}/cancel")

    assert (first.job["status"], first.job["error_message"]) == ("cancelled", "nobody waits")
    assert (again.status, again.json) == (200, first.json)


async def test_a_completed_job_cannot_be_cancelled(api: Api) -> None:
    job = await running(api)
    await api.post(f"jobs/{job['id']}/complete", {"result": 1})

    answer = await api.post(f"jobs/{job['id']}/cancel")

    assert answer.refusal == (409, "invalid_state")
    assert "completed" in answer.problem["detail"]


async def test_settlements_without_an_attempt_are_counted(api: Api) -> None:
    job = await running(api)
    await api.post(f"jobs/{job['id']}/complete", {"result": 1})

    metrics = (await api.get("/metrics")).text

    assert "aiserv_unfenced_settlements_total 1.0" in metrics


async def test_transitions_are_counted(api: Api) -> None:
    job = await running(api)
    await api.post(f"jobs/{job['id']}/complete", {"result": 1, "attempt": 1})

    metrics = (await api.get("/metrics")).text

    for verb in ("create", "claim", "complete"):
        labels = f'model_profile="{CHAT["model_profile"]}",task_type="llm_chat",transition="{verb}"'
        assert any(labels in line and line.endswith(" 1.0") for line in metrics.splitlines()), metrics
    assert json.dumps(job["id"]) not in metrics
