"""`aiserv doctor`: what is wrong with an installation, and what to do, before its users find out."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiohttp

from aiserv.database import Caps, Database, DatabaseError, why_unreachable
from aiserv.drift import MIGRATE, drift
from aiserv.infra import InfraStatus
from aiserv.listener import Listener
from aiserv.migrate import sql_files
from aiserv.probes import NOT_ALLOWED, NOT_INSTALLED
from aiserv.providers_status import ProvidersStatus, work_of
from aiserv.queries.installation import Finding
from aiserv.settings import Settings
from aiserv.tokens import Tokens

# Leases are judged by PostgreSQL's clock alone: a difference confuses people and logs, and nothing else.
MAX_SKEW_SECONDS: Final = 5.0
# How PgBouncer refuses what it does not know.
REFUSED_OPTIONS: Final = "unsupported startup parameter: options"
# What the sessions of a server wait for at most, as PostgreSQL shows it.
TIMEOUTS: Final = {"lock_timeout": "4s", "statement_timeout": "1min"}
# How the variables of a provider begin.
PREFIXES: Final = {"llm": "LLM", "whisperx": "WHISPERX", "qwen2-audio": "QWEN_AUDIO", "voxtral-small": "VOXTRAL"}
WORST: Final = ("ok", "warning", "problem")


async def examine(settings: Settings) -> list[Finding]:
    """All findings, the good ones too. Raises SettingsError without DATABASE_URL or for a bad file of tokens."""
    url, listen_url = settings.database.url, settings.database.listen_url
    findings = [_tokens(settings)]
    unreachable = await why_unreachable(url)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
        if unreachable:
            advice = "Start PostgreSQL, or mend address, database, user or password in DATABASE_URL."
            if REFUSED_OPTIONS in unreachable:
                advice = "Let the pooler ignore them (PgBouncer: ignore_startup_parameters = options), and ask again."
            findings.append(Finding("connection", "problem", unreachable, advice))
            return [*findings, *await _ai(settings, http, None)]
        caps = Caps(settings.server.max_pending, settings.server.max_pending_per_owner)
        async with Database.open(url, size=1, name="aiserv doctor", caps=caps) as database:
            findings.append(Finding("connection", "ok", "PostgreSQL answers"))
            findings.append(await arrived(database, caps))
            findings += await _schema(database)
            findings.append(await listening(listen_url))
            findings.append(await clock(database))
            return [*findings, *await _ai(settings, http, database)]


def worst(findings: Iterable[Finding]) -> str:
    """The status of all together."""
    return max((finding.status for finding in findings), key=WORST.index)


def as_json(findings: list[Finding]) -> str:
    """The findings as a JSON object: `status`, and `findings` with `topic`, `status`, `detail`, `advice` each."""
    document: dict[str, Any] = {"status": worst(findings), "findings": [finding._asdict() for finding in findings]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_text(findings: list[Finding]) -> str:
    """The findings in lines for people, advice below what it is for."""
    width = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:8} {finding.topic:{width}}  {finding.detail}")
        if finding.advice:
            lines.append(f"{'':8} {'':{width}}  → {finding.advice}")
    return "\n".join(lines)


def _tokens(settings: Settings) -> Finding:
    plain = [token.get_secret_value() for token in settings.server.ai_service_token]
    if Tokens(plain, settings.server.ai_service_tokens_file).is_open:
        advice = "Set AI_SERVICE_TOKEN or AI_SERVICE_TOKENS_FILE, unless nobody else reaches the port."
        return Finding("tokens", "warning", "none: whoever reaches the port may use the API", advice)
    return Finding("tokens", "ok", "the API needs one")


async def _schema(database: Database) -> list[Finding]:
    try:
        findings = drift(sql_files(), await database.installed_files(), await database.routines())
        return [*findings, *await database.check_installation()]
    except DatabaseError as error:
        if error.sqlstate in NOT_INSTALLED:
            return [Finding("schema", "problem", "not installed, or of another version", MIGRATE)]
        if error.sqlstate == NOT_ALLOWED:
            advice = "Grant aiserv_service to the role that servers and workers log in as."
            return [Finding("schema", "problem", "this role may not use it", advice)]
        raise


async def arrived(database: Database, caps: Caps) -> Finding:
    """Whether our settings reach PostgreSQL, the caps on waiting jobs among them: a pooler may drop them silently."""
    capped = {name: str(most) for name, most in caps.session().items()}
    wanted = {**TIMEOUTS, **capped}
    lost = [name for name, value in wanted.items() if await database.setting(name) != value]
    if lost:
        role = await database.setting("session_authorization")
        statements = [f"alter role \"{role}\" set {name} = '{wanted[name]}';" for name in lost]
        advice = f"Set them in PostgreSQL, as a superuser, then reconnect the pooler: {' '.join(statements)}"
        return Finding("settings", "problem", f"lost on the way: {', '.join(lost)}", advice)
    said = ", ".join(f"{name} {most}" for name, most in capped.items())
    return Finding("settings", "ok", said or "they arrive; no caps on waiting jobs")


async def listening(conninfo: str) -> Finding:
    """Whether a notification sent on the way that listeners take comes back."""
    try:
        await Listener(conninfo, {}, name="aiserv doctor", on_connect=lambda: None).prove()
    except (DatabaseError, OSError) as error:
        advice = (
            "Set DATABASE_LISTEN_URL to a connection that goes past a transaction pooler. "
            "Until then workers poll, and waits and events are late."
        )
        return Finding("listen", "problem", str(error), advice)
    return Finding("listen", "ok", "notifications arrive")


async def clock(database: Database, now: Callable[[], float] = time.time) -> Finding:
    """How far PostgreSQL's clock is from ours, as far as the round trip lets us know."""
    before = now()
    theirs = (await database.clock()).timestamp()
    after = now()
    skew = max(before - theirs, theirs - after, 0.0)
    if skew > MAX_SKEW_SECONDS:
        advice = "Let both machines take their time from NTP. Leases are safe: PostgreSQL's clock alone judges them."
        return Finding("clock", "warning", f"{skew:.1f} s from PostgreSQL's", advice)
    return Finding("clock", "ok", f"within {MAX_SKEW_SECONDS:.0f} s of PostgreSQL's")


async def _ai(settings: Settings, http: aiohttp.ClientSession, database: Database | None) -> list[Finding]:
    """Whether the model servers and the sidecar answer."""
    work = work_of(settings, database) if database else None
    providers = (await ProvidersStatus(settings, http, work).status())["providers"]
    findings = [_provider(provider) for provider in providers if provider["configured"]]
    infra = await InfraStatus(settings.infrastructure, http).status()
    if infra["configured"]:
        advice = None if infra["available"] else "Look at the sidecar on the AI server, INFRA_STATUS_URL and its token."
        status = "ok" if infra["available"] else "warning"
        said = (infra["error"] or "answers").removeprefix("the sidecar: ")
        findings.append(Finding("sidecar", status, said, advice))
    return findings


def _provider(provider: dict[str, Any]) -> Finding:
    topic = f"provider {provider['name']}"
    prefix = PREFIXES[provider["name"]]
    where = f"{provider['endpoint']}: {provider['error'] or provider['status']}"
    if provider["status"] in {"ok", "busy"}:
        return Finding(topic, "ok", where)
    if provider["status"] == "degraded":
        return Finding(
            topic, "warning", where, f"It answers; mend {prefix}_API_KEY, {prefix}_MODEL or what its jobs met."
        )
    url = "URL" if prefix == "WHISPERX" else "BASE_URL"
    return Finding(topic, "problem", where, f"Start it, or mend {prefix}_{url}: its jobs wait until it answers.")
