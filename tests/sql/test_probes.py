"""After a pause one job probes a provider in trouble: what becomes of it decides for all the others."""

import pytest
from psycopg.rows import DictRow

from tests.sql.calls import (
    IMPATIENT,
    PATIENCE,
    Connect,
    Db,
    call,
    claim,
    create_many,
    lose_lease,
)
from tests.sql.trouble import HEARD_BY, fails, let_pause_end, pauses, report


def probing(db: Db) -> DictRow:
    """The job that probes a provider in trouble; others wait."""
    create_many(db, [{}, {}, {}])
    report(db)
    let_pause_end(db)
    (job,) = claim(db, 9)
    return job


def test_a_claim_that_has_not_committed_holds_nobody_up_and_lets_no_second_probe_go(db: Db, connect: Connect) -> None:
    create_many(db, [{}, {}])
    report(db)
    let_pause_end(db)
    other = connect(options=IMPATIENT)

    with db.transaction():
        assert len(claim(db, 9)) == 1
        assert claim(other, 9) == []

    assert claim(other, 9) == []


def test_a_probe_and_the_jobs_of_other_queues_come_in_one_claim(db: Db) -> None:
    create_many(db, [{}, {}, {"model_profile": "other"}, {"model_profile": "other", "priority": 5}])
    report(db)
    let_pause_end(db)

    assert sorted(job["model_profile"] for job in claim(db, 9)) == ["other", "other", "qwen"]


def test_the_success_of_the_probe_opens_the_queue_at_once_and_wakes_everybody(db: Db, connect: Connect) -> None:
    job = probing(db)
    ears = connect()
    ears.execute("listen aiserv_ready")

    call(db, "complete_job", job_id=job["id"], attempt=job["attempt"], result="1")

    assert [heard.payload for heard in ears.notifies(timeout=PATIENCE, stop_after=1)] == ["qwen"]
    assert db.execute("table aiserv.providers").fetchall() == []
    assert len(claim(db, 9)) == 2


def test_the_failure_of_the_probe_pauses_longer_and_lets_no_other_go(db: Db) -> None:
    job = probing(db)

    fails(db, job)

    assert pauses(db) == {"qwen": 2}
    assert claim(db, 9) == []


def test_a_late_attempt_does_not_end_the_probe_of_another(db: Db) -> None:
    create_many(db, [{}, {}])
    early, late = claim(db, 2)
    fails(db, early)
    let_pause_end(db)
    (probe,) = claim(db, 9)

    report(db, job_id=late["id"], attempt=late["attempt"])

    (shown,) = db.execute("table aiserv.providers").fetchall()
    assert (shown["pauses"], shown["probe_job_id"]) == (1, probe["id"])
    call(db, "complete_job", job_id=late["id"], result="1")
    assert pauses(db) == {"qwen": 1}


@pytest.mark.parametrize("end", ["release", "fail", "cancel", "retry", "lose"])
def test_a_probe_that_proves_nothing_lets_another_go_at_once_and_says_so(db: Db, connect: Connect, end: str) -> None:
    job = probing(db)
    ears = connect()
    ears.execute("listen aiserv_ready")

    if end == "lose":
        lose_lease(db, job["id"])
    elif end == "fail":
        call(db, "fail_job", job_id=job["id"], category="invalid_input", message="")
    else:
        call(db, f"{end}_job", job_id=job["id"])

    assert [heard.payload for heard in ears.notifies(timeout=PATIENCE, stop_after=1)] == ["qwen"]
    assert pauses(db) == {"qwen": 1}
    assert len(claim(db, 9)) == 1


def test_the_next_probe_is_another_job(db: Db) -> None:
    job = probing(db)

    fails(db, job)
    let_pause_end(db)

    (probe,) = claim(db, 9)
    assert probe["id"] != job["id"]


def test_a_job_probes_all_providers_of_its_queue_and_opens_those_that_it_does_not_report(db: Db) -> None:
    create_many(db, [{"model_profile": "whisperx"}] * 4)
    report(db, "whisperx")
    report(db, "voxtral-small")
    let_pause_end(db)
    (job,) = claim(db, 9, providers=HEARD_BY)

    report(db, "voxtral-small", job_id=job["id"], attempt=job["attempt"])
    call(db, "complete_job", job_id=job["id"], result="1")

    assert pauses(db) == {"voxtral-small": 2}
    assert len(claim(db, 9, providers=HEARD_BY)) == 3
