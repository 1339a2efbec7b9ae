"""Calls of the functions of schema `aiserv`, and jobs in every state. Nothing here knows of the package."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from threading import Thread
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import DictRow

Db = psycopg.Connection[DictRow]
Connect = Callable[..., Db]
T = TypeVar("T")

# Those that in_state makes.
STATES = ["pending", "scheduled", "waiting", "running", "completed", "failed", "cancelled"]
# One that stays, for claim_work.
WORKER = {
    "worker_id": "worker-1",
    "instance_id": UUID(int=7),
    "task_types": ["chat"],
    "model_profiles": ["qwen"],
    "max_jobs": 2,
    "lease": "1 minute",
    "slots": 4,
}
PATIENCE = 30  # seconds, for what takes milliseconds unless the machine stands still
# For whoever must not wait.
IMPATIENT = f"-c lock_timeout={PATIENCE}s"


def call(db: Db, function: str, select: str = "*", /, **arguments: object) -> list[DictRow]:
    """What is selected, or all columns, of the rows that `aiserv.<function>` returns, called with named arguments."""
    named = ", ".join(f"{name} => %({name})s" for name in arguments)
    return db.execute(f"select {select} from aiserv.{function}({named})".encode(), arguments).fetchall()


def one(db: Db, function: str, **arguments: object) -> DictRow:
    """The only row that `aiserv.<function>` returns."""
    (row,) = call(db, function, **arguments)
    return row


def create(db: Db, **fields: object) -> DictRow:
    return one(
        db, "create_job", **{"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"} | fields
    )


def create_many(db: Db, jobs: list[dict[str, Any]], **arguments: object) -> list[DictRow]:
    shared = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}
    return call(db, "create_jobs", jobs=json.dumps([shared | job for job in jobs]), **arguments)


def create_big(db: Db, mebibytes: int, **fields: object) -> None:
    """A job whose input has this size: it never leaves the server, and is put there, as to create it takes seconds."""
    big = {"id": create(db, **fields)["id"], "bytes": mebibytes * 1024 * 1024}
    with db.transaction():
        db.execute("set local session_replication_role = replica")  # past the guard of what was asked
        db.execute(
            """
            update aiserv.job set input = to_json(repeat('x', %(bytes)s - 2)), input_bytes = %(bytes)s where id = %(id)s
            """,
            big,
        )
        db.execute("update aiserv.ready set input_bytes = %(bytes)s where job_id = %(id)s", big)


def claim(db: Db, max_jobs: int = 1, **arguments: object) -> list[DictRow]:
    return call(db, "claim_jobs", **{"worker_id": "worker-1", "max_jobs": max_jobs} | arguments)


def claimed(db: Db, **fields: object) -> DictRow:
    """A new job, running at its first attempt: it goes before all that wait."""
    create(db, **{"priority": 100} | fields)
    (job,) = claim(db)
    return job


def get(db: Db, job_id: UUID) -> DictRow:
    return one(db, "get_job", job_id=job_id)


def attempts(db: Db, job_id: UUID) -> list[tuple[int, str | None]]:
    """The number and the outcome of each attempt of the job."""
    return [(row["attempt"], row["outcome"]) for row in call(db, "list_attempts", job_id=job_id)]


def refusal(db: Db, function: str, **arguments: object) -> psycopg.Error:
    """The error with which `aiserv.<function>` refuses."""
    with pytest.raises(psycopg.Error) as refused:
        call(db, function, **arguments)
    return refused.value


def let_lease_run_out(db: Db, job_id: UUID) -> None:
    db.execute(
        "update aiserv.lease set lease_expires_at = clock_timestamp() - interval '1 second' where job_id = %s", [job_id]
    )


def let_time_come(db: Db, job_id: UUID, ago: timedelta = timedelta(seconds=1)) -> None:
    """Make a scheduled job due."""
    with db.transaction():
        db.execute(
            """
            with due as (
                update aiserv.job set run_at = clock_timestamp() - %s where id = %s returning id, run_at
            )
            update aiserv.scheduled as scheduled set run_at = due.run_at from due where scheduled.job_id = due.id
            """,
            [ago, job_id],
        )


def lose_lease(db: Db, job_id: UUID) -> DictRow:
    let_lease_run_out(db, job_id)
    (job,) = call(db, "recover_jobs")
    return job


def in_state(db: Db, state: str) -> UUID:
    """The id of a job in one of STATES (`waiting` is for its next attempt), or of none: `unknown`."""
    if state == "unknown":
        return uuid4()
    if state in {"pending", "scheduled", "cancelled"}:
        job = create(db, delay=timedelta(hours=1) if state == "scheduled" else None)
        if state == "cancelled":
            call(db, "cancel_job", job_id=job["id"])
        return UUID(str(job["id"]))
    job = claimed(db)
    held = {"job_id": job["id"], "attempt": job["attempt"]}
    if state == "completed":
        call(db, "complete_job", **held, result='{"n": 1}')
    elif state in {"failed", "waiting"}:
        # An hour: a backoff of seconds might be over before the test looks.
        call(
            db,
            "fail_job",
            **held,
            category="timeout",
            message="late",
            retryable=state == "waiting",
            retry_after="1 hour",
        )
    return UUID(str(job["id"]))


def in_background(action: Callable[[], T]) -> "Future[T]":
    """What the action returns, from a thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001  # whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def wait_until_blocked(db: Db, blocked: Db) -> None:
    """Return as soon as the other connection waits for a lock."""
    deadline = monotonic() + PATIENCE
    while not db.execute("select pg_blocking_pids(%s) <> '{}' as blocked", [blocked.info.backend_pid]).fetchall()[0][
        "blocked"
    ]:
        assert monotonic() < deadline, "it is not blocked"
