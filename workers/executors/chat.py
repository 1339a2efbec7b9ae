"""The executor of chat jobs: it calls an OpenAI-compatible endpoint, such as vLLM's."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

import anyio
from pydantic import JsonValue

from workers.executors import Outcome, input_of
from workers.executors.chat_request import chat_request, wants_json
from workers.failures import Failure
from workers.providers.chat_answer import Answer
from workers.providers.http import fits_header

if TYPE_CHECKING:
    from types import TracebackType

    from aiserv.models import Job
    from workers.executors.chat_client import ChatClient


class Chat:
    """An executor for `task_types`, open between `async with`.

    The input has `messages`, or else `system` and/or `user`, and besides any of
    `chat_request.FORWARDED`; other keys stay here. The result has `content` (null when the model
    calls tools), `model` as the endpoint reports it, `usage`, `duration_ms`, `finish_reason`, and
    `tool_calls` if there are any. `timeout` is the limit for jobs that have none of their own.
    """

    task_types: Final = ("llm_chat", "chat_completion", "call_analysis")

    _client: "ChatClient"

    def __init__(self, *, base_url: str, api_key: str | None, model: str, timeout: timedelta) -> None:
        if api_key and not fits_header(api_key):
            raise ValueError("the API key has characters that no header can carry")
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        # Here, because importing openai takes a second and only an open executor needs it.
        from workers.executors.chat_client import ChatClient  # noqa: PLC0415

        self._client = ChatClient(base_url=self._base_url, api_key=self._api_key)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await self._client.close()

    async def __call__(self, job: "Job") -> Outcome:
        """The outcome of one call of the provider. Raises `Failure`, free of the API key."""
        try:
            return await self._execute(job)
        except Failure as failure:
            secrets = [self._api_key] if self._api_key else []
            raise failure.presentable(secrets) from failure.__cause__

    async def _execute(self, job: "Job") -> Outcome:
        request = chat_request(input_of(job))
        started = time.monotonic()
        body = await self._complete(request, job)
        duration_ms = round((time.monotonic() - started) * 1000)

        answer = Answer.parse(body, json_wanted=wants_json(request))
        result: dict[str, JsonValue] = {
            "content": answer.content,
            "model": answer.model or self._model,
            "usage": {**answer.usage} if answer.usage else None,
            "duration_ms": duration_ms,
            "finish_reason": answer.finish_reason,
        }
        if answer.tool_calls:
            result["tool_calls"] = answer.tool_calls
        return Outcome(result, answer.usage)

    async def _complete(self, request: dict[str, JsonValue], job: "Job") -> bytes:
        limit = job.timeout_seconds or self._timeout.total_seconds()
        headers = {"traceparent": job.traceparent} if fits_header(job.traceparent) else {}
        # A deadline for the whole call: the client's own timeouts are for each read.
        with anyio.move_on_after(limit):
            return await self._client.complete(self._model, request, headers=headers)
        raise Failure("timeout", f"the provider did not answer within {limit:g} s")
