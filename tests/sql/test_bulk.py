"""Many at once: retry, cancel, settle, create, prune."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.sql.calls import Db, attempts, call, claim, create, create_many, get, in_state, one, refusal

STATES = ["pending", "scheduled", "waiting", "running", "completed", "failed", "cancelled"]


def touched(db: Db, verb: str, **conditions: object) -> list[UUID]:
    return [job["id"] for job in call(db, verb, **conditions)]


def test_retry_means_failed_and_running_unless_told_otherwise(db: Db) -> None:
    jobs = {state: in_state(db, state) for state in STATES}

    assert touched(db, "retry_jobs", match_all=True) == [jobs["running"], jobs["failed"]]
    assert {get(db, jobs[state])["status"] for state in ("running", "failed")} == {"pending"}
    assert attempts(db, jobs["running"]) == [(1, "superseded")]


def test_cancel_means_pending_and_running_unless_told_otherwise(db: Db) -> None:
    jobs = {state: in_state(db, state) for state in STATES}

    cancelled = call(db, "cancel_jobs", match_all=True, reason="tidy up")

    assert [job["id"] for job in cancelled] == [jobs[state] for state in ("pending", "scheduled", "waiting", "running")]
    assert {(job["status"], job["error_message"]) for job in cancelled} == {("cancelled", "tidy up")}


@pytest.mark.parametrize(
    ("verb", "state"),
    [("retry_jobs", "failed"), ("retry_jobs", "running"), ("cancel_jobs", "running"), ("cancel_jobs", "pending")],
)
def test_conditions_choose_oldest_first_up_to_max_jobs(db: Db, verb: str, state: str) -> None:
    jobs = [in_state(db, state) for _ in range(4)]

    assert touched(db, verb, status=[state], max_jobs=2) == jobs[:2]
    assert touched(db, verb, id=[jobs[3]], owner_service=["telephony"]) == [jobs[3]]
    assert touched(db, verb, owner_service=["nobody"]) == []


@pytest.mark.parametrize("verb", ["list_jobs", "retry_jobs", "cancel_jobs"])
def test_each_condition_alone_finds_what_it_names(db: Db, verb: str) -> None:
    names = ["owner_service", "owner_ref", "task_type", "model_profile"]
    jobs = []
    for kind in ("other", "wanted"):
        (job,) = create_many(db, [{name: f"{kind} {name}" for name in names}], batch_id=uuid4())
        failure = {"category": f"{kind}_category", "message": "", "retryable": True, "retry_after": "0"}
        claim(db)
        call(db, "fail_job", job_id=job["id"], **failure)
        jobs += claim(db, worker_id=f"{kind} worker")
    other, wanted = jobs

    for name in ("id", *names, "error_category", "worker_id", "batch_id"):
        with db.transaction(force_rollback=True):
            assert touched(db, verb, **{name: [wanted[name]]}) == [wanted["id"]], name
    with db.transaction(force_rollback=True):
        assert touched(db, verb, created_after=wanted["created_at"]) == [wanted["id"]]
    assert touched(db, verb, created_before=wanted["created_at"]) == [other["id"]]


@pytest.mark.parametrize("verb", ["retry_jobs", "cancel_jobs"])
def test_no_condition_means_nothing_unless_all_is_said(db: Db, verb: str) -> None:
    in_state(db, "running")

    assert refusal(db, verb).sqlstate == "JE400"
    assert refusal(db, verb, max_jobs=5).sqlstate == "JE400"
    assert refusal(db, verb, owner_service=[]).sqlstate == "JV400"
    assert refusal(db, verb, owner_service=["a"], max_jobs=0).sqlstate == "JV400"
    assert len(touched(db, verb, match_all=True)) == 1


@pytest.mark.parametrize(
    ("verb", "status"),
    [("retry_jobs", "pending"), ("retry_jobs", "completed"), ("cancel_jobs", "failed"), ("cancel_jobs", "lost")],
)
def test_a_status_that_the_verb_cannot_act_on_is_refused(db: Db, verb: str, status: str) -> None:
    assert refusal(db, verb, status=[status]).sqlstate == "JV400"


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


def test_a_delete_takes_finished_jobs_of_one_profile_with_all_that_was_theirs(db: Db) -> None:
    for state in STATES:
        in_state(db, state)
    batch = uuid4()
    create_many(db, [{"model_profile": "other", **key} for key in ({"idempotency_key": "k"}, {}, {})], batch_id=batch)
    delete = "select aiserv.delete_jobs(model_profile => %s, max_jobs => %s) as deleted"
    assert db.execute(delete, ["other", 1000]).fetchall() == [{"deleted": 0}]
    call(db, "cancel_jobs", model_profile=["other"])
    before = len(call(db, "list_jobs"))

    assert [db.execute(delete, ["other", 2]).fetchall()[0]["deleted"] for _ in range(3)] == [2, 1, 0]

    assert len(call(db, "list_jobs")) == before - 3
    assert call(db, "list_jobs", model_profile=["other"]) == []
    for table in ("batch", "idempotency"):
        assert db.execute(f"select * from aiserv.{table}".encode()).fetchall() == []
    assert one(db, "stats", model_profile="other")["stats"]["queue"]["total"] == 0
    assert refusal(db, "delete_jobs", model_profile="other", max_jobs=-1).sqlstate == "JV400"


def test_a_prune_takes_old_finished_jobs_with_all_that_was_theirs_and_leaves_the_rest(db: Db) -> None:
    for state in STATES:
        in_state(db, state)
    batch = uuid4()
    create_many(db, [{"idempotency_key": "k"}], batch_id=batch)
    call(db, "cancel_jobs", batch_id=[batch])
    prune = "select aiserv.prune_jobs(retention => %s, max_jobs => %s) as pruned"

    for retention in ("0", "30 days"):
        assert db.execute(prune, [retention, 1000]).fetchall() == [{"pruned": 0}]
    assert [db.execute(prune, ["1 microsecond", 3]).fetchall()[0]["pruned"] for _ in range(3)] == [3, 1, 0]

    assert {job["status"] for job in call(db, "list_jobs")} == {"pending", "running"}
    for table in ("unsuccessful", "idempotency", "batch"):
        assert db.execute(f"select * from aiserv.{table}".encode()).fetchall() == []
    histories = db.execute("select job_id from aiserv.attempt except select id from aiserv.job").fetchall()
    assert histories == []
    assert refusal(db, "prune_jobs", retention="-1 s").sqlstate == "JV400"
