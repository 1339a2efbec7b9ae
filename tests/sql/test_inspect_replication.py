"""What a commit is, and who has it."""

from collections.abc import Iterator

import pytest

from tests.sql.calls import Connect, Db
from tests.sql.findings import finding


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
