"""What a machine may lack: without it a test is skipped, but never in CI."""

import os

import pytest


def needs(is_there: object, what: str) -> None:
    """Skip the test that needs this and has it not; `what` says it, and how to get it."""
    if not is_there:
        assert os.environ.get("CI") != "true", f"CI must have {what}"
        pytest.skip(f"this needs {what}")
