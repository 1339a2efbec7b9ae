"""Secrets stay secret: planted in every setting, they are looked for in everything that the processes say and store."""

import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import aiohttp
import psycopg
import pytest
from aiohttp import web
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow

from aiserv.settings import Settings, SettingsError
from aiserv.tokens import new_token
from tests.processes import aiserv
from tests.providers import Answer, FakeProvider, fake_provider

KEYS = [
    "AI_SERVICE_TOKEN",
    "LLM_API_KEY",
    "WHISPERX_API_KEY",
    "QWEN_AUDIO_API_KEY",
    "VOXTRAL_API_KEY",
    "AUDIO_LLM_API_KEY",
    "INFRA_STATUS_TOKEN",
]
PLANTED = {name: f"planted-{name.lower().replace('_', '-')}" for name in KEYS}
# Given by callers, and nobody's business but theirs.
WRONG = "planted-wrong-token"
IN_URL = "planted-in-a-url"
CHAT = {
    "owner_service": "a",
    "task_type": "llm_chat",
    "model_profile": "qwen",
    "max_attempts": 1,
    "input": {"user": "Hi"},
}
CALL = {**CHAT, "task_type": "transcription", "model_profile": "whisperx"}
OPEN = ["healthz", "readyz", "metrics", "openapi.json"]
SHOWN = [
    f"api/v1/{path}"
    for path in (
        "providers/status",
        "infra/status",
        "workers",
        "stats",
        "queues",
        "nothing",
        "jobs?x=1",
        "jobs?fields=summary",
    )
]


@dataclass
class Said:
    """Everything that was said or stored, by where."""

    texts: dict[str, str] = field(default_factory=dict)

    def leaks(self, secrets: list[str]) -> list[tuple[str, str]]:
        """Where which secret, or its digest, can be read."""
        forms = [(secret, form) for secret in secrets for form in (secret, sha256(secret.encode()).hexdigest())]
        return [(where, secret) for where, text in self.texts.items() for secret, form in forms if form in text]


def echoes(status: int) -> Answer:
    """An answer that says again what it was told, as many servers do."""

    async def reply(request: web.Request) -> web.StreamResponse:
        told = {"headers": dict(request.headers), "url": str(request.url)}
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return web.json_response({"error": {"message": f"no: {json.dumps(told)}, key {key}"}}, status=status)

    return Answer(reply, reads=False)


def recording() -> str:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\0\1" * 16_000)
    return base64.b64encode(held.getvalue()).decode()


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


async def collect(said: Said, name: str, base: str, paths: list[str], authorization: str = "") -> None:
    """Bodies and headers of these paths, whatever their status."""
    async with aiohttp.ClientSession(headers={"Authorization": authorization}) as http:
        for path in paths:
            async with http.get(f"{base}/{path}") as answer:
                said.texts[f"{name} {path}"] = f"{dict(answer.headers)} {await answer.text()}"


@pytest.mark.slow
async def test_no_secret_is_ever_said_or_stored(
    conninfo: str, db: psycopg.Connection[DictRow], provider: FakeProvider, tmp_path: Path
) -> None:
    password = str(conninfo_to_dict(conninfo).get("password") or "planted-password")
    scoped, table = new_token("scoped", "write", "a")
    file = tmp_path / "tokens.toml"
    file.write_text(table)
    variables = {
        **PLANTED,
        "AI_SERVICE_TOKENS_FILE": str(file),
        "DATABASE_URL": make_conninfo(conninfo, password=password),
        "LLM_BASE_URL": provider.base_url,
        "WHISPERX_URL": provider.url,
        "QWEN_AUDIO_BASE_URL": provider.base_url,
        "VOXTRAL_BASE_URL": provider.base_url,
        "TRANSCRIPTION_PROVIDERS": "whisperx,qwen2-audio,voxtral-small",
        "PROVIDER_PATIENCE": "1ms",
        "LOG_LEVEL": "debug",
        "SIDECAR_TOKEN": PLANTED["INFRA_STATUS_TOKEN"],
        "SIDECAR_HTTP_HOST": "127.0.0.1",
        "SIDECAR_HTTP_PORT": "0",
        "SIDECAR_VLLM_URLS": provider.url,
        "SIDECAR_WHISPERX_URLS": provider.url,
    }
    apart = {"DATABASE_URL": f"postgresql://somebody:{password}@127.0.0.1:9/x", "MIGRATE_ON_START": "false"}
    plain, status = f"Bearer {PLANTED['AI_SERVICE_TOKEN']}", f"Bearer {PLANTED['INFRA_STATUS_TOKEN']}"
    said = Said()
    with ExitStack() as stack:
        running = {"sidecar": stack.enter_context(aiserv("sidecar", **variables))}
        variables["INFRA_STATUS_URL"] = f"http://127.0.0.1:{await running['sidecar'].port()}"
        running |= {
            name: stack.enter_context(aiserv(*arguments, **{**variables, **others}))
            for name, arguments, others in (
                ("server", ["serve"], {}),
                ("worker", ["worker"], {}),
                ("server without a database", ["serve"], apart),
            )
        }
        at = {name: f"http://127.0.0.1:{await process.port()}" for name, process in running.items()}
        await work_off(db, provider, f"{at['server']}/api/v1", plain)
        said.texts |= {f"command of {name}": command(process.popen.pid) for name, process in running.items()}
        ended = {
            name: stack.enter_context(aiserv(*arguments, **{**variables, **others}))
            for name, arguments, others in (
                ("doctor", ["doctor"], {}),
                ("doctor as JSON", ["doctor", "--json"], {}),
                ("doctor without a database", ["doctor"], apart),
                ("migration without a database", ["migrate"], apart),
                ("benchmark without a database", ["bench"], apart),
            )
        }
        running |= ended
        for name, sent in {"plain": plain, "scoped": f"Bearer {scoped}", "wrong": f"Bearer {WRONG}"}.items():
            await collect(said, f"server, {name}", at["server"], [*OPEN, *SHOWN], sent)
        for name, sent in {"right": status, "wrong": f"Bearer {WRONG}"}.items():
            await collect(said, f"sidecar, {name}", at["sidecar"], ["healthz", "status", "metrics"], sent)
        await collect(said, "worker", at["worker"], ["healthz", "readyz", "metrics", "worker/status"])
        lonely = at["server without a database"]
        await collect(said, "server without a database", lonely, ["readyz", "metrics", "api/v1/jobs"], plain)
        assert [await process.ended() for process in ended.values()] == [1] * len(ended)
        said.texts |= stored(db)
        db.execute("drop function aiserv.stats cascade")
        await collect(said, "server, a bug", at["server"], ["api/v1/stats", "metrics"], plain)
    said.texts |= {f"log of {name}": process.text for name, process in running.items()}

    # A test that looks at nothing finds nothing: each process has spoken, and the providers were told their keys.
    assert all(len(process.text) > 50 for process in running.values())
    assert "an error of ours" in said.texts["server, a bug api/v1/stats"]
    assert said.texts["table action"].count('"actor": "AI_SERVICE_TOKEN"') == 2
    heard = {request.headers.get("Authorization", "").removeprefix("Bearer ") for request in provider.requests}
    assert heard >= {
        PLANTED[name] for name in ("LLM_API_KEY", "WHISPERX_API_KEY", "QWEN_AUDIO_API_KEY", "VOXTRAL_API_KEY")
    }
    assert said.leaks([*PLANTED.values(), scoped, password, WRONG, IN_URL]) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLM_BASE_URL", "http://somebody:planted@model:8000"),
        ("WHISPERX_URL", "http://somebody:planted@model:8000"),
        ("INFRA_STATUS_URL", "http://sidecar/status?token=planted"),
        ("DATABASE_URL", "mysql://somebody:planted@127.0.0.1/x"),
        ("AI_SERVICE_TOKEN", "planted with blanks"),
        ("LLM_API_KEY", "planted\u00e4"),
    ],
)
def test_a_refused_setting_is_named_and_its_value_is_not(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({name: value})

    assert str(refused.value).startswith(f"{name}: must be ")
    assert "planted" not in str(refused.value)


async def work_off(db: psycopg.Connection[DictRow], provider: FakeProvider, api: str, token: str) -> None:
    """Jobs that end in every way, at a provider that repeats what it was told."""
    jobs = [CHAT, {**CALL, "input": {"audio_base64": recording(), "filename": "a.wav"}}]
    url = f"http://somebody:{IN_URL}@127.0.0.1:9/a.wav?key={IN_URL}"
    async with aiohttp.ClientSession(headers={"Authorization": token}) as http:

        async def finish(*wanted: dict[str, object]) -> None:
            for job in wanted:
                async with http.post(f"{api}/jobs", params={"wait": "60s"}, json=job) as answer:
                    assert (await answer.json())["finished_at"], answer.status

        for status in (400, 200, 500, 401):
            provider.answers(echoes(status))
            await finish(*jobs)
            for name in ("qwen", "whisperx", "qwen2-audio", "voxtral-small"):
                db.execute("select aiserv.report_provider(provider => %s)", [name])
        await finish({**CALL, "input": {"audio_url": url}})
        await step_in(http, api)
        for body in (b"{", b'{"owner_service": 1}', json.dumps({**CHAT, "input": IN_URL, "x": 1}).encode()):
            async with http.post(f"{api}/jobs", data=body, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 400


async def step_in(http: aiohttp.ClientSession, api: str) -> None:
    """What is remembered with the name of the token: one job is cancelled, and one queue is paused."""
    async with http.post(f"{api}/jobs", json={**CHAT, "delay": "1h"}) as created:
        job_id = (await created.json())["id"]
    async with http.post(f"{api}/jobs/{job_id}/cancel", json={"reason": "not needed"}) as cancelled:
        assert cancelled.status == 200
    async with http.put(f"{api}/queues/none", json={"paused": True}) as paused:
        assert paused.status == 200


def command(pid: int) -> str:
    """What anybody on the machine may read of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def stored(db: psycopg.Connection[DictRow]) -> dict[str, str]:
    """All rows, but for what callers gave themselves."""
    rows = db.execute("select tablename as name from pg_tables where schemaname = 'aiserv'").fetchall()
    query = sql.SQL("select coalesce(json_agg(to_jsonb(row) - 'input'), '[]')::text as text from aiserv.{} as row")
    return {
        f"table {row['name']}": one["text"]
        for row in rows
        for one in db.execute(query.format(sql.Identifier(row["name"]))).fetchall()
    }
