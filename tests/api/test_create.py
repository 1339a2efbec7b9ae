"""Creating one job."""

import json

import pytest
from pydantic import JsonValue

from tests.api.client import CHAT, Api

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
# What no reader and writer of JSON of our own would give back as it came.
EXACT = (
    '{"b" : 1e400, "a":0.1000000000000000055511151231257827,\t"a":1.0, "n":-0, '
    '"big":123456789012345678901234567890123456789, "u":"\\u00e9\\ud83d\\ude00é", "e":{} , "l":[ ]}'
)


async def test_a_new_job_is_shown_with_all_its_fields(api: Api) -> None:
    answer = await api.post("jobs", {**CHAT, "input": {"user": "Hello"}})

    job = answer.job
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert job["id"][14] == "7"
    assert job["created_at"] == job["updated_at"] == job["run_at"]
    defaults = {
        "status": "pending", "priority": 0, "owner_ref": "", "result": None, "progress": None, "metadata": {},
        "usage": None, "error_category": None, "error_message": None, "attempt": 0, "failures": 0,
        "max_attempts": 3, "worker_id": None, "idempotency_key": None, "batch_id": None, "traceparent": None,
        "lease_expires_at": None, "timeout_seconds": None, "started_at": None, "finished_at": None,
    }  # fmt: skip
    assert job == {**CHAT, **defaults, **{k: job[k] for k in ("id", "run_at", "created_at", "updated_at")}} | {
        "input": {"user": "Hello"}
    }


async def test_all_fields_that_a_creator_may_set_are_kept(api: Api) -> None:
    fields: dict[str, JsonValue] = {
        "owner_ref": "beeline/42",
        "priority": -100,
        "run_at": "2031-01-02T03:04:05.678901+03:00",
        "max_attempts": 100,
        "timeout_seconds": 0.5,
        "metadata": {"a": [1]},
        "idempotency_key": "k" * 200,
        "traceparent": TRACE,
    }

    job = await api.create(**fields)

    assert {name: job[name] for name in fields} == {**fields, "run_at": "2031-01-02T00:04:05.678901Z"}


async def test_a_field_may_be_as_small_and_as_large_as_its_limits(api: Api) -> None:
    names = ("owner_service", "task_type", "model_profile")
    metadata: JsonValue = {"a": "x" * (16 * 1024 - len('{"a": ""}'))}
    least: dict[str, JsonValue] = {"priority": -100, "max_attempts": 1, "timeout_seconds": 1e-6, "owner_ref": ""}
    most: dict[str, JsonValue] = {
        "priority": 100, "max_attempts": 100, "timeout_seconds": 86400, "owner_ref": "é" * 500, "metadata": metadata
    }  # fmt: skip

    for length, fields in ((1, least), (200, most)):
        given = {**dict.fromkeys(names, "é" * length), "idempotency_key": "é" * length, **fields}
        job = await api.create(**given)
        assert {name: job[name] for name in given} == given


@pytest.mark.parametrize("name", ["input", "metadata"])
async def test_a_payload_comes_back_character_for_character(api: Api, name: str) -> None:
    body = f'{json.dumps(CHAT)[:-1]},"{name}":{EXACT}}}'.encode()

    created = await api.send("POST", "jobs", data=body)
    read = await api.get(f"jobs/{created.json['id']}")

    assert f'"{name}":{EXACT},' in created.text
    assert f'"{name}":{EXACT},' in read.text


@pytest.mark.parametrize("payload", ["null", "0", '""', "[]", "[1 , 2]", "true", "-1.50e-3"])
async def test_an_input_may_be_any_json(api: Api, payload: str) -> None:
    created = await api.send("POST", "jobs", data=f'{json.dumps(CHAT)[:-1]},"input":{payload}}}'.encode())

    assert created.status == 201
    assert f'"input":{payload},' in created.text


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("90s", 90), ("1h30m", 5400), (1.5, 1.5), ("300ms", 0.3), ("10us", 1e-5), (0, 0), ("8784h", 31622400)],
)
async def test_a_delay_is_a_go_duration_or_seconds(api: Api, delay: JsonValue, seconds: float) -> None:
    job = await api.create(delay=delay)

    stored = await api.get(f"jobs?id={job['id']}&status=pending")
    assert stored.json["jobs"][0]["run_at"] == job["run_at"]
    assert _seconds(job["created_at"], job["run_at"]) == pytest.approx(seconds)


def _seconds(first: str, last: str) -> float:
    from aiserv.fields import parse_time  # noqa: PLC0415

    return (parse_time(last) - parse_time(first)).total_seconds()


async def test_a_known_key_answers_the_job_as_it_is_now(api: Api) -> None:
    job = await api.create(idempotency_key="call-42", input={"a": 1, "b": 2})
    await api.post(f"jobs/{job['id']}/cancel")

    again = await api.send(
        "POST",
        "jobs",
        data=json.dumps({**CHAT, "idempotency_key": "call-42"})[:-1].encode() + b',"input":{"b":2.0,"a":1}}',
    )

    assert again.status == 200
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert again.job["status"] == "cancelled"


async def test_a_new_job_is_no_replay(api: Api) -> None:
    answer = await api.post("jobs", {**CHAT, "idempotency_key": "new"})

    assert "Idempotency-Replayed" not in answer.headers


async def test_the_key_may_stand_in_a_header(api: Api) -> None:
    first = await api.post("jobs", CHAT, Idempotency_Key="über/42")
    again = await api.post("jobs", {**CHAT, "idempotency_key": "über/42"})

    assert first.job["idempotency_key"] == "über/42"
    assert (again.status, again.json["id"]) == (200, first.json["id"])


async def test_a_header_and_a_body_with_different_keys_are_refused(api: Api) -> None:
    answer = await api.post("jobs", {**CHAT, "idempotency_key": "a"}, Idempotency_Key="b")

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"][0]["field"] == "idempotency_key"


@pytest.mark.parametrize("key", ["", "x" * 201, "\udcff"])
async def test_a_key_that_cannot_be_stored_is_refused(refusing: Api, key: str) -> None:
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nIdempotency-Key: "

    answer = await refusing.raw(head + key.encode(errors="surrogateescape") + b"\r\n\r\n{}")

    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_key_of_another_body_is_refused(api: Api) -> None:
    await api.create(idempotency_key="k", priority=1)

    answer = await api.post("jobs", {**CHAT, "idempotency_key": "k", "priority": 2})

    assert answer.refusal == (422, "idempotency_mismatch")


async def test_another_owner_may_use_the_same_key(api: Api) -> None:
    first = await api.create(idempotency_key="k")

    second = await api.create(idempotency_key="k", owner_service="crm")

    assert first["id"] != second["id"]


async def test_the_trace_of_the_header_is_kept_and_given_to_whoever_claims(api: Api) -> None:
    answer = await api.post("jobs", CHAT, traceparent=TRACE)

    assert answer.job["traceparent"] == (await api.claim())["traceparent"] == TRACE


async def test_a_header_that_is_no_trace_is_ignored(api: Api) -> None:
    answer = await api.post("jobs", CHAT, traceparent="nonsense")

    assert answer.job["traceparent"] is None


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"owner_service": ""}, "owner_service", "must not be empty"),
        ({"owner_service": "x" * 201}, "owner_service", "must have at most 200 characters"),
        ({"owner_service": 7}, "owner_service", "must be text"),
        ({"task_type": None}, "task_type", "must be text"),
        ({"task_type": ""}, "task_type", "must not be empty"),
        ({"task_type": "x" * 201}, "task_type", "must have at most 200 characters"),
        ({"model_profile": ""}, "model_profile", "must not be empty"),
        ({"model_profile": "x" * 201}, "model_profile", "must have at most 200 characters"),
        ({"owner_ref": "x" * 501}, "owner_ref", "must have at most 500 characters"),
        ({"priority": 101}, "priority", "must be less than or equal to 100"),
        ({"priority": -101}, "priority", "must be greater than or equal to -100"),
        ({"priority": "1"}, "priority", "must be an integer"),
        ({"priority": 1.0}, "priority", "must be an integer"),
        ({"priority": True}, "priority", "must be an integer"),
        ({"max_attempts": 0}, "max_attempts", "must be greater than or equal to 1"),
        ({"max_attempts": 101}, "max_attempts", "must be less than or equal to 100"),
        ({"timeout_seconds": 0}, "timeout_seconds", "must be greater than 0"),
        ({"timeout_seconds": 86400.5}, "timeout_seconds", "must be less than or equal to 86400"),
        ({"timeout_seconds": "1"}, "timeout_seconds", "must be a number"),
        ({"metadata": []}, "metadata", "must be an object"),
        ({"metadata": {"a": "x" * 16384}}, "metadata", "must have at most 16 KiB"),
        ({"run_at": "2031-01-02T03:04:05"}, "run_at", "must be a time with zone, like 2026-06-09T08:49:12Z"),
        ({"run_at": "2031-02-30T03:04:05Z"}, "run_at", "must be a time with zone, like 2026-06-09T08:49:12Z"),
        ({"run_at": 1717930152}, "run_at", "must be a time with zone, like 2026-06-09T08:49:12Z"),
        ({"delay": "1 day"}, "delay", "must be a duration like 300ms, 2s, 5m or 1h30m, or a number of seconds"),
        ({"delay": -1}, "delay", "must be from 0s to 8784h"),
        ({"delay": 1e400}, "delay", "must be a duration like 300ms, 2s, 5m or 1h30m, or a number of seconds"),
        ({"delay": "8785h"}, "delay", "must be from 0s to 8784h"),
        ({"delay": 1, "run_at": "2031-01-02T03:04:05Z"}, "delay", "give run_at or delay, not both"),
        ({"delay": 0, "run_at": "2031-01-02T03:04:05Z"}, "delay", "give run_at or delay, not both"),
        ({"idempotency_key": ""}, "idempotency_key", "must not be empty"),
        ({"traceparent": "x"}, "traceparent", "must be a W3C trace context"),
        ({"modle_profile": "x"}, "modle_profile", "unknown field"),
    ],
)
async def test_a_field_that_makes_no_sense_is_refused_by_name(
    refusing: Api, fields: dict[str, JsonValue], field: str, message: str
) -> None:
    body = json.dumps({**CHAT, **fields}).replace("Infinity", "1e400").encode()

    answer = await refusing.send("POST", "jobs", data=body)

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"] == [{"field": field, "message": message}]
    assert answer.problem["detail"] == f"{field}: {message}"


async def test_every_bad_field_is_listed(api: Api) -> None:
    answer = await api.post("jobs", {"task_type": 1, "x": 2})

    assert {(error["field"], error["message"]) for error in answer.problem["errors"]} == {
        ("owner_service", "must be given"),
        ("model_profile", "must be given"),
        ("task_type", "must be text"),
        ("x", "unknown field"),
    }
    assert answer.problem["detail"] == "owner_service: must be given (and 3 more)"


async def test_a_run_at_beyond_what_a_calendar_holds_is_refused(api: Api) -> None:
    answer = await api.post("jobs", {**CHAT, "run_at": "0001-01-01T00:00:00+23:59"})

    assert answer.refusal == (400, "invalid_request")
