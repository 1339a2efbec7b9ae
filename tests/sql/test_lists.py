"""Lists: every filter, every page once."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.sql.calls import STATES, Db, call, claim, create, create_big, create_many, in_state, refusal


def ids(db: Db, **conditions: object) -> set[UUID]:
    return {job["id"] for job in call(db, "list_jobs", **conditions)}


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ({"owner_service": ["billing", "nobody"]}, {"owner_service": "billing"}),
        ({"owner_ref": ["beeline/42"]}, {"owner_ref": "beeline/42"}),
        ({"task_type": ["summary"]}, {"task_type": "summary"}),
        ({"model_profile": ["gpt"]}, {"model_profile": "gpt"}),
    ],
)
def test_a_condition_finds_the_jobs_it_names(db: Db, condition: dict[str, Any], fields: dict[str, str]) -> None:
    create(db)
    job = create(db, **fields)

    assert ids(db, **condition) == {job["id"]}


def test_a_status_finds_the_jobs_that_have_it(db: Db) -> None:
    jobs = {state: in_state(db, state) for state in STATES}

    by_status = {
        status: ids(db, status=[status]) for status in ("pending", "running", "completed", "failed", "cancelled")
    }

    assert by_status["pending"] == {jobs["pending"], jobs["scheduled"], jobs["waiting"]}
    assert {status: by_status[status] for status in by_status if status != "pending"} == {
        status: {jobs[status]} for status in ("running", "completed", "failed", "cancelled")
    }
    assert ids(db, status=["failed", "running"]) == {jobs["failed"], jobs["running"]}
    assert ids(db) == set(jobs.values())


def test_error_worker_batch_id_and_time_find_theirs(db: Db) -> None:
    failed, running, done = (in_state(db, state) for state in ("failed", "running", "completed"))
    batch = uuid4()
    (member,) = create_many(db, [{}], batch_id=batch)

    assert ids(db, error_category=["timeout"]) == {failed}
    assert ids(db, worker_id=["worker-1"]) == {failed, running, done}
    assert ids(db, worker_id=["worker-1"], status=["running"]) == {running}
    assert ids(db, batch_id=[batch]) == {member["id"]}
    assert ids(db, id=[failed, member["id"], uuid4()]) == {failed, member["id"]}
    assert ids(db, created_after=member["created_at"]) == {member["id"]}
    assert ids(db, created_before=member["created_at"]) == {failed, running, done}
    assert ids(db, created_after=member["created_at"] + timedelta(microseconds=1)) == set()


def test_conditions_combine(db: Db) -> None:
    create(db, owner_service="a", task_type="x")
    create(db, owner_service="b", task_type="y")
    both = create(db, owner_service="a", task_type="y")

    assert ids(db, owner_service=["a"], task_type=["y"]) == {both["id"]}


@pytest.mark.parametrize("sort", ["newest", "oldest"])
@pytest.mark.parametrize("status", [None, ["pending"], ["pending", "running"]])
def test_pages_hold_each_job_once_also_of_one_microsecond_and_while_others_come(
    db: Db, sort: str, status: list[str] | None
) -> None:
    with db.transaction():
        created = [job["id"] for _ in range(3) for job in create_many(db, [{}] * 20)]
    running = [job["id"] for job in claim(db, 10)]
    expected = set(created) - set(running if status == ["pending"] else [])
    seen: list[UUID] = []

    while page := call(db, "list_jobs", max_jobs=7, sort=sort, status=status, after=seen[-1] if seen else None):
        seen += [job["id"] for job in page]
        if sort == "newest":
            create(db)

    assert seen == sorted(expected, reverse=sort == "newest")


def test_a_page_ends_early_when_its_payloads_fill_up_max_bytes(db: Db) -> None:
    for size in (1, 2, 2):
        create_big(db, size)

    pages, after = [], None
    while rows := call(db, "list_jobs", after=after, max_bytes=4_000_000):
        pages.append(len(rows))
        after = rows[-1]["id"]

    assert pages == [2, 1]


@pytest.mark.parametrize(
    "bad",
    [
        {"status": ["lost"]},
        {"status": []},
        {"id": []},
        {"owner_ref": []},
        {"max_jobs": 0},
        {"max_jobs": 1002},
        {"sort": "best"},
    ],
)
def test_a_list_that_makes_no_sense_is_refused_by_name(db: Db, bad: dict[str, Any]) -> None:
    refused = refusal(db, "list_jobs", **bad)

    assert refused.sqlstate == "JV400"
    assert (refused.diag.message_primary or "").startswith(next(iter(bad)))
