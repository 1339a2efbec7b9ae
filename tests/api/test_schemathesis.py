"""Requests made of the OpenAPI document, valid and not: nothing may surprise it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import Start

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(start: Start, tmp_path: Path) -> None:
    port = start(AI_SERVICE_TOKEN="secret").port
    options = {
        "--checks": "all",
        "--max-examples": "10",
        "--exclude-operation-id": "watch_events",  # an answer without end
        "--generation-allow-x00": "false",  # NUL is text for JSON Schema, and for nobody else
        "--generation-database": "none",
        "--request-timeout": "30",
        "--seed": "1",
        "--suppress-health-check": "too_slow",  # says something of the machine alone
        "--header": "Authorization: Bearer secret",
    }

    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run"),
            *(f"http://127.0.0.1:{port}/openapi.json", "--continue-on-failure", "--no-color"),
            *(part for option in options.items() for part in option),
        ],
        env={"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
