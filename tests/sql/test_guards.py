"""What nobody may do by hand, the owner of the tables included."""

from uuid import UUID

import psycopg
import pytest

from tests.sql.calls import Db, call, claim, get, in_state

REQUEST = [
    "id = gen_random_uuid()",
    "owner_service = 'x'",
    "owner_ref = 'x'",
    "task_type = 'x'",
    "model_profile = 'x'",
    "priority = 1",
    "input = '1'",
    "metadata = '{}'",
    "max_attempts = 9",
    "timeout_seconds = 1",
    "idempotency_key = 'x'",
    "batch_id = gen_random_uuid()",
    "traceparent = 'x'",
    "created_at = now()",
]


def refused(db: Db, statement: str, job_id: UUID) -> str | None:
    before = call(db, "list_jobs", id=[job_id])
    with pytest.raises(psycopg.Error) as error:
        db.execute(statement.encode(), {"id": job_id})
    assert call(db, "list_jobs", id=[job_id]) == before
    return error.value.sqlstate


@pytest.mark.parametrize("state", ["pending", "running", "completed", "failed"])
@pytest.mark.parametrize("change", REQUEST)
def test_what_was_asked_never_changes(db: Db, change: str, state: str) -> None:
    job_id = in_state(db, state)

    assert refused(db, f"update aiserv.job set {change} where id = %(id)s", job_id) == "JS409"


@pytest.mark.parametrize("state", ["completed", "cancelled", "failed"])
@pytest.mark.parametrize(
    "change", ["result = '2'", "outcome = 'completed', result = '2'", "worker_id = 'me'", "attempt = 9"]
)
def test_a_finished_job_stays_as_it_is(db: Db, change: str, state: str) -> None:
    job_id = in_state(db, state)

    assert refused(db, f"update aiserv.job set {change} where id = %(id)s", job_id) == "JS409"


@pytest.mark.parametrize("state", ["completed", "cancelled"])
def test_a_final_state_is_final(db: Db, state: str) -> None:
    job_id = in_state(db, state)

    statement = "update aiserv.job set outcome = null, finished_at = null, result = null where id = %(id)s"

    assert refused(db, statement, job_id) == "JS409"


@pytest.mark.parametrize("state", ["pending", "scheduled", "running"])
def test_a_job_that_is_not_finished_cannot_be_finished_or_deleted_by_hand(db: Db, state: str) -> None:
    job_id = in_state(db, state)

    finish = "update aiserv.job set outcome = 'cancelled', finished_at = now() where id = %(id)s"

    assert refused(db, finish, job_id) == "JS409"
    assert refused(db, "delete from aiserv.job where id = %(id)s", job_id) == "JS409"


def test_the_count_of_attempts_never_falls(db: Db) -> None:
    job_id = in_state(db, "waiting")

    assert refused(db, "update aiserv.job set attempt = 0 where id = %(id)s", job_id) == "JS409"


PLACES = {
    "ready": """
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select model_profile, task_type, priority, owner_service, run_at, id, 2 from aiserv.job where id = %(id)s
        """,
    "scheduled": """
        insert into aiserv.scheduled (model_profile, task_type, run_at, job_id, priority, owner_service, input_bytes)
        select model_profile, task_type, run_at, id, priority, owner_service, 2 from aiserv.job where id = %(id)s
        """,
    "lease": """
        insert into aiserv.lease (
            job_id, attempt, worker_id, instance_id, owner_service, task_type, model_profile, lease, lease_expires_at,
            started_at, updated_at
        )
        select id, 9, 'me', id, owner_service, task_type, model_profile, '1 h', now() + '1 h', now(), now()
        from aiserv.job where id = %(id)s
        """,
}


@pytest.mark.parametrize("state", ["pending", "scheduled", "running", "completed", "failed", "cancelled"])
@pytest.mark.parametrize("place", PLACES)
def test_a_job_is_in_one_place_at_a_time_and_in_none_when_it_is_finished(db: Db, place: str, state: str) -> None:
    job_id = in_state(db, state)
    where_it_is = {"pending": "ready", "scheduled": "scheduled", "running": "lease"}.get(state)

    assert refused(db, PLACES[place], job_id) == ("23505" if place == where_it_is else "JS409")


def test_a_place_under_another_key_than_the_job_s_is_refused(db: Db) -> None:
    job_id = in_state(db, "pending")
    db.execute("begin")
    db.execute("delete from aiserv.ready")

    with pytest.raises(psycopg.Error) as error:
        db.execute(
            """
            insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
            values ('other', 'chat', 0, 'telephony', now(), %s, 2)
            """,
            [job_id],
        )
    db.execute("rollback")

    assert error.value.sqlstate == "JS409"
    assert get(db, job_id)["status"] == "pending"


def test_a_job_that_does_not_exist_has_no_place(db: Db) -> None:
    with pytest.raises(psycopg.Error) as error:
        db.execute("insert into aiserv.ready values ('model', 'type', 0, 'owner', now(), gen_random_uuid(), 2)")

    assert error.value.sqlstate == "JS409"


def test_claims_go_on_after_a_refusal(db: Db) -> None:
    job_id = in_state(db, "pending")
    refused(db, "delete from aiserv.job where id = %(id)s", job_id)

    assert [job["id"] for job in claim(db)] == [job_id]
