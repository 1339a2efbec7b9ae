"""`aiserv bench` on a database that others use, too."""

import json
import signal

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.conftest import administrator, database, url_of
from tests.processes import aiserv
from tests.workers.running import until

Db = psycopg.Connection[DictRow]

QUICK = ("bench", "--seconds", "0.3", "--jobs", "300", "--batch", "50", "--connections", "8", "--rate", "50")
PATIENCE = 60


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


@pytest.mark.slow
async def test_it_measures_every_part_and_leaves_the_jobs_of_others_alone(db: Db, conninfo: str) -> None:
    create(db)

    with aiserv(*QUICK, "--json", DATABASE_URL=conninfo, AI_SERVICE_TOKEN="secret") as bench:
        status = await bench.ended(PATIENCE)

    assert status == 0, bench.text
    figures = json.loads(bench.text[bench.text.index("{") :])
    assert set(figures["pickup_ms"]) == {"p50", "p95", "p99"}
    assert 0 < figures["pickup_ms"]["p50"] <= figures["pickup_ms"]["p99"]
    assert all(figures[name] > 0 for name in figures if name.endswith(("per_second", "factor")))
    assert figures["drained_jobs"] > 0
    assert left(db) == ["telephony"]
    assert of_bench(db) == []


@pytest.mark.slow
async def test_ctrl_c_ends_it_and_takes_its_jobs_away(db: Db, conninfo: str) -> None:
    create(db)

    with aiserv("bench", "--seconds", "60", DATABASE_URL=conninfo) as bench:
        await until(lambda: "aiserv-bench" in left(db), PATIENCE)
        bench.send_to_group(signal.SIGINT)
        status = await bench.ended(PATIENCE)

    assert (status, "interrupted" in bench.text) == (1, True), bench.text
    assert left(db) == ["telephony"]
    assert of_bench(db) == []


async def test_a_database_without_the_schema_is_refused_in_words(postgres: str) -> None:
    with database(postgres, template="template0") as name:
        with aiserv(*QUICK, DATABASE_URL=url_of(postgres, name)) as bench:
            status = await bench.ended(PATIENCE)

        assert status == 1
        assert "not ready" in bench.text
        with administrator(url_of(postgres, name)) as connection:
            assert connection.execute("select from pg_namespace where nspname = 'aiserv'").fetchall() == []


@pytest.mark.parametrize("arguments", [("--seconds", "0"), ("--jobs", "none"), ("--what",)])
async def test_wrong_usage_is_told_apart(arguments: tuple[str, ...]) -> None:
    with aiserv("bench", *arguments) as bench:
        assert await bench.ended() == 2
