"""What faults are measured by, and how often and how long they are injected."""

import os
from collections.abc import Callable

import pytest

from tests.faults import table
from tests.faults.scale import CHAOS_SECONDS, TIMES

Figures = dict[str, list[str]]
MEASURED = pytest.StashKey[Figures]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is marked `fault` is slow, too, and hangs when it takes minutes; the bounds that count are inside."""
    for item in items:
        if item.get_closest_marker("fault"):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(300 * TIMES + 2 * CHAOS_SECONDS))


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a figure for the table, as it shall stand there."""
    figures = request.session.stash.setdefault(MEASURED, {}).setdefault(request.node.originalname, [])

    def keep(figure: str) -> None:
        figures.append(figure)
        request.node.user_properties.append(("measured", figure))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the figures; with AISERV_FAULTS_TABLE set write them into the table."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {figure}"
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, figure in report.user_properties
        if name == "measured"
    ]
    if lines:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table after a whole and successful run, when asked to."""
    if os.environ.get("AISERV_FAULTS_TABLE") and exitstatus == pytest.ExitCode.OK:
        table.write(session.stash[MEASURED])
