"""What an idle service costs PostgreSQL."""

import re
from collections import Counter
from pathlib import Path

import anyio
import psycopg
import pytest

from aiserv.embedded import embedded_postgres
from tests.processes import aiserv
from tests.waiting import until
from tests.workers.running import NOWHERE

WATCH_SECONDS = 20
BOTH_KINDS = {"LLM_BASE_URL": NOWHERE, "WHISPERX_URL": NOWHERE}
STATEMENT = re.compile(r"^<(?P<who>aiserv [^>]*)> LOG: +(?:statement|execute [^:]*): (?P<statement>.*)", re.MULTILINE)


def statements(log: Path) -> list[tuple[str, str]]:
    return [(found["who"], found["statement"]) for found in STATEMENT.finditer(log.read_text())]


def listens_and_has_looked(log: Path, listener: str, looker: str) -> bool:
    """Whether it has looked because it listens: it proves that it does, ends the channel of the proof, and looks."""
    sent = statements(log)
    proven = next(
        (number for number, (who, said) in enumerate(sent) if (who, said[:8]) == (listener, "unlisten")), None
    )
    return proven is not None and looker in {who for who, _ in sent[proven:]}


def connected(url: str) -> list[tuple[object, ...]]:
    """The backends of the service."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select pid, backend_start from pg_stat_activity where application_name like 'aiserv %' order by pid"
        ).fetchall()


async def watched(url: str, log: Path) -> tuple[float, list[tuple[str, str]]]:
    """What was sent in so many seconds without a new connection: who has to make one, because the machine stood still,
    is not idle.
    """
    while True:
        backends, before, began = connected(url), len(statements(log)), anyio.current_time()
        await anyio.sleep(WATCH_SECONDS)
        seconds, sent = anyio.current_time() - began, statements(log)[before:]
        if connected(url) == backends:
            return seconds, sent


@pytest.mark.slow
async def test_an_idle_server_and_an_idle_worker_send_two_statements_a_minute_at_most(data: Path) -> None:
    with embedded_postgres(data, durable=False) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system set log_statement = 'all'")
            connection.execute("alter system set log_line_prefix = '<%a> '")
            connection.execute("select pg_reload_conf()")
        with (
            aiserv("serve", DATABASE_URL=url, MIGRATE_ON_START="false") as server,
            aiserv("worker", **BOTH_KINDS, DATABASE_URL=url, MIGRATE_ON_START="false") as worker,
        ):
            await server.port()
            await worker.port()
            await until(lambda: listens_and_has_looked(data / "log", "aiserv worker listener", "aiserv worker claims"))
            await until(lambda: listens_and_has_looked(data / "log", "aiserv serve listener", "aiserv serve"))

            seconds, sent = await watched(url, data / "log")
    idle = Counter(who.removesuffix(" listener").removesuffix(" leases").removesuffix(" claims") for who, _ in sent)
    # Two a minute are one in any 20 seconds, unless they have become more.
    assert max(idle.values(), default=0) <= 1 + seconds // 30, sent
