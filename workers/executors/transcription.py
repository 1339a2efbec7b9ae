"""The executor of transcription jobs: it has every provider of the job hear the recording, one after the other."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import anyio
from pydantic import JsonValue, SecretStr

from workers.audio.addresses import AllowedHosts
from workers.audio.decode import Recording, probe
from workers.audio.sources import Limits, Source, stored
from workers.executors import Outcome, input_of
from workers.executors.pauses import Pauses
from workers.executors.reporting import ReportProgress
from workers.executors.transcription_request import TranscriptionRequest
from workers.executors.transcription_result import (
    ProviderAttempt,
    failure_of,
    progress_of,
    result_of,
    troubles_of,
    usage_of,
)
from workers.failures import Failure
from workers.providers.audio_llm import AudioLlm
from workers.providers.http import HttpClient, fits_header
from workers.providers.pieces import Provider, Wanted
from workers.providers.transcript import Transcript
from workers.providers.whisperx import WhisperX

if TYPE_CHECKING:
    from aiserv.models import Job
    from aiserv.settings import TranscriptionSettings

logger = logging.getLogger(__name__)

# Told of every provider's call: its name, "ok" or the category of the failure, and how long it took, in seconds.
Observe: TypeAlias = Callable[[str, str, float], None]


async def _keep_to_oneself(_progress: JsonValue) -> None:
    pass


async def _nobody_pauses(_job: "Job") -> Mapping[str, Failure]:
    return {}


def _overlook(_provider: str, _outcome: str, _seconds: float) -> None:
    pass


class Transcription:
    """An executor for `task_types` and `model_profiles`, open between `async with`.

    The input has `audio_url` or `audio_base64`, and perhaps `filename`, `content_type`, `providers`, `language`,
    `prompt`, `diarize`, `min_speakers`, `max_speakers`. The result is that of the first provider that succeeds,
    with `attempts` of all. Each provider has `settings.timeout`; the job's own limit is for all of it.
    """

    task_types: Final = ("transcription", "transcribe")

    _providers: dict[str, Provider]

    def __init__(
        self, settings: "TranscriptionSettings", *, observe: Observe = _overlook, pauses: Pauses = _nobody_pauses
    ) -> None:
        self._settings = settings
        self._pauses = pauses
        self._observe = observe
        self._limits = Limits(int(settings.audio_max_bytes), AllowedHosts(settings.audio_url_allowed_hosts))
        self._models = {
            "whisperx": settings.whisperx_model,
            "qwen2-audio": settings.qwen_audio_model,
            "voxtral-small": settings.voxtral_model,
        }
        self._secrets = settings.secrets

    @property
    def model_profiles(self) -> tuple[str, ...]:
        """The profiles it serves: `whisperx` runs all that is configured, the others one provider each."""
        urls = {"qwen2-audio": self._settings.qwen_audio_base_url, "voxtral-small": self._settings.voxtral_base_url}
        return ("whisperx", *(name for name, url in urls.items() if url is not None))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._providers = {provider.name: provider for provider in await _open(self._settings, stack)}
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def __call__(self, job: "Job", report_progress: ReportProgress = _keep_to_oneself) -> Outcome:
        """The outcome of all providers of the job. The first success is reported before the next one begins.

        Raises `Failure`, free of API keys, when none succeeds.
        """
        try:
            return await self._execute(job, report_progress)
        except Failure as failure:
            raise failure.presentable(self._secrets) from failure.__cause__

    async def _execute(self, job: "Job", report_progress: ReportProgress) -> Outcome:
        # The job's own limit is for everything, a provider's only for that provider.
        end = anyio.current_time() + (job.timeout_seconds or math.inf)
        headers = {"traceparent": job.traceparent} if fits_header(job.traceparent) else {}
        request = TranscriptionRequest.parse(input_of(job), providers=self._providers_of(job), headers=headers)
        async with AsyncExitStack() as stack:
            recording = await self._recording(stack, request.source, end)
            attempts: list[ProviderAttempt] = []
            for name in request.providers:
                attempts.append(await self._attempt(job, name, recording, request.wanted, end))
                succeeded = [attempt for attempt in attempts if attempt.transcript is not None]
                if len(succeeded) == 1 and succeeded[0] is attempts[-1]:
                    await report_progress(progress_of(attempts, seconds=recording.seconds))
        result = result_of(attempts, seconds=recording.seconds)
        if result is None:
            raise failure_of(attempts)
        return Outcome(result, usage_of(attempts), troubles_of(attempts))

    def _providers_of(self, job: "Job") -> Sequence[str]:
        """The providers that the job's profile stands for."""
        profile = job.model_profile
        return [profile] if profile in ("qwen2-audio", "voxtral-small") else self._settings.providers

    async def _recording(self, stack: AsyncExitStack, source: Source, end: float) -> Recording:
        limit = self._limit(end)
        with anyio.move_on_after(limit):
            path, kind = await stack.enter_async_context(stored(source, self._limits))
            return await probe(path, kind)
        raise Failure("timeout", f"the recording was not there within {limit:g} s")

    async def _attempt(
        self, job: "Job", name: str, recording: Recording, wanted: Wanted, end: float
    ) -> ProviderAttempt:
        """What the provider made of the recording, whatever happens to it."""
        provider = self._providers.get(name)
        if provider is None:
            return ProviderAttempt(name, self._models[name])
        # Now, for the providers before it may have taken half an hour.
        if (trouble := (await self._pauses(job)).get(name)) is not None:
            return ProviderAttempt(name, provider.model, failure=trouble, paused=True)
        started = time.monotonic()
        transcript, failure = None, None
        outcome = "cancelled"
        try:
            transcript = await self._transcript(provider, recording, wanted, self._limit(end))
            outcome = "ok"
        except Failure as raised:
            failure = raised.presentable(self._secrets)
            outcome = failure.category
        except Exception:
            logger.exception("%s: the provider's code broke", name)
            failure = Failure("internal", "the executor broke; the worker's log has it")
            outcome = failure.category
        finally:
            seconds = time.monotonic() - started
            self._observe(name, outcome, seconds)
        return ProviderAttempt(name, provider.model, round(seconds * 1000), transcript, failure)

    async def _transcript(self, provider: Provider, recording: Recording, wanted: Wanted, limit: float) -> Transcript:
        # A deadline for all calls together: a client's own timeouts are for each read.
        with anyio.move_on_after(limit):
            transcript = await provider.transcribe(recording, wanted)
            return replace(transcript, language=transcript.language or wanted.language)
        raise Failure("timeout", f"the provider did not finish within {limit:g} s")

    def _limit(self, end: float) -> float:
        return max(min(self._settings.timeout.total_seconds(), end - anyio.current_time()), 0.0)


async def _open(settings: "TranscriptionSettings", stack: AsyncExitStack) -> list[Provider]:
    """The providers that are set up, open as long as the stack is."""

    async def client(key: SecretStr | None) -> HttpClient:
        return await stack.enter_async_context(HttpClient(key.get_secret_value() if key else None))

    providers: list[Provider] = []
    if settings.whisperx_url:
        providers.append(
            WhisperX(
                await client(settings.whisperx_api_key),
                urls=settings.whisperx_url,
                api=None if settings.whisperx_api == "auto" else settings.whisperx_api,
                model=settings.whisperx_model,
            )
        )
    if settings.qwen_audio_base_url is not None:
        providers.append(
            AudioLlm(
                await client(settings.qwen_audio_api_key),
                name="qwen2-audio",
                base_url=settings.qwen_audio_base_url,
                model=settings.qwen_audio_model,
                max_tokens=settings.audio_llm_max_tokens,
                instruction=settings.audio_llm_prompt,
            )
        )
    if settings.voxtral_base_url is not None:
        providers.append(
            AudioLlm(
                await client(settings.voxtral_api_key),
                name="voxtral-small",
                base_url=settings.voxtral_base_url,
                model=settings.voxtral_model,
                max_tokens=settings.audio_llm_max_tokens,
                instruction=settings.audio_llm_prompt,
                api=settings.voxtral_api,
            )
        )
    return providers
