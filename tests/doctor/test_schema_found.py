"""A schema that is not as in the files: `aiserv doctor` says so, and what makes it whole again."""

import re

import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.migrate import sql_files
from aiserv.queries.installation import Finding
from tests.conftest import database as new_database
from tests.conftest import url_of
from tests.doctor.examined import found

Db = psycopg.Connection[DictRow]
EMPTY_BODY = (
    "create or replace function aiserv.time_text(moment timestamptz) returns text language plpgsql as"
    " $$ begin return ''; end $$"
)
AS_BY_PSQL = (
    "update aiserv.installed set checksum = null; delete from aiserv.installed where file not like 'migrations/%'"
)


async def test_a_schema_from_the_files_is_as_in_the_files(conninfo: str) -> None:
    assert (await found(conninfo, "schema")).status == "ok"
    assert (await found(conninfo, "functions")) == Finding("functions", "ok", "as in the files")


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        (
            "delete from aiserv.installed where file like 'migrations/0001%'",
            "problem",
            "not up to date: migrations/0001",
        ),
        (
            "delete from aiserv.installed where file = 'functions/stats.sql'",
            "problem",
            "not up to date: functions/stats",
        ),
        (
            "update aiserv.installed set checksum = '0' where file = 'views/jobs.sql'",
            "problem",
            "not up to date: views/jobs",
        ),
        ("update aiserv.installed set version = '99.0'", "warning", "installed by version 99.0"),
        (
            "insert into aiserv.installed (file) values ('migrations/9999_x.sql')",
            "problem",
            "has migrations/9999_x.sql",
        ),
        (
            AS_BY_PSQL,
            "ok",
            "",
        ),
    ],
)
async def test_a_schema_of_another_version_is_recognised(
    conninfo: str, db: Db, change: str, status: str, detail: str
) -> None:
    db.execute(change.encode())

    finding = await found(conninfo, "schema")

    assert (finding.status, finding.detail.startswith(detail)) == (status, True)


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        (
            EMPTY_BODY,
            "problem",
            "changed by hand: functions/time_text.sql",
        ),
        ("alter function aiserv.get_job security invoker", "problem", "changed by hand: functions/get_job.sql"),
        ("alter function aiserv.get_job reset all", "problem", "changed by hand: functions/get_job.sql"),
        ("drop function aiserv.get_job", "problem", "missing: functions/get_job.sql"),
        (
            "create function aiserv.mine() returns integer language sql return 1",
            "warning",
            "not of aiserv: mine",
        ),
    ],
)
async def test_a_function_changed_by_hand_is_named(
    conninfo: str, db: Db, change: str, status: str, detail: str
) -> None:
    db.execute(change.encode())

    finding = await found(conninfo, "functions")

    assert (finding.status, finding.detail) == (status, detail)


async def test_a_database_without_schema_is_recognised(postgres: str) -> None:
    with new_database(postgres, template="template1") as name:
        finding = await found(url_of(postgres, name), "schema")

    assert (finding.status, finding.advice) == ("problem", "Run aiserv migrate.")


async def test_a_role_without_rights_is_recognised(conninfo: str) -> None:
    finding = await found(f"{conninfo}&options=-c%20role%3Daiserv_readonly", "schema")

    assert (finding.status, finding.detail) == ("problem", "this role may not use it")


@pytest.mark.parametrize("function", ["get_job", "_notify_queue"])
async def test_a_missing_function_is_made_again_as_advised(conninfo: str, db: Db, function: str) -> None:
    db.execute(f"drop function aiserv.{function} cascade".encode())
    finding = await found(conninfo, "functions")
    assert "grants.sql" in (finding.advice or "")
    (missing,) = re.findall(r"(?:functions|triggers)/\w+\.sql", finding.detail)
    assert f"sql/{missing.partition('/')[0]}/" in ((await found(conninfo, "objects")).advice or "")

    db.execute("set role aiserv_owner")
    for file in (missing, "grants.sql"):
        db.execute(sql_files()[file].text.encode())

    for topic in ("functions", "grants", "objects"):
        assert (await found(conninfo, topic)).status == "ok"
