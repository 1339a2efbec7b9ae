"""A dump and what becomes of it on another server."""

import subprocess
from pathlib import Path

import psycopg

from aiserv.embedded import _binaries, embedded_postgres
from aiserv.migrate import pending
from tests.processes import ROOT


def run(program: str, *arguments: str) -> None:
    ended = subprocess.run([_binaries() / program, *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_dump_restored_on_a_new_server_goes_on_where_it_was(conninfo: str, tmp_path: Path) -> None:
    dump = str(tmp_path / "dump")
    with psycopg.connect(conninfo, autocommit=True) as db:
        for owner_ref in ("done", "running", "waiting"):
            db.execute(
                "select aiserv.create_job("
                "owner_service => 'a', task_type => 't', model_profile => 'm', owner_ref => %s)",
                [owner_ref],
            )
        (done, attempt), _ = db.execute("select id, attempt from aiserv.claim_jobs('w', max_jobs => 2)").fetchall()
        db.execute('select aiserv.complete_job(%s, \'{"b": 1,  "a": 2}\', %s)', [done, attempt])
        jobs = db.execute("select * from aiserv.jobs order by id").fetchall()

    run("pg_dump", "--format=custom", f"--file={dump}", conninfo)
    with embedded_postgres(tmp_path / "other", durable=False) as other:
        run("psql", other, "--quiet", "--set=ON_ERROR_STOP=1", f"--file={ROOT}/sql/roles.sql")
        run("pg_restore", f"--dbname={other}", "--exit-on-error", dump)

        with psycopg.connect(other, autocommit=True) as db:
            restored = db.execute("select * from aiserv.jobs order by id").fetchall()
            db.execute("update aiserv.lease set lease_expires_at = now()")
            db.execute("select aiserv.sweep()")
            status = db.execute("select status from aiserv.jobs order by id").fetchall()
        files = pending(other)

    assert restored == jobs
    assert status == [("completed",), ("pending",), ("pending",)]
    assert files == []
