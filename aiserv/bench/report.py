"""What `aiserv bench` found, as a table for people and as JSON for programs."""

import json
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass
class Report:
    """The figures of a run; one that was not measured is None."""

    database: str
    create_single_per_second: float | None = None
    create_alone_connections: int | None = None
    create_alone_per_second: float | None = None
    create_batch_per_second: float | None = None
    drain_per_second: float | None = None
    drained_jobs: int | None = None
    pickup_ms: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def group_commit_factor(self) -> float | None:
        """How many times as many creates the server takes as those connections make that commit each job alone."""
        if not self.create_single_per_second or not self.create_alone_per_second:
            return None
        return self.create_single_per_second / self.create_alone_per_second

    def as_json(self) -> str:
        return json.dumps(
            {
                "database": self.database,
                "create_single_per_second": _rounded(self.create_single_per_second),
                "create_alone_connections": self.create_alone_connections,
                "create_alone_per_second": _rounded(self.create_alone_per_second),
                "group_commit_factor": _rounded(self.group_commit_factor),
                "create_batch_per_second": _rounded(self.create_batch_per_second),
                "drain_per_second": _rounded(self.drain_per_second),
                "drained_jobs": self.drained_jobs,
                "pickup_ms": {name: round(value, 3) for name, value in self.pickup_ms.items()},
                "options": self.options,
            },
            indent=2,
        )

    def show(self) -> None:
        """Print the table."""
        options, alone = self.options, self.create_alone_connections
        table = Table("measured", "", title=f"aiserv bench on {self.database}", title_justify="left")
        table.columns[1].justify = "right"
        rows = [
            (f"create over HTTP, one job a request, {options['connections']} clients", self.create_single_per_second),
            (f"create, each job its own commit, {alone} connections", self.create_alone_per_second),
            (f"create over HTTP, {options['batch']} jobs a request", self.create_batch_per_second),
            (f"work off {self.drained_jobs or 0} no-op jobs, results stored", self.drain_per_second),
        ]
        for what, rate in rows:
            table.add_row(what, "-" if rate is None else f"{rate:,.0f} jobs/s")
        factor = self.group_commit_factor
        table.add_row("the first by the second: what group commit brings", "-" if factor is None else f"x {factor:.2f}")
        for name, value in self.pickup_ms.items():
            table.add_row(f"create called -> job started, {options['rate']:g} jobs/s, {name}", f"{value:.2f} ms")
        Console(highlight=False).print(table)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
