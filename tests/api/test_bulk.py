"""Retry and cancel by filter."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
import psycopg
import pytest
from psycopg.rows import DictRow
from pydantic import JsonValue

from aiserv.answers.jobs import Cancelled, Retried
from tests.api.client import CHAT, Api
from tests.waiting import until_found

VERBS = ["retry", "cancel"]


async def batch(api: Api, *jobs: JsonValue) -> list[str]:
    answer = await api.post("jobs/batch?return=ids", {**CHAT, "jobs": list(jobs)})
    return answer.json["ids"]  # type: ignore[no-any-return]  # a list of ids


async def failed(api: Api, count: int, **fields: JsonValue) -> list[str]:
    ids = await batch(api, *[fields] * count)
    claimed = (await api.post("jobs/claim", {"worker_id": "w1", "limit": count})).json["jobs"]
    settle: list[JsonValue] = [{"id": job["id"], "attempt": 1, "category": "timeout", "message": ""} for job in claimed]
    await api.post("jobs/claim", {"worker_id": "w1", "limit": 0, "settle": settle})
    return ids


async def statuses(api: Api) -> dict[str, int]:
    return {
        name: number
        for name, number in (await api.get("stats")).json["queue"].items()
        if number and name not in {"total", "scheduled"}
    }


async def test_all_jobs_that_match_are_cancelled(api: Api) -> None:
    ids = await batch(api, {"owner_service": "crm"}, {"owner_service": "crm"}, {"owner_service": "crm"}, {})

    answer = await api.post("jobs/cancel", {"owner_service": "crm", "reason": "not needed"})

    Cancelled.model_validate_json(answer.body)
    assert answer.json == {"cancelled": 3, "ids": sorted(ids[:3])}
    assert (await api.get(f"jobs/{ids[0]}")).json["error_message"] == "not needed"
    assert await statuses(api) == {"pending": 1, "cancelled": 3}


async def test_all_jobs_that_match_are_retried(api: Api) -> None:
    ids = await failed(api, 3)

    answer = await api.post("jobs/retry", {"error_category": ["timeout", "other"], "status": "failed"})

    Retried.model_validate_json(answer.body)
    assert answer.json == {"retried": 3, "ids": sorted(ids)}
    assert await statuses(api) == {"pending": 3}


async def test_running_jobs_are_meant_without_a_status(api: Api) -> None:
    await batch(api, {}, {})
    await api.claim(limit=1)

    assert (await api.post("jobs/retry", {"all": True})).json["retried"] == 1
    assert (await api.post("jobs/cancel", {"all": True})).json["cancelled"] == 2


async def test_a_repeat_finds_nothing_more(api: Api) -> None:
    await batch(api, {}, {})
    await api.post("jobs/cancel", {"all": True})

    assert (await api.post("jobs/cancel", {"all": True})).json == {"cancelled": 0, "ids": []}


async def test_a_limit_takes_the_oldest(api: Api) -> None:
    ids = await batch(api, *[{}] * 5)

    answer = await api.post("jobs/cancel", {"task_type": "llm_chat", "limit": 2})

    assert answer.json == {"cancelled": 2, "ids": sorted(ids)[:2]}


async def test_many_jobs_are_worked_off_in_pieces_and_the_first_thousand_shown(api: Api) -> None:
    await batch(api, *[{}] * 2500)

    answer = await api.post("jobs/cancel", {"all": True, "limit": 2400})

    assert (answer.json["cancelled"], len(set(answer.json["ids"]))) == (2400, 1000)
    assert await statuses(api) == {"pending": 100, "cancelled": 2400}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("body", [None, {}, {"limit": 5}, {"all": False}])
async def test_a_filter_without_a_condition_is_refused(refusing: Api, verb: str, body: JsonValue) -> None:
    answer = await refusing.post(f"jobs/{verb}", body)

    assert answer.refusal == (400, "empty_filter")
    assert await statuses(refusing) == {"pending": 1}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"owner": "crm"}, "owner"),
        ({"id": []}, "id"),
        ({"id": None}, "id"),
        ({"id": ["x"]}, "id[0]"),
        ({"id": 7}, "id[0]"),
        ({"owner_service": None}, "owner_service"),
        ({"owner_service": []}, "owner_service"),
        ({"owner_service": ["a"] * 1001}, "owner_service"),
        ({"task_type": 1}, "task_type[0]"),
        ({"created_after": None}, "created_after"),
        ({"created_before": "today"}, "created_before"),
        ({"status": "completed"}, "status[0]"),
        ({"status": []}, "status"),
        ({"all": "true"}, "all"),
        ({"all": True, "limit": 0}, "limit"),
        ({"all": True, "limit": None}, "limit"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_by_name(
    refusing: Api, verb: str, body: dict[str, JsonValue], field: str
) -> None:
    answer = await refusing.post(f"jobs/{verb}", body)

    assert answer.refusal == (400, "invalid_request")
    assert [error["field"] for error in answer.problem["errors"]] == [field]
    assert await statuses(refusing) == {"pending": 1}


@pytest.mark.parametrize(("verb", "status"), [("retry", "pending"), ("cancel", "failed")])
async def test_a_status_that_the_verb_cannot_act_on_is_refused(refusing: Api, verb: str, status: str) -> None:
    answer = await refusing.post(f"jobs/{verb}", {"status": [status]})

    assert answer.refusal == (400, "invalid_request")


async def running_pair(api: Api, number: int) -> list[dict[str, Any]]:
    """Two running jobs, other and wanted, that differ in whatever a filter may name."""
    jobs = []
    for kind in (f"other {number}", f"wanted {number}"):
        fields: dict[str, JsonValue] = {name: f"{kind} {name}" for name in (*CHAT, "owner_ref")}
        await batch(api, fields)
        failing = await api.claim(model_profiles=[fields["model_profile"]])
        failure: JsonValue = {"category": kind.replace(" ", "_"), "message": "", "retryable": True, "retry_after": 0}
        await api.post(f"jobs/{failing['id']}/fail", failure)
        jobs.append(await api.claim(model_profiles=[fields["model_profile"]], worker_id=kind))
    return jobs


@pytest.mark.parametrize("verb", VERBS)
async def test_each_condition_alone_finds_what_it_names_also_in_a_list(api: Api, verb: str) -> None:
    other, wanted = await running_pair(api, 0)
    before = await api.post(f"jobs/{verb}", {"created_before": wanted["created_at"]})
    assert before.json["ids"] == [other["id"]]

    names = ("id", *CHAT, "owner_ref", "error_category", "worker_id", "batch_id", "created_after")
    for number, name in enumerate(names, 1):
        _, wanted = await running_pair(api, number)
        value = wanted["created_at" if name == "created_after" else name]
        listed = await api.get(f"jobs?{name}={quote(value)}")
        answer = await api.post(f"jobs/{verb}", {name: value})
        assert [job["id"] for job in listed.json["jobs"]] == answer.json["ids"] == [wanted["id"]], name


async def test_each_piece_is_committed_before_the_next(
    api: Api, db: psycopg.Connection[DictRow], connect: Callable[..., psycopg.Connection[DictRow]]
) -> None:
    ids = await batch(api, *[{}] * 1001)
    blocker = connect()

    async with anyio.create_task_group() as tasks:
        with blocker.transaction():
            blocker.execute("select from aiserv.job where id = %s for update", [max(ids)])
            tasks.start_soon(partial(api.post, "jobs/cancel", {"all": True}))
            await until_found(db, "select from aiserv.jobs where status = 'cancelled' having count(*) = 1000")

    assert await statuses(api) == {"cancelled": 1001}


async def test_a_list_and_a_bulk_verb_mean_the_same_by_a_filter(api: Api) -> None:
    await batch(api, {"owner_ref": "a"}, {"owner_ref": "b"}, {"owner_ref": ""})
    listed: Any = (await api.get("jobs?owner_ref=a&owner_ref=")).json["jobs"]

    answer = await api.post("jobs/cancel", {"owner_ref": ["a", ""]})

    assert sorted(job["id"] for job in listed) == answer.json["ids"]


@pytest.mark.parametrize("verb", VERBS)
async def test_jobs_that_were_created_before_the_clock_was_set_back_are_meant_too(
    api: Api, db: psycopg.Connection[DictRow], verb: str
) -> None:
    (old,) = await failed(api, 1)
    (waiting,) = await batch(api, {})
    with db.transaction():
        # What no transition does: the guards are switched off.
        db.execute("set local session_replication_role = replica")
        db.execute("update aiserv.job set created_at = created_at + interval '1 hour'")

    answer = await api.post(f"jobs/{verb}", {"owner_service": CHAT["owner_service"]})

    assert answer.json["ids"] == [old if verb == "retry" else waiting]
