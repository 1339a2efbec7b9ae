"""What a benchmark is made of: figures that are measured in turn, and goals that compare them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tests.bench.cluster import Cluster

# What one measuring gave, by name. Rates are per second, times in seconds, memory in bytes.
Figures: TypeAlias = Mapping[str, float]
Measure: TypeAlias = Callable[[], Figures]


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Seconds are those of one measuring."""

    seconds: float
    backlog: int
    million: int
    ten_million: int
    waiters: int
    paced_seconds: float
    idle_seconds: float
    idle_processes: int
    runs: int
    warm_up: bool
    # Runs at most that are repeated because they were disturbed.
    again: int


SIZES: Mapping[str, Sizes] = {
    "full": Sizes(3, 30_000, 1_000_000, 10_000_000, 10_000, 8, 60, 5, runs=5, warm_up=True, again=5),
    "quick": Sizes(1, 6_000, 50_000, 100_000, 1_000, 2, 20, 2, runs=1, warm_up=False, again=5),
    "tiny": Sizes(0.2, 300, 2_000, 4_000, 50, 0.5, 1, 1, runs=1, warm_up=False, again=0),
}


@dataclass
class Bench:
    """What a scenario has at hand. `notes` are sentences for the reader, `charts` data for the pictures."""

    cluster: Cluster
    sizes: Sizes
    build: Path
    notes: list[str] = field(default_factory=list)
    charts: dict[str, Any] = field(default_factory=dict)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            print(f"  note: {text}", flush=True)  # noqa: T201 - it speaks to a terminal

    @property
    def log(self) -> Path:
        """Where processes write what they have to say."""
        return self.build / "processes.log"


@dataclass(frozen=True)
class Goal:
    """One comparison of a row of the table: `value` makes it of the figures of one run."""

    row: int
    what: str
    reach: float | None
    aim: float
    # The measures that it needs, by name.
    needs: Sequence[str]
    value: Callable[[Figures], float]
    # What it is counted in; a ratio if that is empty. Then more is better, otherwise less, unless told.
    unit: str = ""
    less_is_better: bool = False

    def reached(self, value: float, target: float) -> bool:
        return value <= target if self.less_is_better else value >= target


@dataclass(frozen=True)
class Scenario:
    """Measures that share what they run on, taken in turn, and the goals that compare them."""

    goals: Sequence[Goal]
    # Sets everything up, and gives the measures by name, in the order in which they are taken.
    open: Callable[[Bench, frozenset[str]], AbstractContextManager[Mapping[str, Measure]]]
    # Counted and not timed: once is enough.
    once: bool = False
    # Measures that no goal needs, but a picture shows.
    shown: Sequence[str] = ()
