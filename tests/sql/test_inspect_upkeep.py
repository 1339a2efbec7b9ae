"""What keeps PostgreSQL from cleaning up."""

from tests.sql.calls import Connect, Db
from tests.sql.findings import finding

ROWS = """
insert into aiserv.delta (minute, owner_service, task_type, model_profile)
select now(), 'a', 'b', 'c' from generate_series(1, 100001)
"""
# A page of the queue each, of a million.
NOTIFY = "select count(pg_notify('x', number || repeat('x', 7800))) from generate_series(1, 11000) as number"


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
