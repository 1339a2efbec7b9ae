"""What faults are measured by, and how often and how long they are injected."""

import os
from collections.abc import Callable

import pytest

from tests.faults import table
from tests.faults.scale import CHAOS_SECONDS, TIMES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is marked `fault` is slow, too, and hangs when it takes minutes; the bounds that count are inside."""
    for item in items:
        if item.get_closest_marker("fault"):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(300 * TIMES + 2 * CHAOS_SECONDS))


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
