"""What `aiserv doctor` finds wrong around the schema: the way to PostgreSQL, clocks, providers, tokens."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from psycopg.conninfo import make_conninfo

from aiserv import listener
from aiserv.database import Caps, Database
from aiserv.doctor import arrived, clock, listening, worst
from aiserv.pool import Pool
from aiserv.queries.installation import Finding
from aiserv.stand_in import stand_in_provider
from tests.conftest import administrator, url_of
from tests.conftest import database as new_database
from tests.doctor.examined import found
from tests.tcp_proxy import tcp_proxy
from tests.waiting import SOON

NOBODY = "http://127.0.0.1:9"


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


async def test_swallowed_notifications_are_recognised(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tcp_proxy(conninfo) as proxy:
        monkeypatch.setattr(listener, "PROBE_SECONDS", SOON)
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


async def test_a_provider_that_does_not_answer_is_a_problem(conninfo: str, patient: None) -> None:
    finding = await found(conninfo, "provider llm", LLM_BASE_URL=NOBODY)

    assert (finding.status, finding.detail) == ("problem", f"{NOBODY}/v1: connection refused")


async def test_a_provider_without_the_model_is_a_warning(conninfo: str, patient: None) -> None:
    async with stand_in_provider("small") as url:
        assert (await found(conninfo, "provider llm", LLM_BASE_URL=url, LLM_MODEL="small")).status == "ok"
        finding = await found(conninfo, "provider llm", LLM_BASE_URL=url, LLM_MODEL="large")

    assert (finding.status, "large is not served" in finding.detail) == ("warning", True)
    assert "LLM_MODEL" in (finding.advice or "")


async def test_a_sidecar_that_does_not_answer_is_a_warning(conninfo: str, patient: None) -> None:
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
