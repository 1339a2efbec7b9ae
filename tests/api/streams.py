"""Streams of events, as subscribers read them."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
from aiohttp import ClientResponse

from aiserv.answers.jobs import JobSummary
from tests.api.client import Api
from tests.waiting import SOON


class Stream:
    """What a subscriber reads."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """The next event, as its fields; a comment has the name ""."""
        with anyio.fail_after(SOON):
            text = (await self.response.content.readuntil(b"\n\n")).decode()
        return dict(line.split(": ", 1) for line in text.strip().splitlines())

    async def event(self) -> dict[str, str]:
        """The next event that is no comment."""
        with anyio.fail_after(SOON):
            while "event" not in (block := await self.block()):
                pass
        return block

    async def job(self) -> dict[str, Any]:
        """The job of the next event."""
        event = await self.event()
        assert event["event"] == "job"
        JobSummary.model_validate_json(event["data"])
        return json.loads(event["data"])  # type: ignore[no-any-return]  # an object


# Opens the stream that this query asks for, with these headers.
Subscribe = Callable[..., AbstractAsyncContextManager[Stream]]


async def cancelled(api: Api, **fields: Any) -> str:  # noqa: ANN401 - of a job
    job = await api.create(**fields)
    await api.post(f"jobs/{job['id']}/cancel")
    return str(job["id"])
