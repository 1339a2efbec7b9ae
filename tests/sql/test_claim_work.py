"""The claim of a worker that stays: what it gets of each job, and when it is to look again."""

import json

import pytest

from tests.sql.calls import WORKER, Db, call, claim, create, create_many, let_lease_run_out, refusal


def test_it_gives_the_jobs_that_a_claim_gives_in_that_order(db: Db) -> None:
    create(db, input='{"n":  1.10}')
    create(db, priority=1, input='{"n": 2}')

    work = call(db, "claim_work", "*, input::text as text", **WORKER)

    assert [(row["text"], row["attempt"]) for row in work] == [('{"n": 2}', 1), ('{"n":  1.10}', 1)]
    for row in work:
        (job,) = call(db, "get_job", job_id=row["id"])
        shown = {name: value for name, value in row.items() if name not in {"due_in", "text"}}
        assert shown.items() <= job.items()


@pytest.mark.parametrize("function", ["claim_work", "claim_jobs"])
def test_inputs_come_whole_whatever_their_size(db: Db, function: str) -> None:
    texts = [json.dumps("x" * (size - 2)) for size in (10, 2000, 2001, 100_000)]
    for text in texts:
        create(db, input=text)

    claimed = call(db, function, "input::text as text", **WORKER | {"max_jobs": 9})

    assert [row["text"] for row in claimed] == texts


def test_who_got_all_that_it_asked_for_is_not_told_when_to_come(db: Db) -> None:
    create_many(db, [{}] * 3)

    assert [row["due_in"] for row in call(db, "claim_work", **WORKER)] == [None, None]


def test_without_a_job_one_row_says_when_to_come(db: Db) -> None:
    assert [set(row.values()) for row in call(db, "claim_work", **WORKER)] == [{None}]
    create(db, delay="1 hour")

    (row,) = call(db, "claim_work", **WORKER)

    assert row["id"] is None
    assert 3000 < row["due_in"] <= 3600


def test_who_came_back_short_is_told_when_the_first_lease_ends(db: Db) -> None:
    create_many(db, [{}] * 2)
    create(db, delay="1 hour")
    claim(db, lease="1 hour")

    (row,) = call(db, "claim_work", **WORKER)

    assert row["id"] is not None
    assert 0 < row["due_in"] <= 60


def test_it_takes_the_jobs_of_the_dead(db: Db) -> None:
    create(db)
    (lost,) = claim(db, worker_id="dead")
    let_lease_run_out(db, lost["id"])

    (row,) = call(db, "claim_work", **WORKER)

    assert (row["id"], row["attempt"]) == (lost["id"], 2)


def test_a_worker_is_written_down_unless_it_is_known(db: Db) -> None:
    call(db, "claim_work", **WORKER, is_known=True)
    assert call(db, "list_workers") == []

    call(db, "claim_work", **WORKER)

    (worker,) = call(db, "list_workers")
    assert (worker["worker_id"], worker["kind"], worker["slots"]) == ("worker-1", "builtin", 4)


@pytest.mark.parametrize(
    "wrong",
    [{"worker_id": ""}, {"instance_id": None}, {"max_jobs": 1001}, {"lease": "0"}, {"queues": '{"qwen": 1}'}],
)
def test_what_makes_no_sense_is_refused(db: Db, wrong: dict[str, object]) -> None:
    refused = refusal(db, "claim_work", **WORKER | wrong)

    assert refused.sqlstate == "JV400"
    assert str(refused).startswith(next(iter(wrong)))
