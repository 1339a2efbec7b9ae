"""Row 12: what an idle service costs PostgreSQL, counted from its log."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from psycopg import sql

from tests.bench.jobs import connected
from tests.bench.processes import server, workers
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario

SETTLE_SECONDS: Final = 5.0
STATEMENT: Final = re.compile(r"^<aiserv (?P<who>serve|worker)[^>]*> LOG: +(?:statement|execute [^:]*): ", re.MULTILINE)


@contextmanager
def open_idle(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """Servers and workers with nothing to do, each of their statements logged."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        with connected(url) as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("alter database {} set log_statement = 'all'").format(name))
        for _ in range(bench.sizes.idle_processes):
            stack.enter_context(server(bench, url))
        stack.enter_context(workers(bench, url, bench.sizes.idle_processes, every=1))

        def watch() -> Figures:
            time.sleep(min(SETTLE_SECONDS, bench.sizes.idle_seconds))
            before = bench.cluster.log.stat().st_size
            time.sleep(bench.sizes.idle_seconds)
            sent = [found["who"] for found in STATEMENT.finditer(bench.cluster.log.read_text()[before:])]
            minutes = bench.sizes.idle_processes * bench.sizes.idle_seconds / 60
            return {
                who: sent.count(name) / minutes for who, name in (("idle_worker", "worker"), ("idle_server", "serve"))
            }

        yield {"watch": watch}


IDLE: Final = Scenario(
    [
        Goal(
            12, "idle: statements a minute of a worker process (mean of five)",
            2, 2, ("watch",), lambda run: run["idle_worker"], unit="/min", less_is_better=True,
        ),
        Goal(
            12, "idle: statements a minute of a server process (mean of five)",
            2, 2, ("watch",), lambda run: run["idle_server"], unit="/min", less_is_better=True,
        ),
    ],
    open_idle,
    once=True,
)  # fmt: skip
