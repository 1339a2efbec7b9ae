"""Settling many at once."""

import json
from uuid import uuid4

import pytest

from tests.sql.calls import Db, call, claim, create, create_many, get, refusal


def test_settling_many_answers_each_in_order_and_one_refusal_fails_alone(db: Db) -> None:
    create_many(db, [{}] * 5)
    jobs = claim(db, 5)
    call(db, "cancel_job", job_id=jobs[1]["id"])
    items = [
        {"id": str(jobs[0]["id"]), "attempt": 1, "result": {"n": 1}, "usage": {"total_tokens": 3}},
        {"id": str(jobs[1]["id"]), "attempt": 1, "result": 1},
        {
            "id": str(jobs[2]["id"]),
            "attempt": 1,
            "category": "timeout",
            "message": "",
            "retryable": True,
            "retry_after": "1m",
        },
        {"id": str(jobs[3]["id"]), "attempt": 2, "category": "timeout", "message": ""},
        {"id": str(jobs[4]["id"]), "attempt": 1, "category": "internal", "message": "", "usage": None},
        {"id": str(uuid4()), "attempt": 1, "result": None},
    ]

    settled = call(db, "settle_jobs", settlements=json.dumps(items))
    again = call(db, "settle_jobs", settlements=json.dumps(items))

    assert [str(row["id"]) for row in settled] == [item["id"] for item in items]
    assert [(row["status"], row["code"]) for row in settled] == [
        ("completed", None),
        ("cancelled", "JL409"),
        ("pending", None),
        ("running", "JL409"),
        ("failed", None),
        (None, "JN404"),
    ]
    assert again == settled
    assert get(db, jobs[0]["id"])["usage"] == {"total_tokens": 3}


def test_of_several_settlements_for_one_job_only_the_holder_s_first_counts(db: Db) -> None:
    create(db)
    (job,) = claim(db)
    items = [
        {"id": str(job["id"]), "attempt": 9, "result": "stale"},
        {"id": str(job["id"]), "attempt": 1, "result": "first"},
        {"id": str(job["id"]), "attempt": 1, "result": "second"},
        {"id": str(job["id"]), "attempt": 1, "result": "first"},
        {"id": str(job["id"]), "attempt": 1, "category": "timeout", "message": ""},
    ]

    settled = call(db, "settle_jobs", settlements=json.dumps(items))

    assert [row["code"] for row in settled] == ["JL409", None, "JL409", None, "JL409"]
    assert get(db, job["id"])["result"] == "first"


BAD_SETTLEMENTS = {
    "1": "object with id and attempt",
    '{"id": "x", "attempt": 1, "result": 1}': "uuid",
    '{"id": "\\u0000", "attempt": 1, "result": 1}': "must not contain",
    '{"attempt": 1, "result": 1}': "object with id and attempt",
    '{"id": "<id>", "result": 1}': "object with id and attempt",
    '{"id": "<id>", "attempt": "one", "result": 1}': "integer",
    '{"id": "<id>", "attempt": 1}': "category: must be",
    '{"id": "<id>", "attempt": 1, "result": "\\ud800"}': "must not contain",
    '{"id": "<id>", "attempt": 1, "result": 1, "usage": []}': "usage: must be",
    '{"id": "<id>", "attempt": 1, "category": "timeout", "message": "", "retryable": "often"}': "boolean",
    '{"id": "<id>", "attempt": 1, "category": "timeout", "message": "", "retry_after": "soon"}': "interval",
}


@pytest.mark.parametrize("bad", BAD_SETTLEMENTS)
def test_a_settlement_that_makes_no_sense_fails_alone(db: Db, bad: str) -> None:
    create_many(db, [{}] * 3)
    done, failed, other = claim(db, 3)
    good = [
        {"id": str(done["id"]), "attempt": 1, "result": {"n": 1}, "usage": {"total_tokens": 3}},
        {"id": str(failed["id"]), "attempt": 1, "category": "timeout", "message": ""},
    ]
    items = [json.dumps(good[0]), bad.replace("<id>", str(other["id"])), json.dumps(good[1])]

    settled = call(db, "settle_jobs", settlements=f"[{','.join(items)}]")

    assert [(row["id"], row["status"], row["code"]) for row in settled] == [
        (done["id"], "completed", None),
        (None, None, "JV400"),
        (failed["id"], "failed", None),
    ]
    assert BAD_SETTLEMENTS[bad] in settled[1]["detail"]
    assert (get(db, done["id"])["result"], get(db, done["id"])["usage"]) == ({"n": 1}, {"total_tokens": 3})
    assert get(db, other["id"]) == other


@pytest.mark.parametrize("settlements", ["{}", "1", "null"])
def test_settlements_that_are_no_array_are_refused(db: Db, settlements: str) -> None:
    assert refusal(db, "settle_jobs", settlements=settlements).sqlstate == "JV400"
