"""Batches and their jobs under keys: a repeat is answered as the first time."""

import re
from typing import TYPE_CHECKING

import pytest

from aiserv.answers.jobs import CreatedBatch
from tests.api.batches import checked, lines
from tests.api.client import CHAT, Api

if TYPE_CHECKING:
    from pydantic import JsonValue


async def test_a_known_key_gives_the_existing_job_at_its_position(api: Api) -> None:
    old = await api.create(idempotency_key="a")

    batch = checked(
        await api.post("jobs/batch", {**CHAT, "jobs": [{"idempotency_key": "b"}, {"idempotency_key": "a"}]})
    )

    assert (batch["created"], batch["existing"], batch["ids"][1]) == (1, 1, old["id"])
    assert (await api.get(f"batches/{batch['batch_id']}")).json["counts"]["total"] == 2


async def test_the_same_key_twice_with_the_same_body_is_one_job(api: Api) -> None:
    batch = checked(await api.post("jobs/batch", {**CHAT, "jobs": [{"idempotency_key": "a"}] * 2}))

    assert (batch["created"], batch["existing"], len(set(batch["ids"]))) == (1, 1, 1)


async def test_the_same_key_twice_with_different_bodies_is_refused(api: Api) -> None:
    jobs: list[JsonValue] = [{"idempotency_key": "a"}, {"idempotency_key": "a", "priority": 1}]

    answer = await api.post("jobs/batch", {**CHAT, "jobs": jobs})

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"][0]["index"] == 1


async def test_a_repeated_batch_is_answered_as_the_first_time_with_the_jobs_as_they_are_now(api: Api) -> None:
    await api.create(idempotency_key="a")
    body: dict[str, JsonValue] = {**CHAT, "jobs": [{"delay": "1h"}, {"idempotency_key": "a"}, {"input": {"seed": 1.5}}]}
    first = checked(await api.post("jobs/batch", body, Idempotency_Key="k"))
    await api.post(f"jobs/{first['ids'][0]}/cancel")

    again = await api.post("jobs/batch", body, Idempotency_Key="k")

    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    CreatedBatch.model_validate_json(again.body)
    assert {**again.json, "jobs": []} == {**first, "jobs": []}
    assert (again.json["created"], again.json["existing"]) == (2, 1)
    assert [job["status"] for job in again.json["jobs"]] == ["cancelled", "pending", "pending"]
    assert len((await api.get("jobs")).json["jobs"]) == 3


async def test_the_same_batch_is_the_same_however_it_was_written(api: Api) -> None:
    first = checked(await api.post("jobs/batch", {**CHAT, "jobs": [{"input": {"a": 1}}] * 2}, Idempotency_Key="k"))
    body: dict[str, JsonValue] = {"defaults": {**CHAT, "input": {"a": 1}}, "jobs": [{}, {"priority": 0}]}
    owner, task_type, profile = (CHAT[name] for name in ("owner_service", "task_type", "model_profile"))
    defaults = f"?return=ids&owner_service={owner}&task_type={task_type}&model_profile={profile}"

    as_json = await api.post("jobs/batch?return=ids", body, Idempotency_Key="k")
    as_lines = await lines(api, '{"input":{"a":1.0}}\n{"input":{"a":1}}', defaults, Idempotency_Key="k")

    assert (as_json.status, as_lines.status) == (200, 200)
    assert as_json.json == as_lines.json
    assert as_json.json["ids"] == first["ids"]


async def test_a_key_of_another_batch_is_refused(api: Api) -> None:
    checked(await api.post("jobs/batch", {**CHAT, "jobs": [{}, {}]}, Idempotency_Key="k"))

    answer = await api.post("jobs/batch", {**CHAT, "jobs": [{}]}, Idempotency_Key="k")

    assert answer.refusal == (422, "idempotency_mismatch")
    assert len((await api.get("jobs")).json["jobs"]) == 2


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_a_key_of_a_batch_that_cannot_be_stored_is_refused_by_name(api: Api, key: str) -> None:
    answer = await api.post("jobs/batch", {**CHAT, "jobs": [{}]}, Idempotency_Key=key)

    assert [error["field"] for error in answer.problem["errors"]] == ["Idempotency-Key"]


async def test_a_repeated_batch_counts_its_jobs_once(api: Api) -> None:
    for _ in range(2):
        await api.post("jobs/batch", {**CHAT, "jobs": [{}, {}]}, Idempotency_Key="k")

    shown = (await api.get("/metrics")).text
    assert re.findall(r'aiserv_transitions_total\{.*transition="create"\} (.*)', shown) == ["2.0"]


async def test_a_key_of_another_body_refuses_the_batch(api: Api) -> None:
    await api.create(idempotency_key="a")

    answer = await api.post("jobs/batch", {**CHAT, "jobs": [{"idempotency_key": "a", "priority": 1}]})

    assert answer.refusal == (422, "idempotency_mismatch")
