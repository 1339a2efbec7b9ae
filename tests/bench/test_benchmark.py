"""The benchmark itself: at sizes that prove nothing but that each row is measured."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.bench.document import DRAINS
from tests.bench.pictures import Axis, bars, lines
from tests.bench.results import Result, shown
from tests.bench.scenario import Goal
from tests.processes import ENVIRON, ROOT
from tests.waiting import until

WITHOUT_PEERS = {3, 4}
IMPOSSIBLE_ROW = 99


def run(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """All processes that come of it have that home."""
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=ROOT,
        env={**ENVIRON, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def processes_of(home: Path) -> list[str]:
    """The commands that have this home or, as PostgreSQL, work in a directory below it."""
    commands = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended, or is somebody else's
            if process.environ().get("HOME") == str(home) or process.cwd().startswith(f"{home}/"):
                commands.append(" ".join(process.cmdline()))
    return commands


def test_processes_are_known_by_their_home_and_by_their_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    command = ["sleep", "60"]

    with (
        subprocess.Popen(command, env={**ENVIRON, "HOME": str(tmp_path)}) as at_home,
        subprocess.Popen(command, cwd=tmp_path / "data") as below,
    ):
        (tmp_path / "data").rmdir()
        found = processes_of(tmp_path)
        at_home.kill()
        below.kill()

    assert found == ["sleep 60"] * 2


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_each_row_is_measured_or_says_why_not_and_nothing_is_left_behind(tmp_path: Path) -> None:
    build, document = tmp_path / "build", tmp_path / "BENCHMARKS.md"

    ended = run("--tiny", "--build", str(build), "--document", str(document), home=tmp_path)

    results = json.loads((build / "results.json").read_text())
    assert {row["row"] for row in results["rows"]} == set(range(1, 16)), ended.stdout
    missing = {row["row"] for row in results["rows"] if row["value"] is None}
    assert missing <= WITHOUT_PEERS, ended.stdout + ended.stderr
    assert bool(missing) == any("is not installed" in note for note in results["notes"])
    assert "$" not in document.read_text()
    for picture in ("latency", "table", "drain"):
        ET.parse(tmp_path / "tests" / "bench" / "pictures" / f"{picture}.svg")  # noqa: S314 - our own
    assert not (build / "postgres").exists()
    # The last of them end when their standard input does.
    await until(lambda: processes_of(tmp_path) == [])


def test_a_row_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ended = run("--rows", str(IMPOSSIBLE_ROW), home=tmp_path)

    assert ended.returncode == 2
    assert f"there is no row {IMPOSSIBLE_ROW}" in ended.stderr


@pytest.mark.parametrize(("less_is_better", "reached"), [(False, (True, False)), (True, (False, True))])
def test_a_goal_is_reached_by_the_median_of_its_values(less_is_better: bool, reached: tuple[bool, bool]) -> None:  # noqa: FBT001 - a parameter of the test
    goal = Goal(1, "this / that", 2, 3, ("this", "that"), lambda run: run["this"], less_is_better=less_is_better)

    assert (Result(goal, [1, 9, 5]).reached, Result(goal, [1, 0, 9]).reached) == reached
    assert Result(goal, []).reached is None


def test_pictures_say_what_they_show_and_keep_to_their_frame() -> None:
    across = Axis(1, 1000, 0, 300, logarithmic=True)
    chart = lines(
        "Rate", ("size", "jobs/s"), {"create": [(0, 900.0), (10, 800.0)], "drain": [(0, 9.0), (10, 8.0)]}, none_at=1
    )
    drains = bars("Drain", "jobs/s", [(name, 10.0, 9.0, 11.0) for name in DRAINS.values()], ours="aiserv")

    assert [across(value) for value in (1, 10, 1000)] == [0, 100, 300]
    assert list(Axis(0, 10, 0, 1).ticks()) == [0, 2, 4, 6, 8, 10]
    assert ">none<" in chart
    assert all(f">{name}<" in drains for name in DRAINS.values())
    assert [shown(value) for value in (12345.6, 0.98765)] == ["12,346", "0.988"]
    for svg in (chart, drains):
        ET.fromstring(svg)  # noqa: S314 - our own
