"""What came of a run: for each goal the values of all runs, their median, and whether it was reached."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from os import cpu_count, sysconf
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from tests.bench.cluster import Cluster, fsync_milliseconds
from tests.bench.scenario import Figures, Goal


@dataclass
class Result:
    """A goal, and its value in each run."""

    goal: Goal
    values: list[float]

    @property
    def value(self) -> float | None:
        return median(self.values) if self.values else None

    @property
    def reached(self) -> bool | None:
        target = self.goal.aim if self.goal.reach is None else self.goal.reach
        return None if self.value is None else self.goal.reached(self.value, target)

    @property
    def aimed(self) -> bool | None:
        return None if self.value is None else self.goal.reached(self.value, self.goal.aim)

    def as_json(self) -> dict[str, Any]:
        goal = self.goal
        return {
            "row": goal.row,
            "what": goal.what,
            "unit": goal.unit,
            "reach": goal.reach,
            "aim": goal.aim,
            "less_is_better": goal.less_is_better,
            "value": self.value,
            "values": self.values,
            "reached": self.reached,
            "aim_reached": self.aimed,
        }


@dataclass
class Results:
    """All that a run of the benchmark leaves."""

    size: str
    machine: Mapping[str, Any]
    results: list[Result] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    charts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    # The part of the cores' time that the host kept back, for each run that counts.
    stolen: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, goals: Sequence[Goal], runs: Sequence[Figures]) -> None:
        for run in runs:
            for name, figure in run.items():
                self.figures.setdefault(name, []).append(figure)
        self.results.extend(Result(goal, _values(goal, runs)) for goal in goals)
        self.results.sort(key=lambda result: result.goal.row)

    def as_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "machine": dict(self.machine),
            "rows": [result.as_json() for result in self.results],
            "figures": self.figures,
            "charts": self.charts,
            "notes": self.notes,
            "stolen": self.stolen,
            "seconds": round(self.seconds),
        }

    def write(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "results.json").write_text(json.dumps(self.as_json(), indent=2) + "\n")

    def show(self) -> None:
        """Print the table."""
        table = Table("#", "measure / what it is compared with", "reach", "aim", "median", "min-max", "", box=None)
        for result in self.results:
            goal, value = result.goal, result.value
            spread = f"{shown(min(result.values))}-{shown(max(result.values))}" if result.values else ""
            table.add_row(
                str(goal.row),
                goal.what,
                target(goal, goal.reach),
                target(goal, goal.aim),
                "not measured" if value is None else f"{shown(value)} {goal.unit}".strip(),
                spread,
                mark(result),
            )
        console = Console(highlight=False)
        console.print(table)
        for note in self.notes:
            console.print(f"* {note}", markup=False)


def mark(result: Result) -> str:
    return "" if result.reached is None else "✓✓" if result.aimed else "✓" if result.reached else "✗"


def target(goal: Goal, value: float | None) -> str:
    return "" if value is None else f"{'≤' if goal.less_is_better else '≥'} {value:g} {goal.unit}".strip()


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _values(goal: Goal, runs: Sequence[Figures]) -> list[float]:
    values = []
    for run in runs:
        try:
            values.append(goal.value(run))
        except KeyError:
            continue
    return values


def machine(cluster: Cluster) -> dict[str, Any]:
    """What it ran on."""
    with psycopg.connect(cluster.url) as connection:
        settings = {
            name: _setting(connection, name)
            for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        }
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    peers = ("pgqueuer", "procrastinate", "pgmq")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "processor": model,
        "cores": cpu_count(),
        "memory_gib": round(sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "uvloop": find_spec("uvloop") is not None,
        "postgresql": settings.pop("server_version"),
        **settings,
        "fsync_ms": round(fsync_milliseconds(cluster.log.parent), 3),
        "peers": {name: version(name) for name in peers if find_spec(name)},
    }


def _setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("select current_setting(%s)", [name]).fetchone()
    return str(row and row[0])


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
