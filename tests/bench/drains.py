"""Rows 4 to 9: how fast a backlog of no-op jobs is worked off, results stored, and what does not slow that down."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Final

import psycopg

from aiserv.bench.children import Child, ChildError
from tests.bench import node
from tests.bench.jobs import backlog, connected, empty, finished, is_drained, others
from tests.bench.processes import is_installed, subject, workers
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario
from tests.bench.subjects import raw

Connection = psycopg.Connection

# Reports of a worker in a drain; PostgreSQL is asked whether it is done only when most jobs have started.
REPORTS: Final = 50
MOST: Final = 0.9
LOOK_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 120.0
# How many finished jobs there are, in millions: row 7 compares the last with the first, the picture shows all.
STEPS: Final = {"none": 0.0, "hundredth": 0.01, "tenth": 0.1, "third": 0.3, "full": 1.0}


def drained(children: Sequence[Child], jobs: int, fill: Callable[[], object], is_empty: Callable[[], bool]) -> float:
    """Jobs a second, from the first start of a job to the last completion in the database."""
    fill()
    begin, started = float("inf"), dict.fromkeys(children, 0)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(started.values()) < MOST * jobs or not is_empty():
        for child in children:
            for message in child.messages():
                started[child] = message["started"]
                begin = min(begin, message["at"])
        if time.monotonic() > deadline:
            raise ChildError(f"{sum(started.values())} of {jobs} jobs started in {PATIENCE_SECONDS:.0f} seconds")
        time.sleep(LOOK_SECONDS)
    return jobs / (time.monotonic() - begin)


def rates(bench: Bench, connection: Connection, url: str, count: int = 1, owners: int = 1) -> tuple[float, float]:
    """Jobs a second that one statement creates, and that so many workers then drain, idle when the backlog comes."""
    jobs = bench.sizes.backlog
    took = 0.0

    def fill() -> None:
        nonlocal took
        begin = time.monotonic()
        backlog(connection, jobs, owners)
        took = time.monotonic() - begin

    with workers(bench, url, count, every=max(jobs // REPORTS, 1)) as children:
        rate = drained(children, jobs, fill, lambda: is_drained(connection))
    return jobs / took, rate


def drain(bench: Bench, connection: Connection, url: str, count: int = 1, owners: int = 1) -> float:
    """The rate of so many of our worker processes."""
    return rates(bench, connection, url, count, owners)[1]


@contextmanager
def open_peers(bench: Bench, needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """Our worker, two of them, a raw queue, and the peers that are installed."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(url))

        def ours(name: str, count: int) -> Figures:
            empty(connection)
            return {name: drain(bench, connection, url, count)}

        measures: dict[str, Measure] = {
            "ours": partial(ours, "ours", 1),
            "two": partial(ours, "two", 2),
            "raw": _raw(bench, stack),
        }
        if "pgqueuer" in needed and is_installed(bench, "pgqueuer"):
            measures["pgqueuer"] = _pgqueuer(bench, stack)
        if "pgmq" in needed and is_installed(bench, "pgmq"):
            measures["pgmq"] = _pgmq(bench, stack)
        for peer in (node.GRAPHILE, node.PG_BOSS):
            if peer.name in needed and node.is_installed(bench, peer):
                measures[peer.name] = _node(bench, stack, peer)
        yield measures


def _raw(bench: Bench, stack: ExitStack) -> Measure:
    url = stack.enter_context(bench.cluster.database(schema=False))
    connection = stack.enter_context(connected(url))
    connection.execute(raw.TABLE)
    jobs = bench.sizes.backlog

    def is_empty() -> bool:
        row = connection.execute("select not exists (select from raw_job where status <> 'completed')").fetchone()
        return bool(row and row[0])

    def measure() -> Figures:
        connection.execute("truncate raw_job")
        with subject(bench, "raw", url, str(max(jobs // REPORTS, 1))) as child:

            def fill() -> None:
                raw.insert_once(connection, jobs)
                child.tell("go")

            return {"raw": drained([child], jobs, fill, is_empty)}

    return measure


def _pgqueuer(bench: Bench, stack: ExitStack) -> Measure:
    from tests.bench.subjects import pgqueuer  # noqa: PLC0415 - it may be missing

    url = stack.enter_context(bench.cluster.database(schema=False))
    connection = stack.enter_context(connected(url))
    asyncio.run(pgqueuer.install(url))
    jobs = bench.sizes.backlog

    def measure() -> Figures:
        connection.execute("truncate pgqueuer, pgqueuer_log")
        with subject(bench, "pgqueuer", url, "drain", str(max(jobs // REPORTS, 1))) as child:
            fill = partial(pgqueuer.fill, url, jobs)
            return {"pgqueuer": drained([child], jobs, fill, partial(pgqueuer.is_drained, connection))}

    return measure


def _pgmq(bench: Bench, stack: ExitStack) -> Measure:
    from tests.bench.subjects import pgmq  # noqa: PLC0415 - it may be missing

    url = stack.enter_context(bench.cluster.database(schema=False))
    connection = stack.enter_context(connected(url))
    pgmq.install(url)
    jobs = bench.sizes.backlog

    def measure() -> Figures:
        with subject(bench, "pgmq", url, "drain", str(max(jobs // REPORTS, 1))) as child:

            def fill() -> None:
                pgmq.fill(connection, jobs)
                child.tell("go")

            return {"pgmq": drained([child], jobs, fill, partial(pgmq.is_drained, connection))}

    return measure


def _node(bench: Bench, stack: ExitStack, peer: node.Peer) -> Measure:
    url = stack.enter_context(bench.cluster.database(schema=False))
    connection = stack.enter_context(connected(url))
    jobs = bench.sizes.backlog

    def measure() -> Figures:
        with node.worker(bench, peer, url, max(jobs // REPORTS, 1)) as child:
            fill = partial(node.fill, child, jobs)
            return {peer.name: drained([child], jobs, fill, partial(peer.is_drained, connection))}

    return measure


@contextmanager
def open_history(bench: Bench, needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """A table of each size, so that all of them are measured in turn: row 7 compares the last with the first."""
    with ExitStack() as stack:
        measures: dict[str, Measure] = {}
        sizes = bench.charts.setdefault("table", {})
        for name, part in STEPS.items():
            if name not in needed:
                continue
            url = stack.enter_context(bench.cluster.database())
            connection = stack.enter_context(connected(url))
            sizes[name] = int(bench.sizes.million * part)
            if sizes[name]:
                finished(connection, sizes[name])
            measures[name] = partial(_drain_beside, bench, connection, url, name, is_empty=not sizes[name])
            # What the load left to write is part of no figure.
            connection.execute("checkpoint")
        yield measures


def _drain_beside(bench: Bench, connection: Connection, url: str, name: str, *, is_empty: bool) -> Figures:
    if is_empty:
        empty(connection)
    created, worked_off = rates(bench, connection, url)
    return {name: worked_off, f"create beside {name}": created}


@contextmanager
def open_crowd(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """A queue alone, and one amid a million jobs of another kind, a million scheduled ones, and 100 owners."""
    with ExitStack() as stack:
        alone_url, crowded_url = (stack.enter_context(bench.cluster.database()) for _ in range(2))
        alone, crowded = (stack.enter_context(connected(url)) for url in (alone_url, crowded_url))
        others(crowded, bench.sizes.million)

        def by_itself() -> Figures:
            empty(alone)
            return {"alone": drain(bench, alone, alone_url)}

        yield {"alone": by_itself, "crowded": lambda: {"crowded": drain(bench, crowded, crowded_url, owners=100)}}


@contextmanager
def open_snapshot(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """A drain while another transaction keeps every dead row, and one while none does."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(url))

        def measure(name: str, holding: AbstractContextManager[object]) -> Figures:
            empty(connection)
            with holding:
                return {name: drain(bench, connection, url)}

        yield {
            "free": lambda: measure("free", ExitStack()),
            "held": lambda: measure("held", held_snapshot(url)),
        }


@contextmanager
def held_snapshot(url: str) -> Iterator[None]:
    with psycopg.connect(url) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("select count(*) from aiserv.jobs")
        yield


PEERS: Final = Scenario(
    [
        Goal(
            4, "drain, results stored, one worker process / PgQueuer with asyncpg",
            2, 2.8, ("ours", "pgqueuer"), lambda run: run["ours"] / run["pgqueuer"],
        ),
        Goal(
            4, "the same / Graphile Worker (JavaScript)",
            None, 0.8, ("ours", "graphile"), lambda run: run["ours"] / run["graphile"],
        ),
        Goal(
            5, "the same / a raw SQL queue (claim 500, complete 500, one connection)",
            0.45, 0.6, ("ours", "raw"), lambda run: run["ours"] / run["raw"],
        ),
        Goal(6, "two worker processes / one", 1.5, 1.9, ("ours", "two"), lambda run: run["two"] / run["ours"]),
    ],
    open_peers,
    shown=("pgmq", "pgboss"),
)  # fmt: skip

HISTORY: Final = Scenario(
    [
        Goal(
            7, "drain with 1,000,000 finished jobs in the table / with none",
            0.9, 0.95, ("none", "full"), lambda run: run["full"] / run["none"],
        )
    ],
    open_history,
    shown=("hundredth", "tenth", "third"),
)  # fmt: skip

CROWD: Final = Scenario(
    [
        Goal(
            8, "drain of one queue beside 1,000,000 jobs of another kind, 1,000,000 scheduled, 100 owners / alone",
            0.8, 0.95, ("alone", "crowded"), lambda run: run["crowded"] / run["alone"],
        )
    ],
    open_crowd,
)  # fmt: skip

SNAPSHOT: Final = Scenario(
    [
        Goal(
            9, "drain while another transaction holds a snapshot / while none does",
            0.8, 0.95, ("free", "held"), lambda run: run["held"] / run["free"],
        )
    ],
    open_snapshot,
)  # fmt: skip
