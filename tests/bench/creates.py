"""Rows 1 to 3: how fast jobs are created, over HTTP and from Python."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

import psycopg

from aiserv.bench.children import Child
from aiserv.bench.load import closed_loop, request
from tests.bench.jobs import INPUT, OWNER, PROFILE, connected, empty
from tests.bench.processes import is_installed, server, subject
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario
from tests.bench.subjects import raw

BATCH: Final = 1000
BATCH_CONNECTIONS: Final = 4
SINGLE_CONNECTIONS: Final = 64
PEERS: Final = ("pgqueuer", "procrastinate", "pgmq")

JOB: Final = {
    "owner_service": OWNER,
    "task_type": "noop",
    "model_profile": PROFILE,
    "input": json.loads(INPUT),
}
JOB_TEXT: Final = json.dumps(JOB)
CREATORS: Final = 16
CREATE: Final = request("POST", "/api/v1/jobs", JOB_TEXT.encode())
CREATE_BATCH: Final = request("POST", "/api/v1/jobs/batch?return=ids", json.dumps({"jobs": [JOB] * BATCH}).encode())


@contextmanager
def open_http(bench: Bench, needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """The server, and beside it what PostgreSQL and aiohttp do without it."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(url))
        connection.execute(raw.TABLE)
        served = stack.enter_context(server(bench, url))
        bare = {
            name: stack.enter_context(subject(bench, "endpoints", url, name)) for name in needed & {"echo", "insert"}
        }

        def emptied(measure: Measure) -> Measure:
            def measured() -> Figures:
                empty(connection)
                connection.execute("truncate raw_job")
                return measure()

            return measured

        def post(name: str, child: Child, content: bytes, connections: int, jobs: int) -> Measure:
            def measured() -> Figures:
                load = closed_loop(child.port, [content], connections=connections, seconds=bench.sizes.seconds)
                return {name: load.rate * jobs}

            return emptied(measured)

        yield {
            "batch": post("batch", served, CREATE_BATCH, BATCH_CONNECTIONS, BATCH),
            "unnest": emptied(lambda: {"unnest": raw.insert(connection, BATCH, bench.sizes.seconds)}),
            "single": post("single", served, CREATE, SINGLE_CONNECTIONS, 1),
            **{name: post(name, child, CREATE, SINGLE_CONNECTIONS, 1) for name, child in bare.items()},
        }


@contextmanager
def open_python(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """Creates from Python with 16 in flight, ours and those of the peers that are installed."""
    installs: dict[str, Callable[[str], None]] = {}
    if is_installed(bench, "pgqueuer"):
        from tests.bench.subjects import pgqueuer  # noqa: PLC0415 - it may be missing

        installs["pgqueuer"] = lambda url: asyncio.run(pgqueuer.install(url))
    if is_installed(bench, "procrastinate"):
        from tests.bench.subjects import procrastinate  # noqa: PLC0415 - as above

        installs["procrastinate"] = lambda url: asyncio.run(procrastinate.install(url))
    if is_installed(bench, "pgmq"):
        from tests.bench.subjects import pgmq  # noqa: PLC0415 - as above

        installs["pgmq"] = pgmq.install

    with ExitStack() as stack:
        ours = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(ours))
        creator = stack.enter_context(subject(bench, "creator", ours, "create"))
        measures: dict[str, Measure] = {"python": partial(_create, bench, connection, "python", creator)}
        for name, install in installs.items():
            url = stack.enter_context(bench.cluster.database(schema=False))
            install(url)
            child = stack.enter_context(subject(bench, name, url, "create"))
            measures[name] = partial(_create, bench, None, name, child)
        yield measures


def _create(bench: Bench, connection: psycopg.Connection | None, name: str, child: Child) -> Figures:
    if connection:
        empty(connection)
    child.tell(str(bench.sizes.seconds))
    return {f"create_{name}": child.message("rate", bench.sizes.seconds + 30)["rate"]}


def best_of(names: Sequence[str]) -> Callable[[Figures], float]:
    """The best of those that were measured; KeyError when none was."""

    def best(figures: Figures) -> float:
        measured = [figures[name] for name in names if name in figures]
        if not measured:
            raise KeyError(names[0])
        return max(measured)

    return best


BEST_PEER: Final = best_of([f"create_{name}" for name in PEERS])

HTTP: Final = Scenario(
    [
        Goal(
            1, "HTTP batch create, 1,000 a request, 4 connections / raw insert … unnest on one connection",
            0.7, 1.0, ("batch", "unnest"), lambda run: run["batch"] / run["unnest"],
        ),
        Goal(
            2, "HTTP single create, 64 connections / bare aiohttp endpoint that parses and echoes",
            0.6, 0.8, ("single", "echo"), lambda run: run["single"] / run["echo"],
        ),
        Goal(
            2, "HTTP single create, 64 connections / one insert a request",
            2, 2.6, ("single", "insert"), lambda run: run["single"] / run["insert"],
        ),
    ],
    open_http,
)  # fmt: skip

PYTHON: Final = Scenario(
    [
        Goal(
            3, "create from Python, 16 in flight / the best of PgQueuer, Procrastinate and pgmq",
            3, 4, ("python", *PEERS), lambda run: run["create_python"] / BEST_PEER(run),
        )
    ],
    open_python,
)  # fmt: skip
