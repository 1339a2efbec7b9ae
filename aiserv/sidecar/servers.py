"""How a model server is asked how it is: several pages at once, and metrics if it has them."""

import math
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import aiohttp
import anyio
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from aiserv.http_get import Got, Unreachable, get

# Less than a source may take: a server that hangs must not cost us the others.
SERVER_SECONDS: Final = 1.5


async def ask(http: aiohttp.ClientSession, root: str, paths: tuple[str, ...]) -> list[Got | None]:
    """The answers at the paths, in their order; None where there was none in time."""
    answers: dict[str, Got] = {}

    async def ask_one(path: str) -> None:
        try:
            answers[path] = await get(http, f"{root}{path}", seconds=SERVER_SECONDS)
        except Unreachable:
            return

    async with anyio.create_task_group() as tasks:
        for path in paths:
            tasks.start_soon(ask_one, path)
    return [answers.get(path) for path in paths]


def samples(answer: Got | None) -> Iterator[Sample]:
    """The numbers in a page of Prometheus metrics, NaN and infinity left out; none if it is another page."""
    if answer is None or answer.status != HTTPStatus.OK:
        return
    try:
        metrics = list(text_string_to_metric_families(answer.text))
    except (ValueError, IndexError, KeyError):  # what prometheus_client's parser raises
        return
    for metric in metrics:
        yield from (sample for sample in metric.samples if math.isfinite(sample.value))
