"""What all tests of workers share."""

import pytest


@pytest.fixture(autouse=True)
def _patient(patient: None) -> None:
    """Let PostgreSQL be late: a worker that gives up and asks again is another test's matter."""
