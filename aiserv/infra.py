"""The AI server as its sidecar shows it: `GET /api/v1/infra/status`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from pydantic import JsonValue

from aiserv.fields import time_text
from aiserv.http_get import UNAUTHORIZED, Unreachable, get, shown
from aiserv.settings import InfrastructureSettings
from aiserv.shared import Shared

TIMEOUT_SECONDS: Final = 3.0
SHARED_SECONDS: Final = 5.0
MAX_TEXT: Final = 500

# What is shown of each row; all else that a sidecar says is dropped.
SHAPE: Final[Mapping[str, tuple[str, ...]]] = {
    "gpus": (
        "index",
        "name",
        "utilization_percent",
        "memory_used_mib",
        "memory_total_mib",
        "temperature_c",
        "power_w",
    ),
    "containers": ("name", "image", "state", "health"),
    "vllm": (
        "url",
        "up",
        "model",
        "requests_running",
        "requests_waiting",
        "kv_cache_usage_percent",
        "generation_tokens_per_second",
    ),
    "whisperx": ("url", "up", "in_flight", "queued"),
}


class InfraStatus:
    """Asks the sidecar at most every five seconds, however many ask us, and once at a time."""

    def __init__(self, settings: InfrastructureSettings, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._url = settings.status_url and _status_url(settings.status_url)
        self._token = settings.status_token.get_secret_value() if settings.status_token else None
        self._shared = Shared(self._ask, SHARED_SECONDS)

    async def status(self) -> dict[str, Any]:
        """The document of the contract, within three seconds and whatever happens.

        `error` says why there is nothing (`available` false), or which of the sidecar's sources cannot be read.
        """
        return {"configured": False} if self._url is None else await self._shared()

    async def _ask(self) -> dict[str, Any]:
        try:
            answer = await get(self._http, self._url or "", token=self._token, seconds=TIMEOUT_SECONDS)
        except Unreachable as error:
            return _document(error=f"the sidecar: {error}")
        if answer.status in UNAUTHORIZED:
            return _document(error=f"the sidecar refuses INFRA_STATUS_TOKEN ({answer.status})")
        said = answer.json
        if answer.status != HTTPStatus.OK or not isinstance(said, dict):
            return _document(error=f"the sidecar answered {answer.status} without a status")
        return _document(said, error=_errors(said))


def _status_url(url: str) -> str:
    """The URL of the status: a base URL without a path means the sidecar's own."""
    return url if urlsplit(url).path else f"{url}/status"


def _document(said: Mapping[str, JsonValue] | None = None, *, error: str | None) -> dict[str, Any]:
    return {
        "configured": True,
        "available": said is not None,
        "fetched_at": time_text(datetime.now(UTC)),
        "error": error,
        **{part: _rows((said or {}).get(part), keys) for part, keys in SHAPE.items()},
    }


def _rows(said: JsonValue, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = said if isinstance(said, list) else []
    return [{key: _plain(row.get(key)) for key in keys} for row in rows if isinstance(row, dict)]


def _plain(value: JsonValue) -> str | float | None:
    """The value if it is a short text, a number or a truth; nothing is nested here."""
    return None if isinstance(value, dict | list) else shown(value, MAX_TEXT) if isinstance(value, str) else value


def _errors(said: Mapping[str, JsonValue]) -> str | None:
    """The sources that the sidecar cannot read, and why."""
    errors = said.get("errors")
    if not isinstance(errors, dict):
        return None
    told = [f"{source}: {error}" for source, error in errors.items() if source in SHAPE and isinstance(error, str)]
    return shown("; ".join(told), MAX_TEXT) or None
