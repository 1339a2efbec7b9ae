"""The status of the providers, probed for real on fakes of them."""

import json
from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

import anyio
import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv import providers_status
from aiserv.database import Database
from aiserv.providers_status import PROBE_SECONDS, ProvidersStatus, Work, model_profiles, work_of
from aiserv.settings import Settings
from aiserv.stand_in import stand_in_provider
from tests.providers import Answer, body, drops, hangs, refuses
from tests.sidecar.pages import fake_server, http_client, nobody
from tests.waiting import SOON

pytestmark = pytest.mark.usefixtures("patient")

MODEL = "qwen2.5-14b"
AUDIO_MODELS = {
    "qwen2-audio": ("QWEN_AUDIO_BASE_URL", "Qwen/Qwen2-Audio-7B-Instruct"),
    "voxtral-small": ("VOXTRAL_BASE_URL", "mistralai/Voxtral-Small-24B-2507"),
}


def serving(*models: str) -> Answer:
    return body(json.dumps({"object": "list", "data": [{"id": model, "owned_by": "vllm"} for model in models]}))


async def status_of(work: Mapping[str, Work] | None = None, /, **variables: str) -> dict[str, dict[str, Any]]:
    """The row of each provider by its name."""

    async def work_of() -> Mapping[str, Work]:
        return work or {}

    async with http_client() as http:
        said = await ProvidersStatus(Settings.load({}, **variables), http, work_of).status()
    return {row["name"]: row for row in said["providers"]}


async def llm(answer: Answer, work: Work | None = None, /, **variables: str) -> dict[str, Any]:
    """The row of a language model that answers so at /v1/models."""
    async with fake_server({"/v1/models": answer}) as server:
        rows = await status_of({"llm": work} if work else None, LLM_BASE_URL=server.url, **variables)
    return rows["llm"]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers_status, "PROBE_SECONDS", 0.5)


async def test_providers_that_are_not_configured_are_listed_all_the_same() -> None:
    async with http_client() as http:
        said = await ProvidersStatus(Settings.load({}), http).status()

    assert [(row["name"], row["kind"], row["status"]) for row in said["providers"]] == [
        ("llm", "chat", "not_configured"),
        ("whisperx", "transcription", "not_configured"),
        ("qwen2-audio", "transcription", "not_configured"),
        ("voxtral-small", "transcription", "not_configured"),
    ]
    assert said["providers"][0] == {
        "name": "llm",
        "kind": "chat",
        "configured": False,
        "status": "not_configured",
        "model": MODEL,
        "endpoint": None,
        "has_api_key": False,
        "latency_ms": None,
        "checked_at": None,
        "error": None,
    }


async def test_a_model_that_is_served_is_ok() -> None:
    async with fake_server({"/v1/models": serving("other", MODEL)}) as server:
        row = (await status_of(LLM_BASE_URL=server.url, LLM_API_KEY="hunter2"))["llm"]

    assert row.pop("checked_at").endswith("Z")
    assert 0 <= row.pop("latency_ms") < 1000 * SOON
    assert row == {
        "name": "llm",
        "kind": "chat",
        "configured": True,
        "status": "ok",
        "model": MODEL,
        "endpoint": f"{server.url}/v1",
        "has_api_key": True,
        "error": None,
    }


@pytest.mark.parametrize("provider", AUDIO_MODELS)
async def test_the_audio_models_are_probed_alike(provider: str) -> None:
    variable, model = AUDIO_MODELS[provider]

    async with fake_server({"/v1/models": serving(model)}) as server:
        rows = await status_of(**{variable: server.url, "AUDIO_LLM_API_KEY": "hunter2"})

    assert rows[provider]["status"] == "ok"
    assert rows[provider]["has_api_key"] is True


async def test_a_probe_spends_no_tokens_and_sends_our_key() -> None:
    async with fake_server({"/v1/models": serving(MODEL)}) as server:
        await status_of(LLM_BASE_URL=server.url, LLM_API_KEY="hunter2")

    assert server.asked == ["/v1/models"]
    assert server.headers[0]["Authorization"] == "Bearer hunter2"


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (refuses(401, "hunter2"), "degraded", "the key is refused"),
        (refuses(403), "degraded", "the key is refused"),
        (serving("other", "more"), "degraded", f"the model {MODEL} is not served; served: more, other"),
        (serving(), "degraded", f"the model {MODEL} is not served; served: none"),
        (refuses(404, "hunter2"), "degraded", "answered 404 without a list of models"),
        (refuses(429), "degraded", "answered 429 without a list of models"),
        (body("<html>hunter2"), "degraded", "answered 200 without a list of models"),
        (refuses(302, headers={"Location": "/"}), "degraded", "answered 302 without a list of models"),
        (refuses(503, "hunter2"), "down", "answered 503"),
        (drops(), "down", "the connection broke off"),
    ],
)
async def test_trouble_is_told_from_trouble(answer: Answer, status: str, error: str) -> None:
    row = await llm(answer, LLM_API_KEY="hunter2")

    assert (row["status"], row["error"]) == (status, error)


async def test_a_key_that_is_missing_is_asked_for() -> None:
    row = await llm(refuses(401))

    assert row["error"] == "a key is needed, and none is set"


async def test_a_provider_that_is_not_there_is_down_and_all_else_is_answered() -> None:
    async with nobody() as url, fake_server({}) as whisperx:
        rows = await status_of(LLM_BASE_URL=url, WHISPERX_URL=whisperx.url)

    assert rows["llm"]["status"] == "down"
    assert rows["llm"]["error"] == "connection refused"
    assert rows["llm"]["latency_ms"] is None
    assert rows["llm"]["checked_at"] is not None
    assert rows["whisperx"]["status"] == "ok"


async def test_a_silent_provider_is_down(hurried: None) -> None:
    row = await llm(hangs())

    assert (row["status"], row["error"]) == ("down", "no answer within 0.5 s")


def test_a_probe_has_three_seconds_and_is_shared_for_five() -> None:
    status = ProvidersStatus(Settings.load({}), Mock())

    assert (PROBE_SECONDS, status._shared._seconds) == (3, 5)


async def test_a_provider_that_is_silent_over_our_own_job_is_busy(hurried: None) -> None:
    row = await llm(hangs(), Work(running=True))

    assert row["status"] == "busy"


async def test_a_provider_that_refuses_connections_is_not_busy() -> None:
    async with nobody() as url:
        rows = await status_of({"llm": Work(running=True)}, LLM_BASE_URL=url)

    assert rows["llm"]["status"] == "down"


async def test_a_provider_that_pauses_is_degraded_though_it_answers() -> None:
    row = await llm(serving(MODEL), Work(paused="rate_limited until 12:00"))

    assert (row["status"], row["error"]) == ("degraded", "paused: rate_limited until 12:00")


async def test_without_a_database_the_probes_are_answered() -> None:
    async def broken() -> Mapping[str, Work]:
        raise ConnectionError

    async with fake_server({"/v1/models": serving(MODEL)}) as server, http_client() as http:
        said = await ProvidersStatus(Settings.load({}, LLM_BASE_URL=server.url), http, broken).status()

    assert said["providers"][0]["status"] == "ok"


async def test_all_are_probed_at_once_and_once_for_all_who_ask() -> None:
    arrived = 0
    both = anyio.Event()

    async def wait_for_the_other(request: Any) -> Any:  # noqa: ANN401 - as aiohttp has it
        nonlocal arrived
        arrived += 1
        if arrived == 2:
            both.set()
        await both.wait()
        return await serving(MODEL).reply(request)

    async with fake_server({"/v1/models": Answer(wait_for_the_other)}) as server, http_client() as http:
        settings = Settings.load({}, LLM_BASE_URL=server.url, VOXTRAL_BASE_URL=server.url)
        status = ProvidersStatus(settings, http)
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(status.status)

    assert len(server.asked) == 2


async def test_the_endpoint_has_no_user_and_no_query_in_it() -> None:
    settings = Settings.load({}, LLM_BASE_URL="http://127.0.0.1:1")
    llm = settings.llm.model_copy(update={"base_url": "http://user:hunter2@127.0.0.1:1/v1?key=hunter2"})

    async with http_client() as http:
        said = await ProvidersStatus(settings.model_copy(update={"llm": llm}), http).status()

    assert said["providers"][0]["endpoint"] == "http://127.0.0.1:1/v1"
    assert "hunter2" not in str(said)


async def test_the_stand_in_says_that_it_is_no_model() -> None:
    async with stand_in_provider(MODEL) as url:
        row = (await status_of(LLM_BASE_URL=url))["llm"]

    assert row["status"] == "ok"
    assert row["model"] == "qwen2.5-14b (stand-in provider, no model)"


@pytest.mark.parametrize("path", ["", "/asr", "/v1/audio/transcriptions"])
@pytest.mark.parametrize(
    ("pages", "status", "error"),
    [
        ({}, "ok", None),
        ({"/health": body("{}")}, "ok", None),
        ({"/health": refuses(503)}, "down", "answered 503"),
        ({"/v1/models": refuses(401)}, "degraded", "a key is needed, and none is set"),
        ({"/health": drops()}, "down", "the connection broke off"),
    ],
)
async def test_whisperx_is_well_if_it_answers_and_takes_our_key(
    path: str, pages: dict[str, Answer], status: str, error: str | None
) -> None:
    async with fake_server(pages) as server:
        row = (await status_of(WHISPERX_URL=f"{server.url}{path}"))["whisperx"]

    assert (row["status"], row["error"]) == (status, error)
    assert row["endpoint"] == f"{server.url}{path}"
    assert row["model"] is None


async def test_a_whisperx_that_is_deaf_while_it_transcribes_for_us_is_busy(hurried: None) -> None:
    async with fake_server({"/health": hangs(), "/v1/models": hangs()}) as server:
        rows = await status_of({"whisperx": Work(running=True)}, WHISPERX_URL=server.url)

    assert rows["whisperx"]["status"] == "busy"


async def test_of_several_whisperx_one_that_is_down_degrades_all() -> None:
    async with fake_server({}) as server, nobody() as gone:
        row = (await status_of(WHISPERX_URL=f"{server.url},{gone}"))["whisperx"]

    assert row["status"] == "degraded"
    assert row["error"] == f"{gone}: connection refused"
    assert row["endpoint"] == f"{server.url}, {gone}"
    assert row["latency_ms"] is not None


async def test_of_several_whisperx_one_that_is_busy_is_how_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one must have answered by then.
    monkeypatch.setattr(providers_status, "PROBE_SECONDS", PROBE_SECONDS)
    async with fake_server({}) as server, fake_server({"/health": hangs()}) as busy:
        rows = await status_of({"whisperx": Work(running=True)}, WHISPERX_URL=f"{server.url},{busy.url}")

    assert rows["whisperx"]["status"] == "ok"
    assert rows["whisperx"]["error"] is None


async def test_of_several_whisperx_all_must_be_down_for_it_to_be_down() -> None:
    async with nobody() as one, nobody() as other:
        row = (await status_of(WHISPERX_URL=f"{one},{other}"))["whisperx"]

    assert row["status"] == "down"
    assert row["error"] == f"{one}: connection refused; {other}: connection refused"


def test_a_provider_may_be_busy_with_jobs_of_its_profile_and_of_whisperx() -> None:
    settings = Settings.load({}, LLM_MODEL="qwen3", TRANSCRIPTION_PROVIDERS="whisperx, voxtral-small")

    assert model_profiles(settings) == {
        "llm": {"qwen3"},
        "whisperx": {"whisperx"},
        "qwen2-audio": {"qwen2-audio"},
        "voxtral-small": {"voxtral-small", "whisperx"},
    }


async def test_what_our_workers_have_to_do_with_a_provider_is_what_postgresql_knows(
    conninfo: str, db: psycopg.Connection[DictRow]
) -> None:
    settings = Settings.load({}, LLM_MODEL="qwen3", TRANSCRIPTION_PROVIDERS="whisperx, voxtral-small")
    db.execute("select aiserv.create_job(owner_service => 'a', task_type => 'transcribe', model_profile => 'whisperx')")
    db.execute("select aiserv.claim_jobs(worker_id => 'w')")
    db.execute("select aiserv.report_provider('qwen3', 'rate_limited', 'later', retry_after => interval '1 hour')")

    async with Database.open(conninfo, size=1, name="test") as database:
        work = await work_of(settings, database)()

    assert (work["llm"].paused or "").startswith("rate_limited until 2")
    assert {name: (one.running, one.paused is not None) for name, one in work.items()} == {
        "llm": (False, True),
        "whisperx": (True, False),
        "qwen2-audio": (False, False),
        "voxtral-small": (True, False),
    }
