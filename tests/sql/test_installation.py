"""check_installation: every finding is provoked, and gone when its cause is."""

from collections.abc import Iterator

import psycopg
import pytest

from aiserv.migrate import migrate
from tests.conftest import administrator, url_of
from tests.sql.calls import Connect, Db, call, create, in_state, let_lease_run_out, one

ROWS = """
insert into aiserv.delta (minute, owner_service, task_type, model_profile)
select now(), 'a', 'b', 'c' from generate_series(1, 100001)
"""
ANOTHER_QUERY = """
do $$
begin
    execute format('create or replace view aiserv.stuck_jobs as select * from (%s) as seen limit 1',
        rtrim(pg_get_viewdef('aiserv.stuck_jobs'::regclass), ';'));
end;
$$
"""
# A page of the queue each, of a million.
NOTIFY = "select count(pg_notify('x', number || repeat('x', 7800))) from generate_series(1, 11000) as number"


def follow(db: Db, topic: str) -> None:
    """Do what is advised: the statements before the sentence that says why."""
    (row,) = [row for row in call(db, "check_installation") if row["topic"] == topic]
    for statement in row["advice"].split(";")[:-1]:
        db.execute(statement.encode())


def finding(db: Db, topic: str, patience: str = "5 minutes") -> tuple[str, str]:
    """Status and detail of a topic, after a look at the shape of all."""
    found = call(db, "check_installation", patience=patience)
    assert all(row["status"] in {"ok", "warning", "problem"} for row in found)
    assert all((row["advice"] is None) == (row["status"] == "ok") for row in found)
    assert all(row["detail"] for row in found)
    (row,) = [row for row in found if row["topic"] == topic]
    return row["status"], row["detail"]


@pytest.fixture
def quiet_autovacuum(db: Db) -> Iterator[None]:
    db.execute("alter system set autovacuum = off")
    db.execute("select pg_reload_conf()")
    yield
    db.execute("alter system reset autovacuum")
    db.execute("select pg_reload_conf()")


def test_a_new_installation_has_no_problem_of_its_own(db: Db) -> None:
    # How the server of the tests is set is its own business.
    known = {"durability", "commit", "role"}
    wrong = {row["topic"] for row in call(db, "check_installation") if row["status"] != "ok"}

    assert wrong <= known


def test_a_service_may_ask(connect: Connect) -> None:
    service = connect(options="-c role=aiserv_service")

    assert finding(service, "role") == ("ok", "connected as aiserv_service")
    assert finding(service, "unserved")[0] == "ok"


def test_a_schema_public_in_which_everybody_may_create_is_closed_as_advised(db: Db) -> None:
    assert finding(db, "public_schema")[0] == "ok"
    db.execute("grant create on schema public to public")
    assert finding(db, "public_schema")[0] == "warning"

    follow(db, "public_schema")

    assert finding(db, "public_schema")[0] == "ok"


def test_a_superuser_has_too_much_power(db: Db, connect: Connect) -> None:
    status, detail = finding(db, "role")
    assert (status, detail.endswith(", a superuser")) == ("warning", True)
    owner = connect(options="-c role=aiserv_owner")
    assert finding(owner, "role")[1] == "connected as aiserv_owner, who may act as the owner of the schema"


@pytest.mark.parametrize(("value", "status"), [("on", "ok"), ("off", "problem"), ("local", "ok")])
def test_commits_must_wait_for_the_disk(connect: Connect, value: str, status: str) -> None:
    assert finding(connect(options=f"-c synchronous_commit={value}"), "commit")[0] == status


@pytest.fixture
def awaited_standby(db: Db) -> Iterator[None]:
    """Commits wait for a standby, as far as settings go; nobody else may commit meanwhile."""
    db.execute("alter system set synchronous_standby_names = 'far'")
    db.execute("select pg_reload_conf()")
    # What this session has heard of, those to come have, too.
    while db.execute("show synchronous_standby_names").fetchone() != {"synchronous_standby_names": "far"}:
        pass
    yield
    db.execute("alter system reset synchronous_standby_names")
    db.execute("select pg_reload_conf()")


@pytest.mark.parametrize(("value", "status"), [("on", "ok"), ("local", "warning"), ("remote_write", "warning")])
def test_commits_must_wait_for_the_standbys_that_are_named(
    awaited_standby: None, connect: Connect, value: str, status: str
) -> None:
    db = connect(options=f"-c synchronous_commit={value}")

    assert finding(db, "commit") == (status, f"synchronous_commit {value}, standbys far")
    assert finding(db, "standbys") == ("problem", "none of far streams")


def test_without_standbys_all_is_said_to_be_on_one_machine(db: Db) -> None:
    assert finding(db, "standbys") == ("ok", "none: what was answered is on this machine alone")


def test_fsync_must_be_on(db: Db) -> None:
    fsync = db.execute("show fsync").fetchone()
    assert fsync

    assert finding(db, "durability")[0] == ("ok" if fsync["fsync"] == "on" else "problem")


def test_autovacuum_must_be_on(quiet_autovacuum: None, connect: Connect) -> None:
    # A setting is read between two statements.
    assert finding(connect(), "autovacuum")[0] == "problem"


def test_the_encoding_must_know_all_letters(postgres: str) -> None:
    with administrator(postgres) as admin:
        admin.execute(
            "create database aiserv_ascii template template0 encoding 'SQL_ASCII' locale 'C' locale_provider libc"
        )
        try:
            migrate(url_of(postgres, "aiserv_ascii"))
            with psycopg.connect(url_of(postgres, "aiserv_ascii")) as ascii_db:
                found = ascii_db.execute(
                    "select status from aiserv.check_installation() where topic = 'encoding'"
                ).fetchone()
            assert found == (b"problem",)
        finally:
            admin.execute("drop database aiserv_ascii with (force)")


def test_connections_must_not_run_out(db: Db, connect: Connect) -> None:
    limit = db.execute("show max_connections").fetchone()
    assert limit
    assert finding(db, "connections")[0] == "ok"

    for _ in range(int(0.7 * int(limit["max_connections"]))):
        connect()
    # No more than it takes: tests beside this one want some, too, and give some back at any moment.
    while (status := finding(db, "connections")[0]) == "ok":
        connect()
    assert status == "warning"

    # Who may not see the sessions of others counts them all the same.
    service = connect(options="-c role=aiserv_service")
    while (status := finding(service, "connections")[0]) == "ok":
        connect()
    assert status == "warning"


def test_an_old_transaction_is_named(db: Db, connect: Connect) -> None:
    other = connect(application_name="forgotten")
    other.execute("begin")
    other.execute("select 1")

    status, detail = finding(db, "transactions", patience="0")
    assert (status, "(forgotten)" in detail) == ("warning", True)
    other.execute("commit")
    assert "(forgotten)" not in finding(db, "transactions", patience="0")[1]


def test_hidden_transactions_are_not_called_none(connect: Connect) -> None:
    assert "grant pg_read_all_stats" in finding(connect(options="-c role=aiserv_service"), "transactions")[1]


def test_a_replication_slot_without_a_reader_is_named(db: Db) -> None:
    db.execute("select pg_create_physical_replication_slot('aiserv_left_behind')")
    try:
        assert finding(db, "replication_slots") == ("warning", "without a reader: aiserv_left_behind")
    finally:
        db.execute("select pg_drop_replication_slot('aiserv_left_behind')")


def test_dead_rows_are_counted(db: Db) -> None:
    # An autovacuum that is on its way would clear them away.
    db.execute("alter table aiserv.delta set (autovacuum_enabled = off)")
    with db.transaction(force_rollback=True):
        db.execute(ROWS)
    db.execute("select pg_stat_force_next_flush()")

    status, detail = finding(db, "dead_rows")

    assert (status, "of aiserv.delta" in detail) == ("warning", True)


def test_a_listener_that_does_not_read_holds_the_queue(db: Db, connect: Connect) -> None:
    hung = connect()
    hung.execute("listen x")
    hung.execute("begin")
    hung.execute("select 1")

    db.execute(NOTIFY)

    assert finding(db, "notifications")[0] == "warning"


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ("grant execute on function aiserv.get_job to public", "execute on function aiserv.get_job to public"),
        (
            "grant execute on function aiserv._fold to aiserv_service",
            "execute on function aiserv._fold to aiserv_service",
        ),
        ("grant update on aiserv.job to aiserv_service", "update on aiserv.job to aiserv_service"),
        ("grant select on aiserv.job to aiserv_readonly", "select on aiserv.job to aiserv_readonly"),
        ("grant select on aiserv.jobs to public", "select on aiserv.jobs to public"),
        ("grant create on schema aiserv to aiserv_service", "create on schema aiserv to aiserv_service"),
        ("grant usage on schema aiserv to public", "usage on schema aiserv to public"),
    ],
)
def test_a_grant_that_is_too_much_is_named_and_taken_back_by_what_is_advised(db: Db, given: str, detail: str) -> None:
    db.execute(given.encode())

    assert finding(db, "grants") == ("problem", detail)
    follow(db, "grants")
    assert finding(db, "grants")[0] == "ok"


def test_a_guard_that_is_off_is_named(db: Db) -> None:
    db.execute("alter table aiserv.job disable trigger user")
    db.execute("update pg_index set indisvalid = false where indexrelid = 'aiserv.job_by_owner'::regclass")

    status, detail = finding(db, "switched_off")

    assert status == "problem"
    assert "index aiserv.job_by_owner" in detail
    assert "on aiserv.job" in detail
    follow(db, "switched_off")
    assert finding(db, "switched_off")[0] == "ok"


def test_leases_that_nobody_recovers_are_counted(db: Db) -> None:
    lost = in_state(db, "running")

    def just_run_out() -> tuple[str, str]:
        let_lease_run_out(db, lost)
        return finding(db, "leases")

    # Once more where the machine stood still for those ten seconds.
    assert ("ok", "none is over") in (just_run_out() for _ in range(3))

    db.execute("update aiserv.lease set lease_expires_at = lease_expires_at - interval '1 minute'")

    assert finding(db, "leases") == ("problem", "1 over for more than 10 seconds and not recovered")


def test_due_work_without_a_live_worker_is_named(db: Db) -> None:
    create(db, delay="1 day")
    assert finding(db, "unserved")[0] == "ok"

    create(db)

    call(db, "touch_worker", worker_id="w", owner_service="somebody else")
    assert finding(db, "unserved") == ("problem", "1 due jobs of qwen, chat")
    call(db, "touch_worker", worker_id="w")
    assert finding(db, "unserved")[0] == "ok"


def test_a_paused_queue_is_named(db: Db) -> None:
    call(db, "pause_queue", model_profile="qwen", pause_reason="release")

    assert finding(db, "paused") == ("warning", "qwen, release")
    call(db, "resume_queue", model_profile="qwen")
    assert finding(db, "paused")[0] == "ok"


def test_a_provider_in_trouble_is_named(db: Db) -> None:
    job = create(db)
    (held,) = call(db, "claim_jobs", worker_id="w")
    one(
        db,
        "report_provider",
        provider="qwen",
        category="unauthorized",
        message="no",
        job_id=job["id"],
        attempt=held["attempt"],
    )

    status, detail = finding(db, "troubled_providers")

    assert (status, detail.startswith("qwen: unauthorized since ")) == ("warning", True)


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ("alter table aiserv.job alter priority drop not null", "problem", "column aiserv.job.priority was changed"),
        ("alter table aiserv.turn add column mine integer", "warning", "column aiserv.turn.mine is not of aiserv"),
        ("drop index aiserv.job_by_owner", "problem", "index aiserv.job_by_owner is missing"),
        ("create index mine on aiserv.job (owner_ref)", "warning", "index aiserv.mine is not of aiserv"),
        ("create table aiserv.mine ()", "warning", "table aiserv.mine is not of aiserv"),
        (
            "alter table aiserv.job drop constraint job_finished_has_outcome",
            "problem",
            "constraint aiserv.job.job_finished_has_outcome is missing",
        ),
        ("drop trigger _120_guard_delete on aiserv.job", "problem", "trigger aiserv.job._120_guard_delete is missing"),
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
