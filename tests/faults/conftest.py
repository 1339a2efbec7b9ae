"""What faults are measured by, and how often and how long they are injected."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.postgres import own_postgres
from tests.faults.scale import CHAOS_SECONDS, TIMES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is marked `fault` is slow, too, and hangs when it takes minutes; the bounds that count are inside."""
    for item in items:
        if item.get_closest_marker("fault"):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(300 * TIMES + 2 * CHAOS_SECONDS))


@pytest.fixture(scope="session")
def migrated(scratch: Path) -> Path:
    """The data of a PostgreSQL with our schema and nothing else, which has stopped."""
    with own_postgres(scratch / "migrated"):
        return scratch / "migrated" / "cluster"


@pytest.fixture
def data(migrated: Path, tmp_path: Path) -> Path:
    """A copy of these, for a PostgreSQL of the test's own: to make them takes seconds of a core."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    shutil.copytree(migrated, directory / "cluster")
    return directory


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a figure for the table, as it shall stand there."""

    def keep(figure: str) -> None:
        request.node.user_properties.append(("measured", figure))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Show the figures; with AISERV_FAULTS_TABLE write those of a whole and successful run into the table."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    figures: dict[str, list[str]] = {}
    for report in reports:
        if getattr(report, "when", "") == "call":
            test = report.nodeid.rpartition("::")[2]
            for name, figure in report.user_properties:
                if name == "measured":
                    figures.setdefault(test, []).append(figure)
    if figures:
        terminalreporter.section("measured")
        for test, measured_there in figures.items():
            terminalreporter.write_line(f"{test}: {'; '.join(measured_there)}")
    if os.environ.get("AISERV_FAULTS_TABLE") and exitstatus == pytest.ExitCode.OK:
        if missing := [row.test for row in table.rows() if row.test not in figures]:
            terminalreporter.write_line(f"The table stays as it is, without figures of {', '.join(missing)}.")
        else:
            table.write(figures)
