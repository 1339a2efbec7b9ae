"""The benchmark itself: at sizes that prove nothing but that each row is measured."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import anyio
import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.bench.__main__ import measure as take
from tests.bench.cluster import Cluster
from tests.bench.document import DRAINS
from tests.bench.pictures import Axis, bars, lines
from tests.bench.results import Result, Results, shown
from tests.bench.scenario import SIZES, Bench, Figures, Goal, Scenario
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


async def test_processes_are_known_by_their_home_and_by_their_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    command = ["sleep", "60"]

    async with (
        await anyio.open_process(command, env={**ENVIRON, "HOME": str(tmp_path)}) as at_home,
        await anyio.open_process(command, cwd=tmp_path / "data") as below,
    ):
        (tmp_path / "data").rmdir()
        try:
            # A process that has just begun its program is not known at once by what that was told.
            await until(lambda: processes_of(tmp_path) == ["sleep 60"] * 2)
        finally:
            at_home.kill()
            below.kill()


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


class Times(NamedTuple):
    """Of cores, in seconds, as psutil gives them."""

    user: float
    steal: float


@pytest.mark.parametrize(
    ("steals", "repeated", "counted"),
    [([0, 9, 0], 1, [0, 0]), ([9] * 5, 3, [0.9, 0.9])],
    ids=["until it is whole", "not for ever"],
)
def test_a_run_for_which_cores_were_kept_back_is_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steals: list[int], repeated: int, counted: list[float]
) -> None:
    so_far = [Times(0, 0)]
    measured: list[int] = []

    def measure() -> Figures:
        steal = steals[len(measured)]
        measured.append(steal)
        so_far.append(Times(so_far[-1].user + 10 - steal, so_far[-1].steal + steal))
        return {"this": len(measured)}

    monkeypatch.setattr(psutil, "cpu_times", lambda: so_far[-1])
    goal = Goal(1, "this", 1, 1, ("this",), lambda run: run["this"])
    results = Results("tiny", {})

    bench = Bench(Cluster("", tmp_path), replace(SIZES["tiny"], runs=2, again=3), tmp_path)
    take(bench, Scenario([goal], lambda *_: nullcontext({"this": measure})), [1], results)

    assert results.stolen == pytest.approx(counted)
    assert len(measured) == len(results.results[0].values) + repeated


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
