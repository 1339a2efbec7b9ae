"""The executor of chat jobs: it calls an OpenAI-compatible endpoint, such as vLLM's."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

import anyio

from workers.executors import Outcome, input_of
from workers.executors.chat_request import chat_request, schema_of, wants_json
from workers.executors.json_schema import SchemaChecks
from workers.failures import Failure
from workers.providers.chat_answer import Answer
from workers.providers.http import fits_header

if TYPE_CHECKING:
    from types import TracebackType

    from pydantic import JsonValue

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
    _schemas: SchemaChecks

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
        self._schemas = SchemaChecks()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await self._schemas.close()
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
        schema = schema_of(request)
        headers = {"traceparent": job.traceparent} if fits_header(job.traceparent) else {}
        # One deadline: the client's own timeouts are for each read.
        limit = job.timeout_seconds or self._timeout.total_seconds()
        body = None
        with anyio.move_on_after(limit):
            if schema is not None:
                # Before the call: nobody shall pay for an answer that nothing can be checked against.
                await self._schemas.flaw(schema, None)
            started = time.monotonic()
            body = await self._client.complete(self._model, request, headers=headers)
            duration_ms = round((time.monotonic() - started) * 1000)
        if body is None:
            raise Failure("timeout", f"the provider did not answer within {limit:g} s")

        # The deadline is the provider's: what it has answered is paid for, and may wait for its turn to be checked.
        answer = Answer.parse(body, json_wanted=wants_json(request))
        if schema is not None and answer.content is not None and not answer.tool_calls:
            await self._check(answer, schema, answer.content)
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

    async def _check(self, answer: Answer, schema: str, content: str) -> None:
        """Raise `Failure`, with the tokens that the answer cost, when the content does not fit the schema."""
        try:
            flaw = await self._schemas.flaw(schema, content)
        except Failure as failure:
            failure.usage = answer.usage
            raise
        if flaw:
            raise answer.flawed(f"the content does not fit the schema: {flaw}")
