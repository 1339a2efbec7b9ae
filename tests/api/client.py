"""A client for tests: what it sends is what the test says, and an answer is what came, byte for byte."""

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
from aiohttp import ClientSession
from multidict import CIMultiDictProxy
from pydantic import JsonValue
from yarl import URL

from aiserv.answers.jobs import JobAnswer
from aiserv.answers.problems import ProblemAnswer
from tests.waiting import SOON

CHAT: Final[dict[str, JsonValue]] = {
    "owner_service": "telephony",
    "task_type": "llm_chat",
    "model_profile": "qwen2.5-14b",
}
LISTENING: Final = "aiserv_listener_connected 1.0"
UNKNOWN: Final = "0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10"  # no job and no batch has this id


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)

    @property
    def job(self) -> dict[str, Any]:
        """A job, after a look at its shape."""
        JobAnswer.model_validate_json(self.body)
        return self.json  # type: ignore[no-any-return]  # an object

    @property
    def problem(self) -> dict[str, Any]:
        """A problem, after a look at its shape."""
        assert self.headers["Content-Type"] == "application/problem+json; charset=utf-8"
        shown: dict[str, Any] = ProblemAnswer.model_validate_json(self.body).model_dump(exclude_unset=True)
        assert shown["status"] == self.status
        assert shown["type"] == f"/problems/{shown['code']}"
        assert shown["error"] == shown["detail"]
        assert shown["request_id"] == self.headers["X-Request-Id"]
        assert "errors" not in shown or shown["code"] == "invalid_request"
        return shown

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.problem["code"]


class Api:
    """Sends requests, with a token if it has one; paths without a slash in front are below `/api/v1/`."""

    def __init__(self, session: ClientSession, port: int, token: str | None = None) -> None:
        self._session = session
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self.port = port

    async def send(
        self,
        method: str,
        path: str,
        body: JsonValue = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a request with this JSON, or with these bytes of JSON, as its body."""
        target = path if path.startswith("/") else f"/api/v1/{path}"
        content = json.dumps(body).encode() if data is None and body is not None else data
        described = {} if content is None else {"Content-Type": "application/json"}
        async with self._session.request(
            method,
            URL(f"http://127.0.0.1:{self.port}{target}", encoded=True),
            data=None if content is None else io.BytesIO(content),
            headers={**described, **self._authorization, **(headers or {})},
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def post(self, path: str, body: JsonValue = None, **headers: str) -> Answer:
        return await self.send(
            "POST", path, body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def create(self, **fields: JsonValue) -> dict[str, Any]:
        """A new job."""
        answer = await self.post("jobs", {**CHAT, **fields})
        assert answer.status == 201, answer.text
        return answer.job

    async def claim(self, **fields: JsonValue) -> dict[str, Any]:
        """The job that a claim gets."""
        answer = await self.post("jobs/claim", {"worker_id": "w1", **fields})
        (job,) = answer.json["jobs"]
        JobAnswer.model_validate_json(json.dumps(job))
        return job  # type: ignore[no-any-return]  # an object

    async def finish(self) -> None:
        """Claim a job, and complete it."""
        job = await self.claim()
        await self.post(f"jobs/{job['id']}/complete", {"result": {"content": "Hi"}, "attempt": job["attempt"]})

    async def listening(self) -> None:
        """Wait for the server's listener: a stream of events that is older than its connection has to look again."""
        with anyio.fail_after(SOON):
            while LISTENING not in (await self.get("/metrics")).text:  # noqa: ASYNC110 - a gauge
                await anyio.sleep(0.01)

    async def raw(self, data: bytes) -> bytes:
        """What the server says to these bytes until it closes the connection."""
        received = b""
        with anyio.fail_after(SOON):
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                await stream.send(data)
                # It is reset, not ended, if the server has not read all of the request.
                with suppress(anyio.BrokenResourceError):
                    async for part in stream:
                        received += part
        return received

    async def first(self, data: bytes) -> bytes:
        """What the server says first, though it may wait for more."""
        with anyio.fail_after(SOON):
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                await stream.send(data)
                return await stream.receive()
