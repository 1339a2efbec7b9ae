"""BENCHMARKS.md and its pictures, made of what a run measured."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from string import Template
from typing import Any, Final

from tests.bench.pictures import bars, lines
from tests.bench.results import Results, mark, shown, target

TEMPLATE: Final = Path(__file__).with_name("BENCHMARKS.template.md")
# In this order in the picture; the names of figures in drains.py.
DRAINS: Final = {
    "raw": "raw SQL, no service",
    "two": "aiserv, two workers",
    "ours": "aiserv",
    "graphile": "Graphile Worker (JS)",
    "pgboss": "pg-boss (JS)",
    "pgmq": "pgmq (no results)",
    "pgqueuer": "PgQueuer",
}
# What the figures are called where the text shows absolute ones.
FIGURES: Final = {
    "single": ("HTTP creates, 64 connections, one job a request", "jobs/s"),
    "create_python": ("Creates from Python, 16 in flight", "jobs/s"),
    "batch": ("HTTP creates, 1,000 jobs a request", "jobs/s"),
    "ours": ("Drain, one worker process, results stored", "jobs/s"),
    "two": ("Drain, two worker processes", "jobs/s"),
    "remote": ("Drain, one remote worker over HTTP", "jobs/s"),
    "commit_p50": ("Create committed → executor starts, p50 at 200 jobs/s", "ms"),
    "commit_p99": ("The same, p99", "ms"),
    "raw": ("For comparison: claim 500, complete 500 in raw SQL", "jobs/s"),
}
# Why a row misses its goal, for as long as it does.
REASONS: Final[Mapping[int, str]] = {
    1: """for PostgreSQL a job in its place is 2.2 raw rows (83,000 instructions to 38,000), as it has four indexes and
not two and stands in the order of claims; with the JSON, which the raw insert leaves to its client, the limits and the
counters it is 3.1 (117,000). When that was still 125,000, a job took 41 µs of CPU, of which PostgreSQL had 28 and the
server 13, and a raw row 11 with its client; but four connections kept 1.7 of the two cores busy, and one keeps one.
With both always busy it would have been 0.54; with no more in PostgreSQL than the job and its place, too, 0.65.""",
    2: """the limit is one core for the server's Python. Where ours went before all else on the machine, `perf sched`
saw the server running for 95 to 97 % of the time, whatever PostgreSQL and the client did, which left half of the other
core idle: it waits for neither disk nor locks, and one, two or three groups in flight, or none that is small beside a
large one, made the same rate within a tenth. psycopg and the groups are an eighth of a create's CPU in the server; the
rest is HTTP, checks and answer, so that 0.6, which is 1.67 times the CPU of the bare endpoint, is out of reach of all
that concerns PostgreSQL. In turns with that endpoint a create takes 2.0 times its CPU (111 µs to 54 where both went
before all else), and took 2.4 times (130) before jiter read the JSON and an answer made its head in one step; an insert
a request takes 2.6 times that of a create. In the table, where nobody goes before the others, PostgreSQL takes its part
of the two cores from a create, and nothing from the bare endpoint. Below the sockets and without psycopg it is 319,000
instructions to 212,000,
and was 369,000: every request's id, token and measurement take 26,000, JSON 19,000, the checks of its fields 17,000,
and an answer with its headers 20,000 before it is written; most of the rest is aiohttp's.""",
    3: """pgmq is the best of the three, and CPU is what counts, also on such a disk: `pgmq.send` takes PostgreSQL
212,000 instructions and a job in a group of sixteen 234,000, of which its row, indexes and place are 83,000, the answer
37,000, and its share of what each statement takes besides 51,000. A third of `pgmq.send` would be 71,000, less than the
row in its place alone.""",
    6: """two do not get into each other's way: a job costs 82 µs of CPU with two (33 in Python, 22 for the claim, 27 to
settle) and 77 with one. But at 18,573 jobs/s one keeps 1.43 of the two cores busy already, as its work and that of
PostgreSQL overlap: with both cores full and nothing else on them the ratio would be 1.3, or 1.4 if the second cost
nothing more.""",
    8: """with 100 owners who take turns, each claim of 500 looks into 100 lanes and notes 100 turns, 76 million
instructions instead of 53; and the counters get 100 rows for each group of results instead of one.""",
    10: """a claim of one job is a dozen small statements inside PostgreSQL and a flush, on two cores that the client,
the worker and the settlements share.""",
    11: """a create and a claim are transactions of several statements each, and a bare NOTIFY is none: three bare
inserts take PostgreSQL 410,000 instructions and `create_job` as a whole 1,007,000; to lease a job in one bare statement
takes 380,000 and a claim of one job about 1,295,000, none of whose statements takes more than a quarter.""",
}


def write(results: Results, path: Path, pictures: Path) -> None:
    """Write the document, and its pictures into that directory beside or below it."""
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = _pictures(results)
    for name, svg in drawn.items():
        (pictures / f"{name}.svg").write_text(svg)
    names = {"latency": "Latency against load", "table": "Rate against table size", "drain": "Drain, and the peers"}
    relative = pictures.relative_to(path.parent)
    values = {
        "table": _table(results),
        "figures": _figures(results),
        "machine": _machine(results.machine),
        "unreached": _unreached(results),
        "notes": "\n".join(f"- {note}" for note in (*results.notes, *_left_out(results))) or "- Nothing was left out.",
        "runs": str(max((len(result.values) for result in results.results), default=0)),
        "minutes": f"{results.seconds / 60:.0f}",
        "stolen": f"{max(results.stolen, default=0):.0%}",
        **{
            f"{name}_picture": f"![{title}]({relative}/{name}.svg)" if name in drawn else "(not measured)"
            for name, title in names.items()
        },
    }
    path.write_text(Template(TEMPLATE.read_text()).substitute(values))


def _pictures(results: Results) -> dict[str, str]:
    charts, drawn = results.charts, {}
    if latency := charts.get("latency"):
        drawn["latency"] = lines(
            "From the call of a create to the start of its job",
            ("jobs a second, steady", "ms"),
            {
                name: [(rate, values[place]) for rate, *values in latency]
                for place, name in enumerate(("p50", "p95", "p99"))
            },
            logarithmic=True,
        )
    figures = results.figures
    if table := {name: size for name, size in charts.get("table", {}).items() if figures.get(name)}:
        drawn["table"] = lines(
            "Jobs a second, by how many finished jobs lie in the table",
            ("finished jobs in the table", "jobs/s"),
            {
                "create": [(size, median(figures[f"create beside {name}"])) for name, size in table.items()],
                "drain": [(size, median(figures[name])) for name, size in table.items()],
            },
            none_at=max(min((size for size in table.values() if size), default=10) / 10, 1),
        )
    rates = {name: figures[figure] for figure, name in DRAINS.items() if figures.get(figure)}
    if rates:
        drawn["drain"] = bars(
            "A backlog of no-op jobs, worked off",
            "jobs a second: median, and the least and the most",
            [(name, median(values), min(values), max(values)) for name, values in rates.items()],
            ours=DRAINS["ours"],
        )
    return drawn


def _table(results: Results) -> str:
    rows = [
        "| # | measure / what it is compared with | reach | aim | median | least-most | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results.results:
        goal, value = result.goal, result.value
        cells = [
            str(goal.row),
            goal.what,
            target(goal, goal.reach),
            target(goal, goal.aim),
            "not measured" if value is None else f"**{shown(value)}** {goal.unit}".strip(),
            f"{shown(min(result.values))}-{shown(max(result.values))}" if result.values else "",
            mark(result),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _unreached(results: Results) -> str:
    """A sentence for each row below its goal: by how much, and why."""
    missed: dict[int, list[str]] = {}
    for result in results.results:
        if result.value is not None and result.goal.reach is not None and not result.reached:
            value = f"{shown(result.value)} {result.goal.unit}".rstrip()
            missed.setdefault(result.goal.row, []).append(
                f"{value} instead of {target(result.goal, result.goal.reach)}"
            )
    lines = [
        f"- Row {row}, {' and '.join(values)}: {REASONS.get(row, 'the reason is not known.')}"
        for row, values in missed.items()
    ]
    return "\n".join(lines) or "- Every goal is reached."


def _left_out(results: Results) -> list[str]:
    measured = {result.goal.row for result in results.results}
    return [f"Row {row} was not part of this run." for row in range(1, max(measured) + 1) if row not in measured]


def _figures(results: Results) -> str:
    rows = ["| figure | median | least-most |", "| --- | --- | --- |"]
    for name, (what, unit) in FIGURES.items():
        if values := results.figures.get(name):
            rows.append(f"| {what} | {shown(median(values))} {unit} | {shown(min(values))}-{shown(max(values))} |")
    return "\n".join(rows)


def _machine(machine: Mapping[str, Any]) -> str:
    peers = ", ".join(f"{name} {version}" for name, version in machine["peers"].items()) or "none"
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, {machine['system']}; "
        f"PostgreSQL {machine['postgresql']} with fsync {machine['fsync']}, synchronous_commit "
        f"{machine['synchronous_commit']}, full_page_writes {machine['full_page_writes']}, shared_buffers "
        f"{machine['shared_buffers']}; fdatasync {machine['fsync_ms']} ms; Python {machine['python']} "
        f"{'with' if machine['uvloop'] else 'without'} uvloop; peers: {peers}. "
        f"Commit {machine['commit']}, {machine['date']}."
    )
