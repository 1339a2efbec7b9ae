"""The wheel: what is installed from it works without a checkout."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.processes import ENVIRON, ROOT

BENCH = ("bench", "--seconds", "0.2", "--jobs", "4", "--rate", "50", "--json")


def run(*command: str, **variables: str) -> str:
    environment = {name: value for name, value in ENVIRON.items() if name != "PYTHONPATH"}
    ended = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The `bin` of a venv with the wheel in it, and with what we depend on, but not with this checkout."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    run(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(wheels), ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    (wheel,) = wheels.iterdir()
    run(*pip, "--python", str(venv / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    (site,) = (venv / "lib").glob("*/site-packages")
    # A path in a .pth is searched, but the .pth files in it are not read: that of this checkout stays without effect.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin"


@pytest.mark.slow
def test_the_commands_of_an_installed_wheel_need_no_checkout(installed: Path, conninfo: str) -> None:
    aiserv = str(installed / "aiserv")

    script = run(aiserv, "migrate", "--sql")
    figures = run(aiserv, *BENCH, DATABASE_URL=conninfo)
    places = run(
        str(installed / "python"), "-P", "-c", "import aiserv, workers; print(aiserv.__file__, workers.__file__)"
    )

    assert "create or replace function aiserv.create_job(" in script
    assert '"drained_jobs": 12' in figures
    assert all(place.startswith(str(installed.parent)) for place in places.split())
