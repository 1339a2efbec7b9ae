"""Settings: what the environment may say, and what is answered when it says something else."""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from aiserv.settings import Settings, SettingsError, WorkerSettings

MIB = 1024 * 1024
KEYS = (SecretStr("one"), SecretStr("two"))

# One line for each variable: its text, where it is found, and as what.
VARIABLES: list[tuple[str, str, str, object]] = [
    ("HTTP_HOST", "::1", "server.http_host", "::1"),
    ("HTTP_PORT", "0", "server.http_port", 0),
    ("HTTP_MAX_BODY", "1 MiB", "server.http_max_body", MIB),
    ("HTTP_MAX_BATCH_BODY", "2MiB", "server.http_max_batch_body", 2 * MIB),
    ("HTTP_SHUTDOWN_TIMEOUT", "1m", "server.http_shutdown_timeout", timedelta(minutes=1)),
    ("AI_SERVICE_TOKEN", " one, two,,one", "server.ai_service_token", KEYS),
    ("AI_SERVICE_TOKENS_FILE", __file__, "server.ai_service_tokens_file", Path(__file__)),
    ("MAX_PENDING", "100", "server.max_pending", 100),
    ("MAX_PENDING_PER_OWNER", "10", "server.max_pending_per_owner", 10),
    ("JOB_RETENTION", "0", "server.job_retention", timedelta(0)),
    ("DATABASE_URL", "postgresql://h/db", "database.url", "postgresql://h/db"),
    ("DATABASE_LISTEN_URL", "host=h dbname=db", "database.listen_url", "host=h dbname=db"),
    ("DATABASE_POOL_SIZE", "5", "database.pool_size", 5),
    ("MIGRATE_ON_START", "off", "database.migrate_on_start", False),
    ("LLM_BASE_URL", "https://llm.internal", "llm.base_url", "https://llm.internal/v1"),
    ("LLM_API_KEY", "one", "llm.api_key", KEYS[0]),
    ("LLM_MODEL", "qwen3", "llm.model", "qwen3"),
    ("LLM_TIMEOUT", "90", "llm.timeout", timedelta(seconds=90)),
    (
        "TRANSCRIPTION_PROVIDERS",
        "voxtral-small, whisperx, voxtral-small",
        "transcription.providers",
        ("voxtral-small", "whisperx"),
    ),
    ("TRANSCRIPTION_TIMEOUT", "1.5h", "transcription.timeout", timedelta(minutes=90)),
    ("WHISPERX_URL", "http://a/, http://b", "transcription.whisperx_url", ("http://a", "http://b")),
    ("WHISPERX_API", "tasks", "transcription.whisperx_api", "tasks"),
    ("WHISPERX_MODEL", "large-v3", "transcription.whisperx_model", "large-v3"),
    ("WHISPERX_API_KEY", "one", "transcription.whisperx_api_key", KEYS[0]),
    ("QWEN_AUDIO_BASE_URL", "http://q", "transcription.qwen_audio_base_url", "http://q/v1"),
    ("QWEN_AUDIO_MODEL", "qwen3-omni", "transcription.qwen_audio_model", "qwen3-omni"),
    ("QWEN_AUDIO_API_KEY", "one", "transcription.qwen_audio_api_key", KEYS[0]),
    ("VOXTRAL_BASE_URL", "http://v", "transcription.voxtral_base_url", "http://v/v1"),
    ("VOXTRAL_MODEL", "voxtral", "transcription.voxtral_model", "voxtral"),
    ("VOXTRAL_API_KEY", "one", "transcription.voxtral_api_key", KEYS[0]),
    ("VOXTRAL_API", "transcriptions", "transcription.voxtral_api", "transcriptions"),
    ("AUDIO_LLM_API_KEY", "one", "transcription.voxtral_api_key", KEYS[0]),
    ("AUDIO_LLM_PROMPT", "Пиши дословно", "transcription.audio_llm_prompt", "Пиши дословно"),
    ("AUDIO_LLM_MAX_TOKENS", "100", "transcription.audio_llm_max_tokens", 100),
    ("AUDIO_MAX_BYTES", "1048576", "transcription.audio_max_bytes", MIB),
    (
        "AUDIO_URL_ALLOWED_HOSTS",
        "S3.internal, *.example.com, 10.0.0.0/8, fd00::/8",
        "transcription.audio_url_allowed_hosts",
        ("s3.internal", "*.example.com", ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    ),
    ("WORKER_ID", "gpu-1", "worker.id", "gpu-1"),
    ("WORKER_HTTP_HOST", "127.0.0.1", "worker.http_host", "127.0.0.1"),
    ("WORKER_HTTP_PORT", "9000", "worker.http_port", 9000),
    ("WORKER_POLL_INTERVAL", "500ms", "worker.poll_interval", timedelta(milliseconds=500)),
    ("WORKER_CLAIM_LIMIT", "8", "worker.claim_limit", 8),
    ("WORKER_LEASE_TIMEOUT", "24h", "worker.lease_timeout", timedelta(hours=24)),
    ("WORKER_SHUTDOWN_TIMEOUT", "1m", "worker.shutdown_timeout", timedelta(minutes=1)),
    ("PROVIDER_PATIENCE", "2h", "worker.provider_patience", timedelta(hours=2)),
    ("INFRA_STATUS_URL", "http://gpu:9100/", "infrastructure.status_url", "http://gpu:9100"),
    ("INFRA_STATUS_TOKEN", "one", "infrastructure.status_token", KEYS[0]),
    ("LOG_LEVEL", "DEBUG", "log.level", "debug"),
    ("LOG_FORMAT", "console", "log.format", "console"),
]

PGX = [
    "pool_min_conns=1",
    "pool_max_conns=7",
    "pool_max_conn_lifetime=1h",
    "pool_max_conn_idle_time=5m",
    "pool_health_check_period=1m",
    "default_query_exec_mode=exec",
    "statement_cache_capacity=0",
    "application_name=pool_a",  # libpq knows this one
]

WRONG = [
    ("HTTP_PORT", "65536"),
    ("HTTP_PORT", "http"),
    ("HTTP_HOST", "a b"),
    ("HTTP_MAX_BODY", "0"),
    ("HTTP_MAX_BODY", "16 MiB more"),
    ("HTTP_MAX_BODY", "16 apples"),
    ("HTTP_SHUTDOWN_TIMEOUT", "0"),
    ("AI_SERVICE_TOKEN", ","),
    ("AI_SERVICE_TOKEN", "one,clé"),
    ("AI_SERVICE_TOKENS_FILE", "/no/such/file"),
    ("MAX_PENDING", "0"),
    ("JOB_RETENTION", "-1h"),
    ("DATABASE_URL", "mysql://h/db"),
    ("DATABASE_URL", "postgresql://h/\udcff"),
    ("DATABASE_POOL_SIZE", "0"),
    ("MIGRATE_ON_START", "maybe"),
    ("LLM_BASE_URL", "llm:8000"),
    ("LLM_BASE_URL", "http://user:password@llm:8000"),
    ("LLM_BASE_URL", "http://llm:70000"),
    ("LLM_BASE_URL", "http://llm:8000/v1?key=secret"),
    ("LLM_API_KEY", "two words"),
    ("LLM_MODEL", "m" * 201),
    ("LLM_TIMEOUT", "5 m"),
    ("LLM_TIMEOUT", "1d"),
    ("LLM_TIMEOUT", "-5m"),
    ("TRANSCRIPTION_PROVIDERS", "whisperx,whisper"),
    ("WHISPERX_URL", "http://a,b"),
    ("WHISPERX_API", "grpc"),
    ("VOXTRAL_API", "completions"),
    ("AUDIO_URL_ALLOWED_HOSTS", "10.0.0.0/33"),
    ("AUDIO_URL_ALLOWED_HOSTS", "http://h"),
    ("WORKER_ID", "w" * 201),
    ("WORKER_CLAIM_LIMIT", "1001"),
    ("WORKER_LEASE_TIMEOUT", "25h"),
    ("PROVIDER_PATIENCE", "99999999999999h"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
]


def found(settings: Settings, path: str) -> object:
    group, name = path.split(".")
    return getattr(getattr(settings, group), name)


@pytest.mark.parametrize(("name", "text", "path", "value"), VARIABLES, ids=[name for name, *_ in VARIABLES])
def test_a_variable_is_found_under_its_name(name: str, text: str, path: str, value: object) -> None:
    settings = Settings.load({"DATABASE_URL": "postgresql://default/db", name: f" {text}\n"})

    assert found(settings, path) == value


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: \S") as refused:
        Settings.load({name: text})

    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "mysql://user:geheim@h/db"),
        ("DATABASE_URL", "geheim"),
        ("LLM_API_KEY", "geheim geheim"),
        ("AI_SERVICE_TOKEN", "geheim geheim,geheim"),
        ("LLM_BASE_URL", "http://user:geheim@llm"),
        ("LLM_BASE_URL", "http://llm:geheim"),
        ("WHISPERX_URL", "http://a,http://[geheim]"),
        ("HTTP_PORT", "geheim"),
        ("LLM_TIMEOUT", "geheim"),
        ("HTTP_MAX_BODY", "1 geheim"),
        ("LOG_FORMAT", "geheim"),
        ("TRANSCRIPTION_PROVIDERS", "geheim"),
        ("AI_SERVICE_TOKENS_FILE", "/geheim"),
    ],
)
def test_a_refusal_does_not_repeat_the_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({name: text})

    assert "geheim" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("HTTP_PORT", "http", "must be an integer"),
        ("MIGRATE_ON_START", "perhaps", "must be true or false"),
        ("AI_SERVICE_TOKENS_FILE", "/not/there", "must be the path of a file"),
        ("WORKER_CLAIM_LIMIT", "0", "must be greater than or equal to 1"),
    ],
)
def test_a_refusal_says_what_is_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: {expected}$"):
        Settings.load({name: text})


def test_every_bad_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({"HTTP_PORT": "http", "LLM_TIMEOUT": "soon", "LOG_LEVEL": "loud"})

    named = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert named == ["HTTP_PORT", "LLM_TIMEOUT", "LOG_LEVEL"]


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.load(dict.fromkeys((name for name, *_ in VARIABLES), "  "))

    assert settings == Settings.load({})
    assert settings.server.http_port == 8080
    assert settings.server.http_max_body == 16 * MIB
    assert settings.server.http_max_batch_body == 64 * MIB
    assert settings.server.http_shutdown_timeout == timedelta(seconds=20)
    assert settings.server.ai_service_token == ()
    assert settings.server.job_retention == timedelta(hours=720)
    assert settings.database.pool_size == 10
    assert settings.database.migrate_on_start
    assert settings.llm.base_url is None
    assert settings.llm.model == "qwen2.5-14b"
    assert settings.llm.timeout == timedelta(minutes=5)
    assert settings.transcription.providers == ("whisperx",)
    assert settings.transcription.timeout == timedelta(minutes=30)
    assert (settings.transcription.whisperx_api, settings.transcription.voxtral_api) == ("auto", "chat")
    assert settings.transcription.audio_llm_max_tokens == 4096
    assert settings.transcription.audio_max_bytes == 256 * MIB
    assert settings.worker.poll_interval == timedelta(seconds=2)
    assert settings.worker.claim_limit == 4
    assert settings.worker.lease_timeout == timedelta(minutes=15)
    assert settings.worker.shutdown_timeout == timedelta(seconds=30)
    assert settings.worker.provider_patience == timedelta(hours=1)
    assert settings.worker.id
    assert settings.log.format is None


def test_the_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_ID", "from the environment")

    assert Settings.load().worker.id == "from the environment"
    assert Settings.load(WORKER_ID="given").worker.id == "given"


def test_only_commands_that_need_the_database_ask_for_its_url() -> None:
    database = Settings.load({}).database

    assert database.configured_url is None
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: "):
        _ = database.url
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: "):
        _ = database.listen_url


def test_listening_defaults_to_the_database_url() -> None:
    database = Settings.load({"DATABASE_URL": "postgresql://h/db"}).database

    assert database.listen_url == "postgresql://h/db"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgres://h/db?pool_max_conns=7&sslmode=require", "postgres://h/db?sslmode=require"),
        (
            "postgres://u:p?w@a:1,b:2/db?target_session_attrs=read-write&" + "&".join(PGX),
            "postgres://u:p?w@a:1,b:2/db?target_session_attrs=read-write&application_name=pool_a",
        ),
        ("host=h pool_max_conns=7 dbname=db", "host=h dbname=db"),
    ],
)
def test_a_url_written_for_pgx_loses_what_libpq_refuses_and_sets_the_pool_size(given: str, url: str) -> None:
    database = Settings.load({"DATABASE_URL": given}).database

    assert database.url == url
    assert database.pool_size == 7


def test_the_pool_size_of_pgx_yields_to_ours_and_is_checked() -> None:
    url = "postgres://h/db?pool_max_conns=7"

    assert Settings.load({"DATABASE_URL": url, "DATABASE_POOL_SIZE": "3"}).database.pool_size == 3
    with pytest.raises(SettingsError, match=r"^pool_max_conns in DATABASE_URL: "):
        Settings.load({"DATABASE_URL": f"{url}x"})


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://llm:8000", "http://llm:8000/v1"),
        ("http://llm:8000/", "http://llm:8000/v1"),
        ("http://llm:8000/v1/", "http://llm:8000/v1"),
        ("http://llm:8000/v1/chat/completions", "http://llm:8000/v1"),
        ("https://gateway/openai/v1/chat/completions/", "https://gateway/openai/v1"),
        ("https://gateway/compatible-mode", "https://gateway/compatible-mode"),
        ("http://[fd00::1]:8000", "http://[fd00::1]:8000/v1"),
    ],
)
def test_a_base_url_is_brought_into_one_form(given: str, base: str) -> None:
    assert Settings.load({"LLM_BASE_URL": given}).llm.base_url == base


@pytest.mark.parametrize(
    ("keys", "qwen", "voxtral"),
    [
        ({"LLM_API_KEY": "llm"}, "llm", "llm"),
        ({"LLM_API_KEY": "llm", "AUDIO_LLM_API_KEY": "audio"}, "audio", "audio"),
        ({"AUDIO_LLM_API_KEY": "audio", "VOXTRAL_API_KEY": "voxtral"}, "audio", "voxtral"),
        ({"LLM_API_KEY": "llm", "QWEN_AUDIO_API_KEY": "qwen"}, "qwen", "llm"),
    ],
)
def test_the_key_of_an_audio_model_falls_back(keys: dict[str, str], qwen: str, voxtral: str) -> None:
    transcription = Settings.load(keys).transcription

    assert transcription.qwen_audio_api_key == SecretStr(qwen)
    assert transcription.voxtral_api_key == SecretStr(voxtral)
    assert transcription.whisperx_api_key is None


def test_secrets_are_not_printed() -> None:
    names = ("AI_SERVICE_TOKEN", "LLM_API_KEY", "WHISPERX_API_KEY", "INFRA_STATUS_TOKEN")

    settings = Settings.load({"DATABASE_URL": "postgresql://u:hush-hush@h/db", **dict.fromkeys(names, "hush-hush")})

    assert "hush-hush" not in f"{settings!r} {settings}"


def test_settings_can_be_given_in_python_and_do_not_change() -> None:
    worker = WorkerSettings(claim_limit=1, poll_interval=timedelta(hours=1))

    assert (worker.claim_limit, worker.poll_interval) == (1, timedelta(hours=1))
    with pytest.raises(ValueError, match="frozen"):
        worker.claim_limit = 2
