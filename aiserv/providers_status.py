"""The providers as they answer now: `GET /api/v1/providers/status`."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import anyio
from pydantic import JsonValue, SecretStr

from aiserv.database import Database
from aiserv.fields import time_text
from aiserv.http_get import UNAUTHORIZED, Got, Unreachable, get, server_root, shown
from aiserv.settings import Settings
from aiserv.shared import Shared
from aiserv.stand_in import NAME as STAND_IN

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 3.0
SHARED_SECONDS: Final = 5.0
MAX_NAMED: Final = 5
MAX_NAME: Final = 200

Status: TypeAlias = Literal["ok", "busy", "degraded", "down"]


@dataclass(frozen=True)
class Work:
    """What our own workers have to do with a provider: whether a job of theirs is there now, and why they pause."""

    running: bool = False
    paused: str | None = None


# The work by name of the provider; one that is not in it has none.
WorkOf: TypeAlias = Callable[[], Awaitable[Mapping[str, Work]]]


@dataclass(frozen=True)
class Provider:
    """A provider as it is configured. Without `urls` it is not; WhisperX may have several."""

    name: str
    kind: Literal["chat", "transcription"]
    urls: tuple[str, ...]
    model: str | None
    api_key: str | None


@dataclass(frozen=True)
class Found:
    """What a probe found; `seconds` is how long the answer took, None if there was none."""

    status: Status
    error: str | None = None
    seconds: float | None = None
    model: str | None = None
    """The model in the provider's own words, if they say more than ours."""


class ProvidersStatus:
    """Probes all providers at once, at most every five seconds, however many ask us."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession, work: WorkOf | None = None) -> None:
        self._providers = providers(settings)
        self._http = http
        self._work = work
        self._shared = Shared(self._ask, SHARED_SECONDS)

    async def status(self) -> dict[str, Any]:
        """The document of the contract, within three seconds and whatever happens; no probe spends tokens."""
        return await self._shared()

    async def _ask(self) -> dict[str, Any]:
        found: dict[tuple[str, str], Found] = {}
        work: dict[str, Work] = {}

        async def probe(provider: Provider, url: str) -> None:
            found[provider.name, url] = await self._probe(provider, url)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._collect, work)
            for provider in self._providers:
                for url in provider.urls:
                    tasks.start_soon(probe, provider, url)
        checked_at = time_text(datetime.now(UTC))
        return {
            "providers": [
                _row(
                    provider,
                    {url: found[provider.name, url] for url in provider.urls},
                    work.get(provider.name, Work()),
                    checked_at,
                )
                for provider in self._providers
            ]
        }

    async def _probe(self, provider: Provider, url: str) -> Found:
        try:
            if provider.name == "whisperx":
                return await self._probe_whisperx(provider, url)
            answer = await get(self._http, f"{url}/models", token=provider.api_key, seconds=PROBE_SECONDS)
        except Unreachable as error:
            return Found("busy" if error.timed_out else "down", str(error))
        return _judged(provider, answer)

    async def _probe_whisperx(self, provider: Provider, url: str) -> Found:
        """Whether it is well says `/health`, whether our key is good `/v1/models`: no dialect needs to have either."""
        answers: dict[str, Got | Unreachable] = {}

        async def ask(path: str) -> None:
            address = f"{server_root(url)}{path}"
            try:
                answers[path] = await get(self._http, address, token=provider.api_key, seconds=PROBE_SECONDS)
            except Unreachable as error:
                answers[path] = error

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "/health")
            tasks.start_soon(ask, "/v1/models")
        health, models = answers["/health"], answers["/v1/models"]
        if isinstance(health, Unreachable):
            raise health
        if isinstance(models, Unreachable):
            raise models
        if health.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Found("down", f"answered {health.status}", health.seconds)
        if {health.status, models.status} & set(UNAUTHORIZED):
            return Found("degraded", _key_refused(provider), health.seconds)
        return Found("ok", seconds=health.seconds)

    async def _collect(self, work: dict[str, Work]) -> None:
        if self._work is None:
            return
        # Its statement has a limit of its own; this one is for a pool that waits for a database in vain.
        with anyio.move_on_after(PROBE_SECONDS):
            try:
                work.update(await self._work())
            except Exception as error:  # noqa: BLE001 - the probes are worth an answer without a database, too
                logger.warning("what works on the providers is not known: %s", type(error).__name__)


def providers(settings: Settings) -> list[Provider]:
    """The providers there can be, in the order of the answer."""
    llm, audio = settings.llm, settings.transcription
    return [
        Provider("llm", "chat", _given(llm.base_url), llm.model, _secret(llm.api_key)),
        Provider(
            "whisperx",
            "transcription",
            audio.whisperx_url,
            audio.whisperx_model,
            _secret(audio.whisperx_api_key),
        ),
        Provider(
            "qwen2-audio",
            "transcription",
            _given(audio.qwen_audio_base_url),
            audio.qwen_audio_model,
            _secret(audio.qwen_audio_api_key),
        ),
        Provider(
            "voxtral-small",
            "transcription",
            _given(audio.voxtral_base_url),
            audio.voxtral_model,
            _secret(audio.voxtral_api_key),
        ),
    ]


def model_profiles(settings: Settings) -> dict[str, set[str]]:
    """The model profiles whose jobs each provider may be busy with: `whisperx` runs all that are configured."""
    profiles = {"llm": {settings.llm.model}}
    for name in ("whisperx", "qwen2-audio", "voxtral-small"):
        profiles[name] = {name, "whisperx"} if name in settings.transcription.providers else {name}
    return profiles


def work_of(settings: Settings, database: Database) -> WorkOf:
    """What PostgreSQL knows of our own work: which providers may be busy with it, and which of them pause."""
    profiles = model_profiles(settings)

    async def work() -> dict[str, Work]:
        queues, troubles = await database.queues(), await database.troubles()
        busy = {queue["model_profile"] for queue in queues if queue["running"]}
        # Chat has one provider for each model profile, of the same name.
        return {
            name: Work(not busy.isdisjoint(served), troubles.get(settings.llm.model if name == "llm" else name))
            for name, served in profiles.items()
        }

    return work


def _row(provider: Provider, found: Mapping[str, Found], work: Work, checked_at: str | None) -> dict[str, Any]:
    all_in_all = _all_in_all({url: _with_work(one, work) for url, one in found.items()})
    seconds = all_in_all.seconds if all_in_all else None
    return {
        "name": provider.name,
        "kind": provider.kind,
        "configured": bool(provider.urls),
        "status": all_in_all.status if all_in_all else "not_configured",
        "model": (all_in_all and all_in_all.model) or provider.model,
        "endpoint": ", ".join(_endpoint(url) for url in provider.urls) or None,
        "has_api_key": provider.api_key is not None,
        "latency_ms": None if seconds is None else round(seconds * 1000),
        "checked_at": checked_at if all_in_all else None,
        "error": all_in_all and all_in_all.error,
    }


def _with_work(found: Found, work: Work) -> Found:
    """What was found, in the light of our own work: who is silent without any is down, who pauses is not well."""
    if found.status == "busy" and not work.running:
        return Found("down", found.error)
    if found.status in ("ok", "busy") and work.paused is not None:
        return Found("degraded", shown(f"paused: {work.paused}", MAX_NAME), found.seconds, found.model)
    return found


def _all_in_all(found: Mapping[str, Found]) -> Found | None:
    """One finding for all instances of a provider, None if there is no instance."""
    if len(found) <= 1:
        return next(iter(found.values()), None)
    statuses = {one.status for one in found.values()}
    well = statuses <= {"ok", "busy"}
    status: Status = "ok" if well and "ok" in statuses else statuses.pop() if len(statuses) == 1 else "degraded"
    errors = [f"{_endpoint(url)}: {one.error}" for url, one in found.items() if one.error and one.status != "busy"]
    slowest = max((one.seconds for one in found.values() if one.seconds is not None), default=None)
    return Found(status, "; ".join(errors) or None, slowest)


def _judged(provider: Provider, answer: Got) -> Found:
    """What an answer to `GET /models` says of a provider that speaks OpenAI's protocol."""
    if answer.status in UNAUTHORIZED:
        return Found("degraded", _key_refused(provider), answer.seconds)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Found("down", f"answered {answer.status}", answer.seconds)
    served = _served(answer.json)
    if answer.status != HTTPStatus.OK or served is None:
        return Found("degraded", f"answered {answer.status} without a list of models", answer.seconds)
    if provider.model not in served:
        names = ", ".join(sorted(served)[:MAX_NAMED]) or "none"
        return Found("degraded", f"the model {provider.model} is not served; served: {names}", answer.seconds)
    model = f"{provider.model} ({STAND_IN})" if served[provider.model] == STAND_IN else None
    return Found("ok", seconds=answer.seconds, model=model)


def _served(listed: JsonValue) -> dict[str, JsonValue] | None:
    """The owner of each model by its id, None if it is no list of models."""
    match listed:
        case {"data": list(models)}:
            known = [model for model in models if isinstance(model, dict)]
            return {shown(str(model.get("id")), MAX_NAME): model.get("owned_by") for model in known}
        case _:
            return None


def _key_refused(provider: Provider) -> str:
    return "the key is refused" if provider.api_key else "a key is needed, and none is set"


def _endpoint(url: str) -> str:
    """Scheme, host, port and path: user, password, query and fragment are nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _given(url: str | None) -> tuple[str, ...]:
    return () if url is None else (url,)


def _secret(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
