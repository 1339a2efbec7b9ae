"""`aiserv bench` on a database that others use, too."""

import json
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow

from tests.conftest import administrator, database, url_of
from tests.processes import Process, aiserv
from tests.waiting import until

Db = psycopg.Connection[DictRow]

# As many jobs as are asked for, however long it takes.
QUICK = ("bench", "--seconds", "60", "--jobs", "20", "--batch", "8", "--connections", "16", "--rate", "50", "--json")
# One by one, one by one with commits of their own, and in two whole batches.
CREATED = 20 + 20 + 16
PATIENCE = 120  # seconds, on a busy machine


def create(db: Db) -> None:
    db.execute(
        "select aiserv.create_job(owner_service => 'telephony', task_type => 'llm_chat', model_profile => 'qwen')"
    )


def left(db: Db) -> list[str]:
    return [row["owner_service"] for row in db.execute("select owner_service from aiserv.jobs").fetchall()]


def of_bench(db: Db) -> list[DictRow]:
    return db.execute(
        "select application_name from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    ).fetchall()


def figures_of(bench: Process) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(bench.text[bench.text.index("{") :])
    return figures


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.mark.slow
async def test_it_measures_every_part_and_leaves_the_jobs_of_others_alone(
    db: Db, conninfo: str, tmp_path: Path
) -> None:
    create(db)
    # How the database is reached is the environment's; what a server of others demands is not ours.
    lines = [f"{name}={value}" for name, value in conninfo_to_dict(conninfo).items()]
    (tmp_path / "services").write_text("\n".join(["[db]", *lines]))
    reached = {"DATABASE_URL": "postgresql://?service=db", "PGSERVICEFILE": "services"}
    demands = {"AI_SERVICE_TOKEN": "secret", "MAX_PENDING": "1", "HTTP_MAX_BODY": "1"}

    with aiserv(*QUICK, cwd=str(tmp_path), **reached, **demands) as bench:
        status = await bench.ended(PATIENCE)

    assert status == 0, bench.text
    figures = figures_of(bench)
    assert set(figures["pickup_ms"]) == {"p50", "p95", "p99"}
    assert 0 < figures["pickup_ms"]["p50"] <= figures["pickup_ms"]["p99"]
    assert all(figures[name] > 0 for name in figures if name.endswith(("per_second", "factor")))
    assert figures["drained_jobs"] == CREATED
    assert left(db) == ["telephony"]
    await until(lambda: of_bench(db) == [])


@pytest.mark.slow
async def test_ctrl_c_ends_it_and_takes_its_jobs_away(db: Db, conninfo: str) -> None:
    create(db)

    with aiserv("bench", "--seconds", "60", DATABASE_URL=conninfo) as bench:
        await until(lambda: "aiserv-bench" in left(db), PATIENCE)
        bench.send_to_group(signal.SIGINT)
        status = await bench.ended(PATIENCE)

    assert (status, "interrupted" in bench.text) == (1, True), bench.text
    assert left(db) == ["telephony"]
    await until(lambda: of_bench(db) == [])


@pytest.mark.slow
async def test_ctrl_c_while_it_deletes_its_jobs_says_that_some_are_left(db: Db, conninfo: str) -> None:
    with aiserv("bench", "--seconds", "60", DATABASE_URL=conninfo) as bench:
        await until(lambda: left(db), PATIENCE)
        with db.transaction():
            db.execute("select from aiserv.job order by id limit 1 for update")
            bench.send_to_group(signal.SIGINT)
            await bench.says("cleaning up", PATIENCE)
            bench.send_to_group(signal.SIGINT)
            status = await bench.ended(PATIENCE)

    assert status == 1
    assert "some of model_profile aiserv-bench-" in bench.text
    assert "are gone" not in bench.text


@pytest.mark.slow
async def test_without_a_database_it_measures_one_of_its_own(tmp_path: Path) -> None:
    with aiserv(*QUICK, cwd=str(tmp_path), TMPDIR=str(tmp_path)) as bench:
        status = await bench.ended(PATIENCE)

    assert status == 0, bench.text
    assert "embedded PostgreSQL" in figures_of(bench)["database"]
    assert files_in(tmp_path) == []


async def test_a_database_without_the_schema_is_refused_in_words(postgres: str) -> None:
    with database(postgres, template="template0") as name:
        with aiserv(*QUICK, DATABASE_URL=url_of(postgres, name)) as bench:
            status = await bench.ended(PATIENCE)

        assert status == 1
        assert "not ready" in bench.text
        with administrator(url_of(postgres, name)) as connection:
            assert connection.execute("select from pg_namespace where nspname = 'aiserv'").fetchall() == []


async def test_a_database_that_cannot_be_reached_is_refused_with_the_reason(postgres: str) -> None:
    with aiserv(*QUICK, DATABASE_URL=url_of(postgres, "no_such_database")) as bench:
        status = await bench.ended(PATIENCE)

    assert status == 1
    assert 'database "no_such_database" does not exist' in bench.text


@pytest.mark.parametrize("arguments", [("--seconds", "0"), ("--jobs", "none"), ("--what",)])
async def test_wrong_usage_is_told_apart(arguments: tuple[str, ...]) -> None:
    with aiserv("bench", *arguments) as bench:
        assert await bench.ended() == 2
