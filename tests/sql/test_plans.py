"""The hot path looks into indexes only, also when the statistics know nothing of what is there."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import database, url_of
from tests.sql.calls import Db, call, claim, create, create_many
from tests.sql.reads import keep_statistics, pages, rows_scanned


@pytest.fixture(scope="module")
def template(postgres: str, template: str) -> Iterator[str]:
    """The name of a database with thousands of jobs of every kind, none of them in the statistics."""
    with database(postgres, template=template) as name:
        with psycopg.connect(url_of(postgres, name), autocommit=True, row_factory=dict_row) as db:
            keep_statistics(db)
            create_many(db, [{"task_type": "done"}] * 2000)
            for job in claim(db, 1000):
                call(db, "complete_job", job_id=job["id"], result="1")
            call(db, "cancel_jobs", max_jobs=500, match_all=True)
            create_many(db, [{"task_type": "other"}] * 2000 + [{"delay": 3600}] * 2000)
            create_many(db, [{"priority": 1}] * 100)
        yield name


def test_no_transition_reads_a_table_from_end_to_end(db: Db) -> None:
    jobs = claim(db, 20, task_types=["chat"], model_profiles=["qwen"])
    ids = [job["id"] for job in jobs]
    settled = [{"id": str(job["id"]), "attempt": 1, "result": 1} for job in jobs[:5]]
    failure = {"category": "timeout", "message": ""}

    acts: dict[str, Callable[[], Any]] = {
        "create": lambda: create(db, idempotency_key="k"),
        "claim": lambda: claim(db, 10),
        "claim of kinds": lambda: claim(db, 10, task_types=["chat"], model_profiles=["qwen"]),
        "settle": lambda: call(db, "settle_jobs", settlements=json.dumps(settled)),
        "complete": lambda: call(db, "complete_job", job_id=ids[5], attempt=1, result="1"),
        "repeat": lambda: call(db, "complete_job", job_id=ids[5], attempt=1, result="1"),
        "fail": lambda: call(db, "fail_job", job_id=ids[6], attempt=1, **failure),
        "fail for now": lambda: call(db, "fail_job", job_id=ids[7], attempt=1, **failure, retryable=True),
        "heartbeat": lambda: call(db, "heartbeat_job", job_id=ids[8], attempt=1),
        "heartbeats": lambda: call(db, "heartbeat_jobs", job_ids=ids, attempts=[1] * 20),
        "release": lambda: call(db, "release_job", job_id=ids[9], attempt=1),
        "retry": lambda: call(db, "retry_job", job_id=ids[6]),
        "cancel": lambda: call(db, "cancel_job", job_id=ids[10]),
        "get": lambda: call(db, "get_job", job_id=ids[11]),
    }

    for name, act in acts.items():
        assert rows_scanned(db, act) == {}, name


def test_numbers_and_pages_read_no_job_that_they_do_not_show(db: Db) -> None:
    claim(db, 10)
    acts: dict[str, Callable[[], Any]] = {
        "stats": lambda: call(db, "stats"),
        "stats since": lambda: call(db, "stats", since="2020-01-01Z"),
        "stats of an owner": lambda: call(db, "stats", owner_service="telephony"),
        "newest": lambda: call(db, "list_jobs", max_jobs=10),
        "running": lambda: call(db, "list_jobs", max_jobs=10, status=["running"]),
    }

    for name, act in acts.items():
        # Tables that are small: of the second PostgreSQL knows by its size when an index is quicker.
        assert rows_scanned(db, act).keys() <= {"lease", "scheduled"}, name


def test_pages_of_a_batch_look_at_each_member_once_whatever_its_status(db: Db) -> None:
    created = create_many(db, [{}] * 3000 + [{"delay": 3600}] * 1000)
    call(db, "cancel_jobs", id=[job["id"] for job in created[500:1500]])
    claim(db, 200)
    page = (
        "select id from aiserv.list_jobs(batch_id => array['{}'::uuid], status => array['pending', 'running'],"
        " sort => 'oldest', max_jobs => 100, after => '{}')"
    )
    listed, touched = [UUID(int=0)], 0

    while found := db.execute((query := page.format(created[0]["batch_id"], listed[-1])).encode()).fetchall():
        touched += pages(db, query)
        listed += [row["id"] for row in found]

    assert listed[1:] == sorted(job["id"] for job in [*created[:500], *created[1500:]])
    # A member is looked at in four tables, and once more when it is shown, three pages each time; all of them for each
    # page would be twenty times that.
    assert touched < 4000 * 4 * 2 * 3


def test_a_list_looks_for_its_jobs_once(db: Db) -> None:
    """The planner calls a function in a query, too, to guess how many rows it returns."""
    create_many(db, [{}] * 10)
    db.execute("set track_functions = 'pl'")

    with db.transaction():
        call(db, "list_jobs")
        calls = db.execute(
            "select calls from pg_stat_xact_user_functions where schemaname = 'aiserv' and funcname = '_matching_ids'"
        ).fetchall()

    assert calls == [{"calls": 1}]


def test_trouble_of_a_provider_makes_no_transition_read_a_table_from_end_to_end(db: Db) -> None:
    trouble = {"category": "provider_unavailable", "message": ""}
    for provider in ("qwen", "other"):
        call(db, "report_provider", provider=provider, **trouble)
    db.execute("update aiserv.provider set paused_until = clock_timestamp() - interval '1 second'")
    held: dict[str, Any] = {}

    acts: dict[str, Callable[[], Any]] = {
        "probe": lambda: held.update(job_id=claim(db, 10)[0]["id"], attempt=1),
        "no probe": lambda: claim(db, 10),
        "report": lambda: call(db, "report_provider", provider="qwen", **trouble, **held),
        "release": lambda: call(db, "release_job", **held, **trouble, patience="1 hour"),
    }

    for name, act in acts.items():
        # A claim that comes back short looks at all leases: when does the next one run out?
        assert rows_scanned(db, act).keys() <= {"lease"}, name


def test_an_empty_claim_touches_a_handful_of_pages_whatever_else_is_there(db: Db) -> None:
    db.execute("set plan_cache_mode = force_generic_plan")
    claim_nothing = (
        "select * from aiserv.claim_jobs("
        "worker_id => 'worker-1', task_types => array['none'], model_profiles => array['none'])"
    )

    # The first claim of a session also reads the catalogue.
    assert min(pages(db, claim_nothing) for _ in range(3)) < 200
