"""What is stored of a run: results as JSON that can be kept, failures with a category and no secrets."""

import json
import logging
import math
from typing import Any

import pytest
from pydantic import JsonValue

from aiserv.models import Job
from tests.waiting import until
from tests.workers.chats import chat_at
from tests.workers.running import Db, create, finished, job, running
from workers.attempt import End
from workers.executors import Executor, Outcome
from workers.failures import Failure

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def gives(result: JsonValue, usage: dict[str, int] | None = None) -> Executor:
    async def execute(_job: Job) -> Outcome:
        return Outcome(result, usage)

    return execute


def raises(error: Exception) -> Executor:
    async def execute(_job: Job) -> Outcome:
        raise error

    return execute


async def test_a_result_is_stored_with_its_usage(conninfo: str, db: Db) -> None:
    async with running(conninfo, gives({"content": "Привет"}, USAGE)):
        done = await finished(db, create(db))

    assert (done["status"], done["result"], done["usage"]) == ("completed", {"content": "Привет"}, USAGE)


@pytest.mark.parametrize("result", [None, False, 0, "", [], {}])
async def test_a_result_may_be_any_json(result: JsonValue, conninfo: str, db: Db) -> None:
    async with running(conninfo, gives(result)):
        done = await finished(db, create(db))

    assert (done["status"], done["result"]) == ("completed", result)


async def test_what_json_cannot_keep_is_replaced(conninfo: str, db: Db) -> None:
    result: JsonValue = {"a\x00": ["\ud800", math.nan, math.inf, "\\u0000"]}

    async with running(conninfo, gives(result)):
        done = await finished(db, create(db))

    assert done["result"] == {"a\ufffd": ["\ufffd", None, None, "\\u0000"]}


async def test_a_result_over_16_mib_is_refused(conninfo: str, db: Db) -> None:
    async with running(conninfo, gives("\u00e9" * (8 * 1024 * 1024), USAGE)):
        failed = await finished(db, create(db, max_attempts=1))

    assert (failed["status"], failed["error_category"], failed["usage"]) == ("failed", "invalid_response", USAGE)


async def test_a_result_that_python_cannot_write_fails_the_job_and_not_the_worker(conninfo: str, db: Db) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    async with running(conninfo, gives(deep)) as worker:
        failed = await finished(db, create(db, max_attempts=1))
        await until(lambda: worker.attempts == {})

    assert (failed["status"], failed["error_category"]) == ("failed", "internal")


async def test_a_failure_is_stored_redacted_and_clean(conninfo: str, db: Db) -> None:
    error = Failure("content_filter", "the key sk-1 and the password p@ss \x00 are wrong", usage=USAGE)

    async with running(conninfo, raises(error), secrets=["sk-1", "p@ss"]) as worker:
        failed = await finished(db, create(db))

    assert failed["error_category"] == "content_filter"
    assert failed["error_message"] == "the key [redacted] and the password [redacted] \ufffd are wrong"
    assert failed["usage"] == USAGE
    assert worker.record.last_error == "content_filter"


async def test_a_retryable_failure_waits_for_its_next_attempt(conninfo: str, db: Db) -> None:
    async with running(conninfo, raises(Failure("timeout", "too slow"))) as worker:
        job_id = create(db)
        await until(lambda: worker.record.ends[End.FAILED] == 1)

        waiting = job(db, job_id)
        assert (waiting["status"], waiting["failures"], waiting["error_category"]) == ("pending", 1, "timeout")


async def test_an_executor_that_breaks_fails_the_job_without_telling_the_caller_why(
    conninfo: str, db: Db, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(conninfo, raises(ZeroDivisionError("by the secret sk-1")), secrets=["sk-1"]):
        failed = await finished(db, create(db, max_attempts=1))

    assert (failed["status"], failed["error_category"]) == ("failed", "internal")
    assert "ZeroDivisionError" not in failed["error_message"]
    (logged,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "ZeroDivisionError: by the secret [redacted]" in logged


@pytest.mark.parametrize(
    "unreadable", [json.dumps({"user": "?", "n": 1}).replace("1", "1" * 5000), f"{'[' * 5000}{']' * 5000}"]
)
async def test_an_input_that_python_cannot_read_fails_alone(unreadable: str, conninfo: str, db: Db) -> None:
    async with chat_at("http://127.0.0.1:9/v1") as chat, running(conninfo, chat):
        failed = await finished(db, create(db, unreadable))

    assert (failed["status"], failed["error_category"]) == ("failed", "invalid_input")
