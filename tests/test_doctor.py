"""aiserv doctor: what it finds beside what PostgreSQL tells, and what it tells the shell."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psycopg
import pytest
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from aiserv import listener
from aiserv.database import Caps, Database
from aiserv.doctor import arrived, clock, examine, listening, worst
from aiserv.embedded import embedded_postgres
from aiserv.migrate import migrate, sql_files
from aiserv.pool import Pool
from aiserv.queries.installation import Finding
from aiserv.settings import Settings
from aiserv.stand_in import stand_in_provider
from tests.conftest import administrator, url_of
from tests.conftest import database as new_database
from tests.processes import aiserv
from tests.tcp_proxy import tcp_proxy
from tests.waiting import SOON

NOBODY = "http://127.0.0.1:9"
Db = psycopg.Connection[DictRow]
EMPTY_BODY = (
    "create or replace function aiserv.time_text(moment timestamptz) returns text language plpgsql as"
    " $$ begin return ''; end $$"
)
AS_BY_PSQL = (
    "update aiserv.installed set checksum = null; delete from aiserv.installed where file not like 'migrations/%'"
)


async def found(conninfo: str, topic: str, **variables: str) -> Finding:
    findings = await examine(Settings.load({}, DATABASE_URL=conninfo, **variables))
    (finding,) = [finding for finding in findings if finding.topic == topic]
    assert (finding.advice is None) == (finding.status == "ok")
    return finding


@asynccontextmanager
async def pooled(url: str) -> AsyncIterator[Database]:
    """A database as it is behind a pooler that drops the settings of a session."""
    conninfo = make_conninfo(url, user="pooled")
    async with Pool(conninfo, min_size=1, max_size=1, kwargs={"autocommit": True}, open=False) as pool:
        yield Database(pool, SOON)


@pytest.fixture
async def database(conninfo: str) -> AsyncIterator[Database]:
    async with Database.open(conninfo, size=1, name="test") as database:
        yield database


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


async def test_a_database_that_is_not_there_is_recognised_without_its_password() -> None:
    finding = await found("postgresql://somebody:planted@127.0.0.1:9/x", "connection")

    assert (finding.status, "port 9" in finding.detail) == ("problem", True)
    assert "planted" not in finding.detail


async def test_caps_that_a_pooler_drops_are_recognised(conninfo: str, database: Database) -> None:
    # A pool that was opened without them is what is left behind such a pooler.
    lost = await arrived(database, Caps(5, 3))

    assert lost.detail == "lost on the way: aiserv.max_pending, aiserv.max_pending_per_owner"
    assert (await found(conninfo, "settings")).detail == "they arrive; no caps on waiting jobs"
    assert (await found(conninfo, "settings", MAX_PENDING="5")).detail == "aiserv.max_pending 5"


async def test_settings_that_a_pooler_drops_are_set_as_advised(postgres: str) -> None:
    with new_database(postgres, template="template1") as name, administrator(postgres) as admin:
        url = url_of(postgres, name)
        admin.execute("create role pooled superuser login")
        try:
            async with pooled(url) as database:
                finding = await arrived(database, Caps(5))
            assert finding.detail == "lost on the way: lock_timeout, statement_timeout, aiserv.max_pending"
            assert finding.advice
            for statement in re.findall(r"alter role[^;]+;", finding.advice):
                admin.execute(statement)
            async with pooled(url) as database:
                assert (await arrived(database, Caps(5))).status == "ok"
        finally:
            admin.execute("drop role pooled")


async def test_a_pooler_that_refuses_settings_is_recognised() -> None:
    said = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"

    async def refuse(client: SocketStream) -> None:
        async with client:
            await client.receive()
            await client.send(b"E" + (len(said) + 4).to_bytes(4) + said)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as pooler, anyio.create_task_group() as tasks:
        tasks.start_soon(pooler.serve, refuse)
        port = pooler.extra(SocketAttribute.local_port)  # noqa: S610 - of anyio
        finding = await found(f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable&gssencmode=disable", "connection")
        tasks.cancel_scope.cancel()

    assert finding.status == "problem"
    assert "ignore_startup_parameters = options" in (finding.advice or "")


@pytest.mark.parametrize(
    "change",
    [
        "drop index aiserv.job_by_queue",
        "drop trigger _100_guard_finished on aiserv.job",
        "alter table aiserv.job drop constraint job_finished_has_outcome",
        "alter table aiserv.idempotency drop constraint idempotency_pkey",
    ],
)
async def test_what_is_missing_is_made_again_as_advised(conninfo: str, db: Db, change: str) -> None:
    db.execute(change.encode())
    finding = await found(conninfo, "objects")
    assert finding.status == "problem"
    assert finding.advice

    db.execute(finding.advice.removeprefix("Undo it: ").partition(" Or, if")[0].encode())

    assert (await found(conninfo, "objects")).status == "ok"


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


async def test_swallowed_notifications_are_recognised(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tcp_proxy(conninfo) as proxy:
        assert (await listening(proxy.conninfo)).status == "ok"

        monkeypatch.setattr(listener, "PROBE_SECONDS", 0.3)
        proxy.swallow_notifications = True
        finding = await listening(proxy.conninfo)

    assert finding.status == "problem"
    assert "transaction pooler" in finding.detail


async def test_a_clock_that_is_wrong_is_recognised(database: Database) -> None:
    assert (await clock(database)).status == "ok"

    for shift in (3600, -3600):
        finding = await clock(database, lambda: time.time() + shift)  # noqa: B023 - called at once
        assert finding.status == "warning"
        # Less what the question and its answer took.
        seconds, _, told = finding.detail.partition(" ")
        assert (told, 3600 - SOON < float(seconds) <= 3600) == ("s from PostgreSQL's", True)


async def test_a_provider_that_does_not_answer_is_a_problem(conninfo: str) -> None:
    finding = await found(conninfo, "provider llm", LLM_BASE_URL=NOBODY)

    assert (finding.status, finding.detail) == ("problem", f"{NOBODY}/v1: connection refused")


async def test_a_provider_without_the_model_is_a_warning(conninfo: str, patient: None) -> None:
    async with stand_in_provider("small") as url:
        assert (await found(conninfo, "provider llm", LLM_BASE_URL=url, LLM_MODEL="small")).status == "ok"
        finding = await found(conninfo, "provider llm", LLM_BASE_URL=url, LLM_MODEL="large")

    assert (finding.status, "large is not served" in finding.detail) == ("warning", True)
    assert "LLM_MODEL" in (finding.advice or "")


async def test_a_sidecar_that_does_not_answer_is_a_warning(conninfo: str) -> None:
    finding = await found(conninfo, "sidecar", INFRA_STATUS_URL=NOBODY)

    assert (finding.status, finding.detail) == ("warning", "connection refused")


@pytest.mark.parametrize(("variables", "status"), [({}, "warning"), ({"AI_SERVICE_TOKEN": "planted"}, "ok")])
async def test_an_open_api_is_a_warning(conninfo: str, variables: dict[str, str], status: str) -> None:
    finding = await found(conninfo, "tokens", **variables)

    assert finding.status == status


def test_the_worst_counts() -> None:
    findings = [Finding("a", "ok", ""), Finding("b", "problem", "", ""), Finding("c", "warning", "", "")]

    assert worst(findings) == "problem"
    assert worst(findings[:1]) == "ok"


# As a person would call it.


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with nothing wrong, and room for prepared transactions."""
    directory = tmp_path_factory.mktemp("durable")
    with embedded_postgres(directory) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter system set max_prepared_transactions = 1")
    with embedded_postgres(directory) as url:
        migrate(url)
        yield url


async def told(*arguments: str, **variables: str) -> tuple[int, str]:
    with aiserv("doctor", *arguments, **variables) as process:
        return await process.ended(), process.text


async def test_when_all_is_well_the_exit_is_zero(durable: str) -> None:
    status, text = await told("--json", DATABASE_URL=durable, AI_SERVICE_TOKEN="planted")

    answer = json.loads(text)
    wrong = [finding["topic"] for finding in answer["findings"] if finding["status"] != "ok"]
    assert (status, answer["status"], wrong) == (0, "warning", ["role"])
    assert set(answer["findings"][0]) == {"topic", "status", "detail", "advice"}


async def test_a_forgotten_prepared_transaction_is_named(durable: str) -> None:
    def look() -> DictRow | None:
        with psycopg.connect(durable, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("begin")
            connection.execute("select pg_current_xact_id()")
            connection.execute("prepare transaction 'forgotten'")
            try:
                return connection.execute(
                    "select * from aiserv.check_installation(patience => '0') where topic = 'prepared_transactions'"
                ).fetchone()
            finally:
                connection.execute("rollback prepared 'forgotten'")

    finding = await to_thread.run_sync(look)

    assert finding
    assert (finding["status"], finding["detail"].startswith("forgotten since ")) == ("warning", True)


async def test_a_problem_makes_the_exit_one_and_says_what_to_do() -> None:
    status, text = await told(DATABASE_URL="postgresql://somebody:planted@127.0.0.1:9/x", AI_SERVICE_TOKEN="t")

    assert status == 1
    assert "problem  connection" in text
    assert "→ Start PostgreSQL" in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u@h/d", "HTTP_PORT": "planted"}, "HTTP_PORT"),
        ({"DATABASE_URL": "postgresql://u@h/d?nothing=planted"}, "DATABASE_URL"),
    ],
)
async def test_a_bad_configuration_makes_the_exit_two(variables: dict[str, str], said: str) -> None:
    status, text = await told(**variables)

    assert (status, said in text) == (2, True)
    assert "aiserv:" in text


async def test_a_bad_file_of_tokens_makes_the_exit_two(durable: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("planted")

    status, text = await told(DATABASE_URL=durable, AI_SERVICE_TOKENS_FILE=str(file))

    assert (status, text.startswith("aiserv: AI_SERVICE_TOKENS_FILE: is not TOML")) == (2, True)
    assert "planted" not in text
