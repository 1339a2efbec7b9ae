"""Least privilege: services call functions, readers read views, and nobody but the owner writes a table."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.sql.calls import Connect, Db, in_state, one

FUNCTIONS = r"""
select oid::regprocedure::text as signature from pg_proc
where pronamespace = 'aiserv'::regnamespace and proname {} '\_%'
"""
VIEWS = "select viewname from pg_views where schemaname = 'aiserv' and viewname not like '\\_%%'"
TABLES = "select tablename from pg_tables where schemaname = 'aiserv'"


@pytest.fixture
def acting(connect: Connect) -> Callable[[str], Db]:
    """A connection that acts as the role."""

    def acting(role: str) -> psycopg.Connection[DictRow]:
        return connect(options=f"-c role={role}")

    return acting


def denied(db: Db, statement: str) -> bool:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement.encode())
    return True


def test_a_service_takes_a_job_through_its_whole_life(db: Db, acting: Callable[[str], Db]) -> None:
    service = acting("aiserv_service")
    job = one(service, "create_job", owner_service="a", task_type="b", model_profile="c", delay="0")

    for verb, arguments in {
        "claim_jobs": {"worker_id": "w", "claim_id": "c"},
        "heartbeat_job": {"job_id": job["id"], "progress": "1"},
        "release_job": {"job_id": job["id"]},
        "cancel_jobs": {"match_all": True},
        "get_job": {"job_id": job["id"]},
    }.items():
        assert one(service, verb, **arguments)["id"] == job["id"]


CALLS: dict[str, dict[str, Any]] = {
    "create_batch": {"jobs": '[{"owner_service": "a", "task_type": "b", "model_profile": "c"}]'},
    "create_each": {"jobs": '[{"owner_service": "a", "task_type": "b", "model_profile": "c"}]'},
    "create_jobs": {"jobs": '[{"owner_service": "a", "task_type": "b", "model_profile": "c", "idempotency_key": "k"}]'},
    "settle_each": {"settlements": "[]"},
    "settle_jobs": {"settlements": "[]"},
    "heartbeat_jobs": {"job_ids": [], "attempts": []},
    "claim_work": {
        "worker_id": "w",
        "instance_id": UUID(int=1),
        "task_types": ["b"],
        "model_profiles": ["c"],
        "max_jobs": 1,
        "lease": "1 minute",
        "slots": 1,
    },
    "recover_jobs": {},
    "retry_jobs": {"match_all": True},
    "delete_jobs": {"model_profile": "c"},
    "prune_jobs": {},
    "sweep": {},
    "list_jobs": {"status": ["pending", "running", "failed"], "worker_id": ["w"]},
    "stats": {"since": "2026-01-01Z"},
    "set_queue": {"model_profile": "c", "max_running": 1, "tokens_per_minute": 9},
    "pause_queue": {"model_profile": "c"},
    "resume_queue": {"model_profile": "c"},
    "list_queues": {},
    "report_provider": {"provider": "c", "category": "rate_limited", "message": ""},
    "list_workers": {},
    "touch_worker": {"worker_id": "w"},
    "next_wake": {},
    "seconds_until": {"moment": None},
    "installed_files": {},
    "check_installation": {"patience": "1 minute"},
    "new_id": {},
    "time_text": {"moment": None},
    "merge_jobs": {"defaults": "{}", "item": "{}"},
    "merge_objects": {"base": "{}", "over": "{}"},
}


@pytest.mark.parametrize("function", CALLS)
def test_a_service_may_call(db: Db, acting: Callable[[str], Db], function: str) -> None:
    in_state(db, "running")
    named = ", ".join(f"{name} => %({name})s" for name in CALLS[function])

    acting("aiserv_service").execute(f"select * from aiserv.{function}({named})".encode(), CALLS[function])


def test_a_service_executes_the_public_functions_alone(db: Db) -> None:
    for operator, may in (("not like", True), ("like", False)):
        for row in db.execute(FUNCTIONS.format(operator).encode()).fetchall():
            (answer,) = db.execute(
                "select has_function_privilege('aiserv_service', %s, 'execute') as service,"
                " has_function_privilege('aiserv_readonly', %s, 'execute') as reader",
                [row["signature"], row["signature"]],
            ).fetchall()
            assert (answer["service"], answer["reader"]) == (may, False), row["signature"]


@pytest.mark.parametrize("role", ["aiserv_service", "aiserv_readonly"])
def test_views_are_readable_and_tables_are_not(db: Db, acting: Callable[[str], Db], role: str) -> None:
    in_state(db, "running")
    in_state(db, "failed")
    somebody = acting(role)

    for row in db.execute(VIEWS.encode()).fetchall():
        somebody.execute(f"select * from aiserv.{row['viewname']}".encode())
    for row in db.execute(TABLES.encode()).fetchall():
        table = row["tablename"]
        assert denied(somebody, f"select * from aiserv.{table}")
        assert denied(somebody, f"delete from aiserv.{table}")
        assert denied(somebody, f"insert into aiserv.{table} default values")
    assert denied(somebody, "select * from aiserv._counters")
    assert denied(somebody, "create table aiserv.mine ()")


def test_a_reader_calls_nothing(acting: Callable[[str], Db]) -> None:
    assert denied(acting("aiserv_readonly"), "select aiserv.claim_jobs(worker_id => 'w')")


def test_the_owner_owns_everything(db: Db) -> None:
    rows = db.execute(
        """
        select relname as name, pg_get_userbyid(relowner) as owner from pg_class
        where relnamespace = 'aiserv'::regnamespace and relkind in ('r', 'v')
        union all
        select proname, pg_get_userbyid(proowner) from pg_proc where pronamespace = 'aiserv'::regnamespace
        """
    ).fetchall()

    assert {row["owner"] for row in rows} == {"aiserv_owner"}


def test_no_name_is_looked_up_where_a_caller_could_put_another(db: Db) -> None:
    rows = db.execute(
        """
        select proname from pg_proc
        where pronamespace = 'aiserv'::regnamespace
          -- One that acts as its caller, and is written into the statement that calls it, takes the path of that.
          and (prosecdef or prolang <> (select oid from pg_language where lanname = 'sql'))
          and not 'search_path=pg_temp' = any(coalesce(proconfig, '{}'))
        """
    ).fetchall()

    assert rows == []


def test_objects_of_a_callers_own_change_nothing(acting: Callable[[str], Db]) -> None:
    service = acting("aiserv_service")
    for name in ("job", "jobs", "ready", "lease"):
        service.execute(f"create temporary table {name} (id uuid, status text)".encode())
    service.execute(
        "create function pg_temp.clock_timestamp() returns timestamptz language sql return 'infinity'::timestamptz"
    )
    # Types of temporary schemas come first wherever a path does not name them.
    for name in ("json", "jsonb", "text", "timestamptz", "uuid"):
        service.execute(f"create domain pg_temp.{name} as pg_catalog.{name} check (false)".encode())
    service.execute("set search_path = pg_temp, pg_catalog")

    job = one(service, "create_job", owner_service="a", task_type="b", model_profile="c")

    assert one(service, "claim_jobs", worker_id="w")["id"] == job["id"]


@pytest.mark.parametrize(
    "statement",
    [
        "alter table aiserv.job disable trigger all",
        "drop function aiserv.claim_jobs",
        "create or replace function aiserv.new_id() returns uuid language sql return null::uuid",
        "truncate aiserv.job",
        "set session_replication_role = replica",
        "alter view aiserv.jobs rename to mine",
    ],
)
def test_a_service_switches_no_guard_off(db: Db, acting: Callable[[str], Db], statement: str) -> None:
    in_state(db, "running")

    assert denied(acting("aiserv_service"), statement)
