"""`make bench`: measures the table of goals, prints it, draws the pictures and writes BENCHMARKS.md."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it ships no types

from aiserv.http.serving import allow_many_connections
from tests.bench import creates, document, drains, idle, latencies, remote, stats, waiters
from tests.bench.cluster import cluster
from tests.bench.processes import ROOT
from tests.bench.results import Results, machine, shown
from tests.bench.scenario import SIZES, Bench, Figures, Measure, Scenario

# Those with millions of rows come last.
SCENARIOS: Final = (
    creates.HTTP,
    creates.PYTHON,
    drains.PEERS,
    drains.SNAPSHOT,
    drains.HISTORY,
    drains.CROWD,
    latencies.LATENCIES,
    idle.IDLE,
    remote.REMOTE,
    waiters.WAITERS,
    stats.STATS_ROW,
)
# A run for which a virtual machine's host kept back more of the cores' time than this is repeated, but not too often.
STOLEN_AT_MOST: Final = 0.05
ROWS: Final = sorted({goal.row for scenario in SCENARIOS for goal in scenario.goals})


def measure(bench: Bench, scenario: Scenario, rows: Sequence[int], results: Results) -> None:
    """Take the measures that these rows need, in turn, as often as the sizes say."""
    goals = [goal for goal in scenario.goals if goal.row in rows]
    needed = {name for goal in goals for name in goal.needs}
    if len(goals) == len(scenario.goals):
        needed.update(scenario.shown)
    say(f"rows {', '.join(sorted({str(goal.row) for goal in goals}, key=int))}: setting up")
    runs: list[Figures] = []
    try:
        with scenario.open(bench, frozenset(needed)) as measures:
            chosen = {name: measure for name, measure in measures.items() if name in needed}
            if bench.sizes.warm_up and not scenario.once:
                one_run(bench, chosen, "warm-up")
            wanted, again = (1, 0) if scenario.once else (bench.sizes.runs, bench.sizes.again)
            while len(runs) < wanted:
                before = psutil.cpu_times()
                figures = one_run(bench, chosen, f"run {len(runs) + 1}")
                stolen = stolen_share(before, psutil.cpu_times())
                if stolen > STOLEN_AT_MOST and again:
                    again -= 1
                    say(f"  again, as the host kept back {stolen:.0%} of the cores")
                    continue
                runs.append(figures)
                results.stolen.append(stolen)
    except Exception as error:  # noqa: BLE001 - the other rows are worth having
        bench.note(f"rows {sorted({goal.row for goal in goals})} broke: {type(error).__name__}: {error}")
    results.add(goals, runs)


def one_run(bench: Bench, measures: Mapping[str, Measure], name: str) -> Figures:
    """The figures of all measures, each taken once; one that fails leaves its figures out."""
    figures: dict[str, float] = {}
    for what, measure in measures.items():
        try:
            figures.update(measure())
        except Exception as error:  # noqa: BLE001 - as above
            bench.note(f"{what} failed: {type(error).__name__}: {error}")
    say(f"  {name}: {', '.join(f'{what} {shown(figure)}' for what, figure in figures.items())}")
    return figures


def stolen_share(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """The part of the cores' time between these two `cpu_times` that the host kept back; 0 where nobody says so."""
    elapsed = sum(after) - sum(before)
    return (getattr(after, "steal", 0) - getattr(before, "steal", 0)) / elapsed if elapsed else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it speaks to a terminal


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measures what BENCHMARKS.md shows.")
    parser.add_argument("--rows", help="some rows of the table, as 4,5 (without it, all)")
    parser.add_argument("--runs", type=int, help="how often each figure is measured")
    parser.add_argument("--quick", action="store_const", dest="size", const="quick", default="full", help="small sizes")
    parser.add_argument("--tiny", action="store_const", dest="size", const="tiny", help="for the tests of this program")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench", help="where data and results go")
    parser.add_argument(
        "--document", type=Path, help="where to write the document; a full run of all rows: BENCHMARKS.md"
    )
    given = parser.parse_args(arguments)
    try:
        given.rows = [int(row) for row in given.rows.split(",")] if given.rows else ROWS
    except ValueError:
        parser.error("--rows: numbers with commas between them")
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"--rows: there is no row {min(unknown)}; there are {ROWS[0]} to {ROWS[-1]}")
    if given.runs is not None and given.runs < 1:
        parser.error("--runs: at least 1")
    if given.size == "full" and given.rows == ROWS and given.document is None:
        given.document = ROOT / "BENCHMARKS.md"
    return given


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when all chosen rows were measured and reached, 1 when not."""
    given = parsed(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.disable(logging.WARNING)
    # Thousands of clients wait at once; our processes inherit it.
    allow_many_connections()
    sizes = SIZES[given.size]
    build: Path = given.build
    build.mkdir(parents=True, exist_ok=True)
    (build / "processes.log").write_bytes(b"")
    begin = time.monotonic()
    with cluster(build / "postgres") as server:
        bench = Bench(server, replace(sizes, runs=given.runs or sizes.runs), build)
        results = Results(given.size, machine(server))
        for scenario in SCENARIOS:
            if any(goal.row in given.rows for goal in scenario.goals):
                measure(bench, scenario, given.rows, results)
    results.notes, results.charts, results.seconds = bench.notes, bench.charts, time.monotonic() - begin
    results.write(build)
    if given.document:
        document.write(results, given.document, given.document.parent / "tests" / "bench" / "pictures")
    results.show()
    say(f"{results.seconds:.0f} seconds; figures in {build / 'results.json'}")
    return 0 if all(result.reached for result in results.results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
