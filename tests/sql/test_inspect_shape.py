"""What was changed by hand."""

import pytest

from aiserv.migrate import migrate
from tests.sql.calls import Db, call
from tests.sql.findings import finding

ANOTHER_QUERY = """
do $$
begin
    execute format('create or replace view aiserv.stuck_jobs as select * from (%s) as seen limit 1',
        rtrim(pg_get_viewdef('aiserv.stuck_jobs'::regclass), ';'));
end;
$$
"""


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ("alter table aiserv.job alter priority drop not null", "problem", "column aiserv.job.priority was changed"),
        ("alter table aiserv.turn add column mine integer", "warning", "column aiserv.turn.mine is not of aiserv"),
        ("create index mine on aiserv.job (owner_ref)", "warning", "index aiserv.mine is not of aiserv"),
        ("create table aiserv.mine ()", "warning", "table aiserv.mine is not of aiserv"),
        (
            "alter domain aiserv._outcome drop constraint outcome_is_final",
            "problem",
            "domain constraint aiserv._outcome.outcome_is_final is missing",
        ),
        (
            ANOTHER_QUERY,
            "problem",
            "query of aiserv.stuck_jobs in PostgreSQL",
        ),
        ("revoke select on aiserv.jobs from aiserv_readonly", "problem", "view aiserv.jobs was changed"),
        ("revoke usage on schema aiserv from aiserv_service", "problem", "schema aiserv was changed"),
        (
            "revoke execute on function aiserv.installed_files from aiserv_service",
            "problem",
            "function aiserv.installed_files() was changed",
        ),
        (
            "alter function aiserv.installed_files owner to current_user",
            "problem",
            "function aiserv.installed_files() was changed",
        ),
        ("alter table aiserv.job set (fillfactor = 90)", "ok", "as installed"),
    ],
)
def test_what_was_changed_by_hand_is_named_and_may_be_meant(db: Db, change: str, status: str, detail: str) -> None:
    assert finding(db, "objects") == ("ok", "as installed")
    db.execute(change.encode())

    found = finding(db, "objects")

    assert (found[0], detail in found[1]) == (status, True)
    db.execute("select aiserv._record_shape()")
    assert finding(db, "objects") == ("ok", "as installed")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (
            "alter domain aiserv._outcome drop constraint outcome_is_final",
            "domain constraint aiserv._outcome.outcome_is_final",
        ),
        ("drop index aiserv.job_by_queue", "index aiserv.job_by_queue"),
        ("drop trigger _100_guard_finished on aiserv.job", "trigger aiserv.job._100_guard_finished"),
        (
            "alter table aiserv.job drop constraint job_finished_has_outcome",
            "constraint aiserv.job.job_finished_has_outcome",
        ),
        (
            "alter table aiserv.idempotency drop constraint idempotency_pkey",
            "constraint aiserv.idempotency.idempotency_pkey",
        ),
    ],
)
def test_what_is_missing_is_named_and_made_again_as_advised(db: Db, change: str, missing: str) -> None:
    db.execute(change.encode())
    (found,) = call(db, "inspect_shape")
    assert (found["status"], found["detail"]) == ("problem", f"{missing} is missing")

    db.execute(found["advice"].removeprefix("Undo it: ").partition(" Or, if")[0].encode())

    assert finding(db, "objects") == ("ok", "as installed")


def test_an_update_does_not_make_right_what_was_changed_by_hand(db: Db, conninfo: str) -> None:
    db.execute("drop index aiserv.job_by_owner")
    db.execute("create table aiserv.mine ()")
    db.execute(ANOTHER_QUERY)
    db.execute("update aiserv.installed set checksum = '' where file = 'views/stuck_jobs.sql'")

    assert "views/stuck_jobs.sql" in migrate(conninfo)

    assert finding(db, "objects") == (
        "problem", "index aiserv.job_by_owner is missing, table aiserv.mine is not of aiserv"
    )  # fmt: skip


def test_another_version_of_postgresql_prints_queries_in_its_own_way(db: Db) -> None:
    db.execute("update aiserv.shape set object = regexp_replace(object, '\\d+$', '14') where object like 'query of %'")

    assert finding(db, "objects") == ("ok", "as installed")
