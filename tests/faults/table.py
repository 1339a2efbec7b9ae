"""The table in README.md: a row for each mark `fault`, and the figures of the last run that measured all of them."""

import importlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiserv.embedded import MAJOR_VERSION

README: Final = Path(__file__).with_name("README.md")
TABLE: Final = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)
HEAD: Final = "| fault | injected by | goal | measured | test |\n| --- | --- | --- | --- | --- |\n"


@dataclass(frozen=True)
class Row:
    """A fault: how it is injected, what is to come of it, and the test that does it."""

    fault: str
    injection: str
    goal: str
    module: str
    test: str

    def line(self, measured: str) -> str:
        link = f"[{self.test.removeprefix('test_').replace('_', ' ')}]({self.module}.py)"
        return f"| {self.fault} | {self.injection} | {self.goal} | {measured} | {link} |\n"


def rows() -> Iterator[Row]:
    """All of them, in the order of files and lines."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.faults.{path.stem}")
        for name, function in vars(module).items():
            for mark in getattr(function, "pytestmark", ()):
                if mark.name == "fault":
                    fault, injection, goal = mark.args
                    yield Row(fault, injection, goal, path.stem, name)


def shown() -> str:
    """The table as it stands in the file."""
    found = TABLE.search(README.read_text())
    assert found
    return found[0]


def cells(table: str) -> list[list[str]]:
    """Its rows, without the head."""
    return [line.strip("| ").split(" | ") for line in table.splitlines()[4:]]


def write(measured: dict[str, list[str]]) -> None:
    """Put these figures, by test, in the table."""
    lines = [row.line("; ".join(measured[row.test])) for row in rows()]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d} on {machine}, PostgreSQL {MAJOR_VERSION}.\n\n"
    README.write_text(TABLE.sub(lambda _: when + HEAD + "".join(lines), README.read_text()))
