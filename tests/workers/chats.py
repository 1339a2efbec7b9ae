"""A chat executor with a fake provider, and jobs for it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import JsonValue

from aiserv.models import Job
from tests.providers import Answer, FakeProvider, fake_provider
from workers.executors import Outcome
from workers.executors.chat import Chat
from workers.failures import Failure

NOW = datetime(2026, 6, 9, 8, 49, 12, tzinfo=UTC)
KEY = "sk-very-secret"
NEVER = 3600.0  # seconds: longer than any test waits
MIB = 1024 * 1024


JOB_ID = UUID("0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10")


def chat_job(
    job_input: JsonValue,
    *,
    job_id: UUID = JOB_ID,
    attempt: int = 1,
    timeout: float | None = None,
    traceparent: str | None = None,
) -> Job:
    return Job(
        id=job_id,
        owner_service="telephony",
        task_type="llm_chat",
        model_profile="qwen",
        attempt=attempt,
        timeout_seconds=timeout,
        traceparent=traceparent,
        input_json=json.dumps(job_input),
        run_at=NOW,
        started_at=NOW,
        lease_expires_at=NOW + timedelta(minutes=1),
    )


HELLO = chat_job({"user": "Hello?"})
AS_JSON = chat_job({"user": "Hello?", "response_format": {"type": "json_object"}})


def chat_at(base_url: str, *, api_key: str | None = KEY, timeout: float = NEVER) -> Chat:
    return Chat(base_url=base_url, api_key=api_key, model="qwen", timeout=timedelta(seconds=timeout))


@asynccontextmanager
async def chat_with_provider(*answers: Answer, api_key: str | None = KEY) -> AsyncIterator[tuple[Chat, FakeProvider]]:
    """An executor and its provider, which gives these answers, or says "Hello."."""
    async with fake_provider() as provider:
        if answers:
            provider.answers(*answers)
        async with chat_at(provider.base_url, api_key=api_key) as chat:
            yield chat, provider


async def failure_of(job: Job, answer: Answer) -> Failure:
    """How the job fails at this answer, after exactly one call."""
    async with chat_with_provider(answer) as (chat, provider):
        with pytest.raises(Failure) as raised:
            await chat(job)
    assert len(provider.requests) == 1
    return raised.value


def result_of(outcome: Outcome) -> dict[str, JsonValue]:
    assert isinstance(outcome.result, dict)
    return outcome.result
