"""The containers of this machine, through Docker's socket: their names, and how they are."""

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from aiserv.http_get import Unreachable, get
from aiserv.sidecar.sampler import SOURCE_SECONDS, Row, SourceError

# Before API 1.52 it is in the text for people alone: "Up 2 hours (healthy)", "Up 5 seconds (health: starting)".
_HEALTH: Final = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)$")


class Containers:
    """Samples all containers, also those that stopped.

    It asks for the list alone, https://docs.docker.com/reference/api/engine/: that has no environment variables in it,
    and of what it has, a row takes four fields. Nothing else of a container leaves this class.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def sample(self) -> list[Row]:
        """A row for each container, in order of `name`, with `image`, `state` and `health`.

        Raises SourceError if Docker does not answer.
        """
        try:
            # Docker's socket is replaced when Docker is; a kept connection would only get in the way.
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket))) as http:
                answer = await get(http, "http://docker/containers/json?all=true", seconds=SOURCE_SECONDS)
        except Unreachable as error:
            raise SourceError(f"Docker's socket: {error}") from None
        listed = answer.json
        if answer.status != HTTPStatus.OK or not isinstance(listed, list):
            raise SourceError(f"Docker's socket: answered {answer.status} without a list")
        rows = [_row(container) for container in listed if isinstance(container, dict)]
        return sorted(rows, key=lambda row: str(row["name"]))


def _row(container: dict[str, Any]) -> Row:
    # A container has more names than its own if others link to it: those have a second slash.
    names = [name.removeprefix("/") for name in container.get("Names") or [] if isinstance(name, str)]
    return {
        "name": min(names, key=lambda name: name.count("/"), default=None),
        "image": container.get("Image"),
        "state": container.get("State"),
        "health": _health(container),
    }


def _health(container: dict[str, Any]) -> str | None:
    """`starting`, `healthy` or `unhealthy`; None if it has no health check or does not run."""
    match container:
        case {"Health": {"Status": "starting" | "healthy" | "unhealthy" as health}}:
            return str(health)
        case {"Status": str(status)} if found := _HEALTH.search(status):
            return found[1]
        case _:
            return None
