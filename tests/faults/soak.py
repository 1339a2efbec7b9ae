"""The load of a soak, and what it measures: the costs of claims and the sizes of tables, one tenth of it at a time."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import median, median_low, quantiles
from time import perf_counter
from typing import Final

import psycopg
from psycopg.rows import DictRow

Db = psycopg.Connection[DictRow]

BACKLOG: Final = 2_000
ROUND: Final = 2_000
PIECE: Final = 500
MAX_TRIES: Final = 3
MIB: Final = 2**20
MAIN_TABLES: Final = ("ready", "lease", "job", "delta")

CREATE = """
select aiserv.create_batch(jobs => (
    select json_agg(json_build_object(
        'owner_service', (array['a', 'b'])[1 + number %% 2], 'task_type', 'chat', 'model_profile', 'qwen'
    ))
    from generate_series(1, %s) as number
))
"""
CLAIM = """
select id, attempt
from aiserv.claim_jobs(
    worker_id => 'worker-1', task_types => array['chat'], model_profiles => array['qwen'], max_jobs => %s
)
"""
# Of every relation that a claim touches, as this session has read it and not reported yet.
PAGES = """
select sum(pg_stat_get_xact_blocks_fetched(relation.oid))::bigint as pages
from pg_class as relation
where relation.relnamespace = 'aiserv'::regnamespace and relation.relkind in ('r', 'i')
"""
# How often those that a claim reads have all been vacuumed.
VACUUMS = """
select min(pg_stat_get_vacuum_count(claimed.name::regclass) + pg_stat_get_autovacuum_count(claimed.name::regclass))
from unnest('{aiserv.ready,aiserv.lease,aiserv.job}'::text[]) as claimed(name)
"""
SIZES = """
select relation.relname as name, pg_table_size(relation.oid) as rows, pg_indexes_size(relation.oid) as indexes,
    pg_stat_get_dead_tuples(relation.oid) as dead
from pg_class as relation
where relation.relnamespace = 'aiserv'::regnamespace and relation.relkind = 'r'
"""


@dataclass
class Tenth:
    """What was measured while a tenth of the jobs came and went; sizes, of rows and indexes, are bytes at its end.

    `pages` has for each claim how many rounds ago the last vacuum was, and how many pages it has read.
    """

    phase: str
    seconds: float = 0.0
    jobs: int = 0
    milliseconds: list[float] = field(default_factory=list)
    pages: list[tuple[int, int]] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    dead: int = 0

    @property
    def rounds(self) -> int:
        """How many rounds there were at most between two vacuums."""
        return max(rounds for rounds, _ in self.pages) + 1

    @property
    def usual_milliseconds(self) -> float:
        """What the claim in the middle has taken."""
        return median(self.milliseconds)

    @property
    def slow_milliseconds(self) -> float:
        """What one claim in a hundred took longer than."""
        return quantiles(self.milliseconds, n=100, method="inclusive")[-1]

    def weight(self, *but: str) -> int:
        """The bytes of all tables and their indexes, but of these."""
        return sum(sum(size) for name, size in self.sizes.items() if name not in but)

    def line(self, number: int) -> str:
        """A row of the report."""
        times = [f"{self.usual_milliseconds:.1f}", f"{self.slow_milliseconds:.1f}"]
        sizes = [f"{self.sizes[name][0] / MIB:.1f} + {self.sizes[name][1] / MIB:.1f}" for name in MAIN_TABLES]
        others = f"{self.weight(*MAIN_TABLES) / MIB:.1f}"
        rate = f"{self.jobs / self.seconds:,.0f}"
        cells = [str(number), self.phase, rate, *times, f"{usual_pages([self]):,}", *sizes, others, f"{self.dead:,}"]
        return f"| {' | '.join(cells)} |"


class Soak:
    """Creates jobs of two owners in batches and works them off in claims of 500, with a backlog that stays the same.

    One attempt in fifty fails at first, and is tried again. After each round it sweeps as a server does. Until a vacuum
    comes claims cost ever more: each tenth is from one vacuum to another, and the first of them from the first.
    """

    def __init__(self, db: Db, *, vacuums: bool, report: Path | None = None) -> None:
        self._db = db
        self._vacuums = vacuums
        self._report = report
        self.tenths: list[Tenth] = []
        if vacuums:
            # Or it would come in between, now and then.
            for table in self._tables():
                db.execute(f"alter table aiserv.{table} set (autovacuum_enabled = off)".encode())
        self.created = self.completed = 0
        self._create(BACKLOG)
        self._work(Tenth("before the first vacuum"), ROUND)

    def tenth(self, phase: str, jobs: int) -> Tenth:
        """Let so many jobs come and go, or more until the next vacuum."""
        tenth = Tenth(phase)
        began = perf_counter()
        self._work(tenth, jobs)
        tenth.seconds = perf_counter() - began
        self._weigh(tenth)
        self.tenths.append(tenth)
        if self._report:
            self._report.parent.mkdir(exist_ok=True)
            self._report.write_text("\n".join(report(self.tenths)) + "\n")
        return tenth

    def left(self) -> int:
        """How many jobs are still to be done."""
        return number(self._db, "select count(*) from aiserv.job where outcome is null")

    def _create(self, jobs: int) -> None:
        self._db.execute(CREATE, [jobs])
        self.created += jobs

    def _work(self, tenth: Tenth, jobs: int) -> None:
        rounds, vacuums = 0, number(self._db, VACUUMS)
        while tenth.jobs < jobs or rounds > 0:
            self._round(tenth, rounds)
            before, vacuums = vacuums, number(self._db, VACUUMS)
            rounds = rounds + 1 if vacuums == before else 0

    def _round(self, tenth: Tenth, rounds: int) -> None:
        self._create(ROUND)
        tenth.jobs += ROUND
        while self.completed < self.created - BACKLOG:
            with self._db.transaction():
                before = number(self._db, PAGES)
                began = perf_counter()
                jobs = self._db.execute(CLAIM, [PIECE]).fetchall()
                tenth.milliseconds.append((perf_counter() - began) * 1000)
                tenth.pages.append((rounds, number(self._db, PAGES) - before))
            self._settle(jobs)
        # As a server: come again at once while there is more to prune.
        while number(self._db, "select (aiserv.sweep(interval '10 milliseconds') <= clock_timestamp())::int as more"):
            pass
        if self._vacuums:
            # Autovacuum comes once a minute; here a minute is a second.
            for table in self._tables():
                self._db.execute(f"vacuum aiserv.{table}".encode())

    def _settle(self, jobs: Sequence[DictRow]) -> None:
        settlements = [
            {"id": str(job["id"]), "attempt": job["attempt"]}
            | ({"category": "timeout", "message": "late", "retryable": True} if fails else {"result": 1})
            for job, fails in ((job, place % 50 == 0 and job["attempt"] < MAX_TRIES) for place, job in enumerate(jobs))
        ]
        settled = self._db.execute("select status from aiserv.settle_jobs(%s)", [json.dumps(settlements)]).fetchall()
        expected = ["pending" if "category" in each else "completed" for each in settlements]
        assert [row["status"] for row in settled] == expected
        self.completed += expected.count("completed")

    def _tables(self) -> Iterator[str]:
        for row in self._db.execute(SIZES.encode()).fetchall():
            yield row["name"]

    def _weigh(self, tenth: Tenth) -> None:
        rows = self._db.execute(SIZES.encode()).fetchall()
        tenth.sizes = {row["name"]: (row["rows"], row["indexes"]) for row in rows}
        tenth.dead = sum(row["dead"] for row in rows)


def usual_pages(tenths: Sequence[Tenth], most_rounds: float = inf) -> int:
    """What the claim in the middle has read, of two the one that has read less; of those so soon after a vacuum."""
    return median_low([pages for tenth in tenths for rounds, pages in tenth.pages if rounds < most_rounds])


def number(db: Db, query: str) -> int:
    (row,) = db.execute(query.encode()).fetchall()
    (value,) = row.values()
    return int(value or 0)


def report(tenths: Sequence[Tenth]) -> Iterator[str]:
    """What was measured, in Markdown, and how the last tenth of each phase compares with the first of all."""
    jobs = sum(tenth.jobs for tenth in tenths)
    yield f"# Soak: {jobs:,} jobs created and finished"
    yield ""
    yield "Claims of 500. Sizes in MiB, rows + indexes, and the dead rows of all tables, at the end of each tenth."
    yield ""
    heads = ["tenth", "", "jobs/s", "claim p50, ms", "p99, ms", "pages", *MAIN_TABLES, "other tables", "dead rows"]
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    yield from (tenth.line(place) for place, tenth in enumerate(tenths, start=1))
    first = tenths[0]
    for phase in dict.fromkeys(tenth.phase for tenth in tenths):
        last = [tenth for tenth in tenths if tenth.phase == phase][-1]
        yield ""
        ratios = {
            "p50": last.usual_milliseconds / first.usual_milliseconds,
            "p99": last.slow_milliseconds / first.slow_milliseconds,
            "pages": usual_pages([last]) / usual_pages([first]),
            "size": last.weight() / first.weight(),
        }
        said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        yield f"The last tenth {phase} / the first of all: {said}."
