"""Creating many at once, all or none."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.sql.calls import Db, call, claim, create_many, one, refusal


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"priority": 101}, "priority: must be"),
        ({"priority": "high"}, "invalid input syntax"),
        ({"colour": 1}, "colour: unknown"),
        ({"task_type": ""}, "task_type: must"),
        ({"owner_service": None}, "owner_service: must"),
        ({"metadata": []}, "metadata: must"),
        ({"metadata": {"a": "x" * 17_000}}, "metadata: must"),
        ({"timeout_seconds": 0}, "timeout_seconds: must"),
        ({"max_attempts": 0}, "max_attempts: must"),
        ({"owner_ref": "x" * 501}, "owner_ref: must"),
        ({"traceparent": "x"}, "traceparent: must"),
        ({"idempotency_key": ""}, "idempotency_key: must"),
        ({"delay": 1, "run_at": "2030-01-01Z"}, "delay: give"),
    ],
)
def test_one_bad_item_refuses_the_whole_batch_and_is_named(db: Db, bad: dict[str, Any], message: str) -> None:
    good = {"owner_service": "a", "task_type": "b", "model_profile": "c"}

    refused = refusal(db, "create_jobs", jobs=json.dumps([good, {**good, **bad}]))

    assert refused.sqlstate == "JV400"
    assert (refused.diag.message_primary or "").startswith("jobs[1]")
    assert message in (refused.diag.message_primary or "")
    assert call(db, "list_jobs") == []


def test_a_batch_has_1_to_100000_jobs_and_an_id_of_its_own(db: Db) -> None:
    batch = uuid4()
    create_many(db, [{}], batch_id=batch)

    assert refusal(db, "create_jobs", jobs="[]").sqlstate == "JV400"
    assert refusal(db, "create_jobs", jobs="[]", defaults="{}", idempotency_key="k").sqlstate == "JV400"
    assert refusal(db, "create_jobs", jobs="{}").sqlstate == "JV400"
    good = '[{"owner_service": "a", "task_type": "b", "model_profile": "c"}]'
    assert refusal(db, "create_jobs", jobs=good, batch_id=batch).sqlstate == "JV400"


@pytest.mark.parametrize(
    ("jobs", "defaults", "says"),
    [
        ("[null]", '{"priority": 1}', "jobs[0]: must be an object"),
        ("[[1]]", '{"priority": 1}', "jobs[0]: must be an object"),
        ("[{}]", "[]", "defaults: must be an object"),
        ("[{}]", "3", "defaults: must be an object"),
        ("[{}]", '{"prioritty": 1}', "defaults.prioritty: unknown field"),
    ],
)
def test_what_is_no_object_or_field_is_named(db: Db, jobs: str, defaults: str, says: str) -> None:
    refused = refusal(db, "create_jobs", jobs=jobs, defaults=defaults)

    assert (refused.sqlstate, refused.diag.message_primary) == ("JV400", says)


@pytest.mark.parametrize("defaults", [None, '{"priority": 7, "metadata": {"a": 1}}'])
def test_plain_items_become_the_jobs_that_any_would(db: Db, defaults: str | None) -> None:
    kind = '"owner_service": "a", "task_type": "b", "model_profile": "c"'
    inputs = ['{ "text" :1.50, "a": "\\u0041"}', "[true]", "1.0", "false"]
    items = [f"{{{kind}}}", *(f'{{"input": {text}, {kind}, "owner_ref": "r"}}' for text in inputs)]

    stored = [
        db.execute(
            """
            select
                to_jsonb(job) - array['id', 'batch_id', 'run_at', 'created_at', 'updated_at'] as fields,
                job.input::text as input
            from aiserv.job as job where job.id = any(%s) order by job.id
            """,
            [one(db, "create_batch", jobs=f"[{','.join(items)}]", defaults=defaults, plain=plain)["create_batch"]],
        ).fetchall()
        for plain in (True, False)
    ]

    assert stored[0] == stored[1]
    assert [row["input"] for row in stored[0]] == ["{}", *inputs]


def test_plain_items_are_checked_for_what_they_hold(db: Db) -> None:
    bad = '[{"owner_service": "a", "task_type": "b", "model_profile": "c", "priority": 101}]'

    assert (
        refusal(db, "create_batch", jobs=bad, plain=True).diag.message_primary
        == refusal(db, "create_batch", jobs=bad).diag.message_primary
    )


def test_a_null_that_all_share_is_kept(db: Db) -> None:
    defaults = {"owner_service": "a", "task_type": "b", "model_profile": "c", "input": None}

    (job,) = call(db, "create_jobs", jobs="[{}]", defaults=json.dumps(defaults))

    assert job["input"] is None
    assert db.execute("select input::text as text from aiserv.job").fetchall() == [{"text": "null"}]


def test_items_go_over_defaults_and_inputs_merge_by_their_top_level_keys(db: Db) -> None:
    defaults = {
        "owner_service": "a",
        "task_type": "b",
        "model_profile": "c",
        "priority": 3,
        "input": {"system": "S", "n": 1},
    }
    items = [{}, {"priority": 5, "input": {"n": 2, "user": "U"}}, {"input": [1]}, {"priority": None}]

    jobs = call(db, "create_jobs", jobs=json.dumps(items), defaults=json.dumps(defaults))

    assert [job["priority"] for job in jobs] == [3, 5, 3, 0]
    inputs = [job["input"] for job in jobs]
    assert inputs[:3] == [{"system": "S", "n": 1}, {"system": "S", "n": 2, "user": "U"}, [1]]


def test_a_batch_says_how_far_it_is(db: Db) -> None:
    jobs = create_many(db, [{}] * 5, batch_id=(batch := uuid4()))
    done, failed, _ = claim(db, 3)
    call(db, "complete_job", job_id=done["id"], result="1")
    call(db, "fail_job", job_id=failed["id"], category="timeout", message="")
    call(db, "cancel_job", job_id=jobs[4]["id"])

    shown = one(db, "get_batch", batch_id=batch)["get_batch"]

    assert shown["counts"] == {"pending": 1, "running": 1, "completed": 1, "failed": 1, "cancelled": 1, "total": 5}
    assert (shown["batch_id"], shown["finished"]) == (str(batch), False)
    call(db, "cancel_jobs", batch_id=[batch])
    assert one(db, "get_batch", batch_id=batch)["get_batch"]["finished"] is True
    assert refusal(db, "get_batch", batch_id=uuid4()).sqlstate == "JN404"
