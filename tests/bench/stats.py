"""Row 14: GET /stats at any size of the table."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Final

from aiserv.bench.load import closed_loop, request
from tests.bench.jobs import connected, finished
from tests.bench.processes import server
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario

FEW: Final = 10_000
STATS: Final = request("GET", "/api/v1/stats")


@contextmanager
def open_stats(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """Two servers, on a database with ten million jobs and on one with ten thousand."""
    with ExitStack() as stack:
        ports = {}
        for name, jobs in (("few", min(FEW, bench.sizes.ten_million // 10)), ("many", bench.sizes.ten_million)):
            url = stack.enter_context(bench.cluster.database())
            with connected(url) as connection:
                finished(connection, jobs, small=True)
            ports[name] = stack.enter_context(server(bench, url)).port

        def measure(name: str) -> Figures:
            load = closed_loop(ports[name], [STATS], connections=1, seconds=min(bench.sizes.seconds, 1.0))
            return {f"stats_{name}": median(load.latencies)}

        yield {name: partial(measure, name) for name in ports}


STATS_ROW: Final = Scenario(
    [
        Goal(
            14, "GET /stats with 10,000,000 jobs / with 10,000",
            2, 1.2, ("few", "many"), lambda run: run["stats_many"] / run["stats_few"], less_is_better=True,
        )
    ],
    open_stats,
)  # fmt: skip
