"""The sidecar process: what it samples, and where it shows it."""

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Protocol

import aiohttp
import anyio
from anyio.abc import TaskStatus

from aiserv.http.serving import serving
from aiserv.settings import SidecarSettings
from aiserv.sidecar.app import sidecar_application
from aiserv.sidecar.containers import Containers
from aiserv.sidecar.gpus import Gpus
from aiserv.sidecar.sampler import Row, Sample, Sampler
from aiserv.sidecar.vllm import Vllm
from aiserv.sidecar.whisperx import WhisperX
from aiserv.tokens import Tokens
from aiserv.values import go_duration

logger = logging.getLogger(__name__)

# An answer is at hand: nobody needs more than this to take it.
SHUTDOWN_TIMEOUT = timedelta(milliseconds=500)


async def watch(
    settings: SidecarSettings, stop: anyio.Event, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Sample this machine and show it until `stop` is set. Started with the port.

    Raises SettingsError without SIDECAR_TOKEN.
    """
    tokens = Tokens(settings.tokens)
    async with AsyncExitStack() as stack:
        # Connections are not kept: between two samples a server may have been replaced.
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar())
        )
        sampler = Sampler(_sources(settings, http), settings.sample_interval)
        port = await stack.enter_async_context(
            serving(
                sidecar_application(sampler, tokens),
                settings.http_host,
                settings.http_port,
                shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sampler.run)
            logger.info("sampling every %s, status on port %s", go_duration(settings.sample_interval), port)
            task_status.started(port)
            await stop.wait()
            # Who waits for the first sample is answered without one.
            sampler.sampled.set()
            tasks.cancel_scope.cancel()
    logger.info("stopped")


class _Server(Protocol):
    async def sample(self) -> Row: ...


def _sources(settings: SidecarSettings, http: aiohttp.ClientSession) -> dict[str, Sample]:
    return {
        "gpus": Gpus().sample,
        "containers": Containers(settings.docker_socket).sample,
        "vllm": _each([Vllm(http, url) for url in settings.vllm_urls]),
        "whisperx": _each([WhisperX(http, url) for url in settings.whisperx_urls]),
    }


def _each(servers: Sequence[_Server]) -> Sample:
    """The rows of several servers, sampled at the same time, in the order of the settings."""

    async def sample() -> list[Row]:
        rows: dict[int, Row] = {}

        async def sample_one(number: int, server: _Server) -> None:
            rows[number] = await server.sample()

        async with anyio.create_task_group() as tasks:
            for number, server in enumerate(servers):
                tasks.start_soon(sample_one, number, server)
        return [rows[number] for number in sorted(rows)]

    return sample
