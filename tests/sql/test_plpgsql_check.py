"""plpgsql_check reads the bodies of all functions as PostgreSQL would only when they run."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from tests.needs import needs

INSTALL = Path(__file__).parents[2] / "sql" / "install.sql"
EXTENSIONS = sorted(Path("/usr").glob("share/postgresql/*/extension/plpgsql_check.control"))


@pytest.fixture(scope="module")
def checker() -> Iterator[psycopg.Connection[DictRow]]:
    """A throw-away cluster of Debian's PostgreSQL with our schema and the extension in it."""
    needs(EXTENSIONS, "plpgsql_check: apt-get install postgresql-15-plpgsql-check")
    binaries = Path("/usr/lib/postgresql") / EXTENSIONS[-1].parents[1].name / "bin"
    # PostgreSQL refuses to run as root; a short path, for the socket.
    account = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="aiserv-check-", dir="/tmp") as directory:
        if account:
            shutil.chown(directory, account)

        def run(program: str, *arguments: str, user: str | None = account) -> None:
            subprocess.run([binaries / program, *arguments], check=True, capture_output=True, cwd="/", user=user)

        data = f"{directory}/data"
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-k {directory} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-l", f"{directory}/log", "-o", options, "start")
        try:
            conninfo = make_conninfo(host=directory, user="postgres", dbname="postgres")
            run("psql", conninfo, "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(INSTALL), user=None)
            with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as connection:
                connection.execute("create extension plpgsql_check")
                yield connection
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def test_no_function_has_an_error_or_an_unused_variable(checker: psycopg.Connection[DictRow]) -> None:
    rows = checker.execute(
        """
        select procedure.oid::regprocedure::text as function, complaint.lineno, complaint.level, complaint.message
        from pg_proc as procedure
        join pg_language as language on language.oid = procedure.prolang and language.lanname = 'plpgsql'
        cross join lateral plpgsql_check_function_tb(procedure.oid, extra_warnings => true) as complaint
        where procedure.pronamespace = 'aiserv'::regnamespace and procedure.prorettype <> 'trigger'::regtype
        """
    ).fetchall()

    assert rows == []


def test_no_trigger_has_an_error(checker: psycopg.Connection[DictRow]) -> None:
    rows = checker.execute(
        """
        select procedure.oid::regprocedure::text as function, complaint.lineno, complaint.level, complaint.message
        from pg_trigger as trigger
        join pg_proc as procedure on procedure.oid = trigger.tgfoid
        cross join lateral plpgsql_check_function_tb(
            procedure.oid, trigger.tgrelid, oldtable => trigger.tgoldtable, newtable => trigger.tgnewtable
        ) as complaint
        where procedure.pronamespace = 'aiserv'::regnamespace
        """
    ).fetchall()

    assert rows == []
