"""The manual in the database: what psql shows of each function, table, view and column."""

import pytest

from tests.sql.calls import Db, call, in_state, let_lease_run_out

FUNCTIONS = {
    "create_job": "owner_service task_type model_profile input owner_ref priority run_at delay max_attempts timeout_seconds metadata idempotency_key traceparent",  # noqa: E501
    "create_jobs": "jobs defaults batch_id",
    "claim_jobs": "worker_id task_types model_profiles max_jobs lease claim_id",
    "complete_job": "job_id result attempt worker_id usage",
    "fail_job": "job_id category message attempt worker_id retryable retry_after usage",
    "release_job": "job_id attempt worker_id delay category message patience",
    "report_provider": "provider category message retry_after job_id attempt",
    "heartbeat_job": "job_id attempt worker_id lease progress",
    "settle_jobs": "settlements",
    "retry_job": "job_id",
    "retry_jobs": "id owner_service owner_ref task_type model_profile status error_category worker_id batch_id created_after created_before max_jobs match_all",  # noqa: E501
    "cancel_job": "job_id reason",
    "cancel_jobs": "id owner_service owner_ref task_type model_profile status error_category worker_id batch_id created_after created_before reason max_jobs match_all",  # noqa: E501
    "recover_jobs": "max_jobs",
    "prune_jobs": "retention max_jobs",
    "get_job": "job_id",
    "list_jobs": "id owner_service owner_ref task_type model_profile status error_category worker_id batch_id created_after created_before max_jobs sort after",  # noqa: E501
    "list_attempts": "job_id",
    "get_batch": "batch_id",
    "stats": "owner_service task_type model_profile since",
    "set_queue": "model_profile task_type paused pause_reason max_running requests_per_minute tokens_per_minute",
    "pause_queue": "model_profile task_type",
    "resume_queue": "model_profile task_type",
    "list_queues": "model_profile task_type",
    "list_workers": "",
    "touch_worker": "worker_id task_types model_profiles",
    "next_wake": "task_types model_profiles",
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_the_contract_exists_once_with_its_parameters(db: Db, function: str) -> None:
    rows = db.execute(
        "select proargnames from pg_proc where pronamespace = 'aiserv'::regnamespace and proname = %s", [function]
    ).fetchall()

    (row,) = rows
    assert set(FUNCTIONS[function].split()) <= set(row["proargnames"] or [])


def test_every_table_view_and_function_says_what_it_is(db: Db) -> None:
    rows = db.execute(
        """
        select oid::regclass::text as name, obj_description(oid, 'pg_class') as comment
        from pg_class where relnamespace = 'aiserv'::regnamespace and relkind in ('r', 'v')
        union all
        select oid::regprocedure::text, obj_description(oid, 'pg_proc')
        from pg_proc where pronamespace = 'aiserv'::regnamespace
        """
    ).fetchall()

    assert [row["name"] for row in rows if not row["comment"]] == []


def test_every_column_of_a_public_view_says_what_it_is(db: Db) -> None:
    rows = db.execute(
        r"""
        select
            class.relname || '.' || attribute.attname as name,
            col_description(class.oid, attribute.attnum) as comment
        from pg_class as class
        join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum > 0
        where class.relnamespace = 'aiserv'::regnamespace and class.relkind = 'v' and class.relname not like '\_%'
        """
    ).fetchall()

    assert len(rows) > 50
    assert [row["name"] for row in rows if not row["comment"]] == []


def test_a_function_that_refuses_says_with_which_codes(db: Db) -> None:
    rows = db.execute(
        r"""
        select proname, obj_description(oid, 'pg_proc') as comment, prosrc from pg_proc
        where pronamespace = 'aiserv'::regnamespace and proname not like '\_%'
        """
    ).fetchall()

    for row in rows:
        for code in ("JN404", "JS409", "JL409", "JK422", "JV400", "JE400"):
            if code in row["prosrc"]:
                assert code in row["comment"], row["proname"]


def test_the_views_for_people_show_what_they_promise(db: Db) -> None:
    failed, lost, pending = in_state(db, "failed"), in_state(db, "running"), in_state(db, "pending")
    let_lease_run_out(db, lost)
    db.execute("update aiserv.lease set lease_expires_at = lease_expires_at - interval '1 minute'")
    db.execute("update aiserv.worker set last_seen_at = last_seen_at - interval '2 minutes'")
    with db.transaction():
        db.execute("update aiserv.job set run_at = run_at - interval '2 minutes' where id = %s", [pending])
        db.execute("update aiserv.ready set run_at = run_at - interval '2 minutes'")

    assert [row["id"] for row in db.execute("select * from aiserv.recent_failures").fetchall()] == [failed]
    stuck = {row["id"]: row["why"] for row in db.execute("select * from aiserv.stuck_jobs").fetchall()}
    assert set(stuck) == {lost, pending}
    call(db, "touch_worker", worker_id="worker-3", owner_service="somebody else")
    assert {row["id"] for row in db.execute("select id from aiserv.stuck_jobs").fetchall()} == {lost, pending}
    call(db, "touch_worker", worker_id="worker-2")
    assert [row["id"] for row in db.execute("select id from aiserv.stuck_jobs").fetchall()] == [lost]
    call(db, "touch_worker", worker_id="worker-2", queues='{"qwen": ["summary"]}')
    assert {row["id"] for row in db.execute("select id from aiserv.stuck_jobs").fetchall()} == {lost, pending}
    states = {row["worker_id"]: row["state"] for row in db.execute("select * from aiserv.workers").fetchall()}
    assert states == {"worker-1": "lost", "worker-2": "live", "worker-3": "live"}
