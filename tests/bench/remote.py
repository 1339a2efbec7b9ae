"""Row 13: a worker in any language, over HTTP, beside the one that is built in."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.bench.drains import REPORTS, drain, drained
from tests.bench.jobs import backlog, connected, empty, is_drained
from tests.bench.processes import server, subject
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario


@contextmanager
def open_remote(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """The two kinds of workers in turn, on one database."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(url))
        jobs = bench.sizes.backlog

        def builtin() -> Figures:
            empty(connection)
            return {"builtin": drain(bench, connection, url)}

        def remote() -> Figures:
            empty(connection)
            with (
                server(bench, url) as served,
                subject(bench, "remote_worker", url, str(served.port), str(max(jobs // REPORTS, 1))) as worker,
            ):
                rate = drained([worker], jobs, lambda: backlog(connection, jobs), lambda: is_drained(connection))
                return {"remote": rate}

        yield {"builtin": builtin, "remote": remote}


REMOTE: Final = Scenario(
    [
        Goal(
            13, "a remote worker over HTTP (claim with settle, 100 a turn) / a built-in worker",
            0.3, 0.5, ("builtin", "remote"), lambda run: run["remote"] / run["builtin"],
        )
    ],
    open_remote,
)  # fmt: skip
