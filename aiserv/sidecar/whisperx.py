"""A WhisperX server, as far as it shows itself: there is no page that all of them have."""

from http import HTTPStatus
from typing import Final

import aiohttp

from aiserv.http_get import Got, server_root
from aiserv.sidecar.sampler import Row
from aiserv.sidecar.servers import ask, samples

# https://github.com/murtaza-nasir/whisperx-asr-service has all three; those without them are only up or not.
PATHS: Final = ("/health", "/queue-metrics", "/metrics")
IN_FLIGHT: Final = "whisperx_active_transcriptions"


class WhisperX:
    """Samples one server."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def sample(self) -> Row:
        """The row: url, up, in_flight, queued; a number that the server does not tell is None.

        One without `/health` is up if it answers at all. Some answer nothing while they transcribe, and count as down.
        """
        health, queue, metrics = await ask(self._http, server_root(self._url), PATHS)
        in_flight = _counted(queue, "requests_in_flight")
        return {
            "url": self._url,
            "up": health is not None and health.status < HTTPStatus.INTERNAL_SERVER_ERROR,
            "in_flight": _gauge(metrics) if in_flight is None else in_flight,
            "queued": _counted(queue, "requests_queued"),
        }


def _counted(answer: Got | None, key: str) -> int | None:
    said = answer.json if answer and answer.status == HTTPStatus.OK else None
    number = said.get(key) if isinstance(said, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _gauge(answer: Got | None) -> int | None:
    values = [sample.value for sample in samples(answer) if sample.name == IN_FLIGHT]
    return round(sum(values)) if values else None
