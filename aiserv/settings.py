"""Every setting of aiserv: environment variables, checked and typed before anything starts."""

import os
import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FilePath,
    ValidationError,
    model_validator,
)

from aiserv.values import (
    PGX_PARAMETER,
    AllowedHost,
    BaseUrl,
    Count,
    Duration,
    Host,
    Listed,
    LogLevel,
    Name,
    Port,
    PostgresUrl,
    Secret,
    Size,
    Text,
    TranscriptionProvider,
    WebUrl,
    duration_within,
)

MIB: Final = 1024 * 1024
_PGX_POOL_SIZE: Final = "pool_max_conns in DATABASE_URL"
# What pydantic says of its own types, in the words of ours.
_MESSAGES: Final = {
    "int_parsing": "must be an integer",
    "bool_parsing": "must be true or false",
    "path_not_file": "must be the path of a file",
}


class SettingsError(Exception):
    """Settings are missing or wrong; the message names each variable and says what is expected."""


class _Group(BaseModel):
    """Settings of one concern. A field is read from the variable of its name, in upper case."""

    model_config = ConfigDict(
        frozen=True,
        validate_by_alias=True,
        validate_by_name=True,
        alias_generator=AliasGenerator(validation_alias=str.upper),
    )


def _prefixed(prefix: str) -> ConfigDict:
    """The names of a group's variables begin with this."""
    return ConfigDict(alias_generator=AliasGenerator(validation_alias=lambda field: f"{prefix}{field.upper()}"))


class DatabaseSettings(_Group):
    """Where PostgreSQL is and who brings its schema up to date."""

    model_config = _prefixed("DATABASE_")

    configured_url: PostgresUrl | None = Field(default=None, validation_alias="DATABASE_URL", repr=False)
    configured_listen_url: PostgresUrl | None = Field(default=None, validation_alias="DATABASE_LISTEN_URL", repr=False)
    pool_size: Count = Field(default=10, validation_alias=AliasChoices("DATABASE_POOL_SIZE", _PGX_POOL_SIZE))
    migrate_on_start: bool = Field(default=True, validation_alias="MIGRATE_ON_START")

    @model_validator(mode="before")
    @classmethod
    def _read_pool_size_of_pgx(cls, variables: dict[str, str]) -> dict[str, str]:
        parameters = dict(PGX_PARAMETER.findall(variables.get("DATABASE_URL", "")))
        if "pool_max_conns" not in parameters:
            return variables
        return {**variables, _PGX_POOL_SIZE: parameters["pool_max_conns"]}

    @property
    def url(self) -> str:
        """Raises SettingsError if DATABASE_URL is not set."""
        if self.configured_url is None:
            raise SettingsError("DATABASE_URL: must be set to a postgresql:// URL")
        return self.configured_url

    @property
    def listen_url(self) -> str:
        """The way past a transaction pooler. Raises SettingsError if no URL is set."""
        return self.configured_listen_url or self.url


class ServerSettings(_Group):
    """The HTTP server: where it listens, whom it lets in, what it takes and keeps."""

    http_host: Host = "0.0.0.0"  # noqa: S104 - a container is reached from outside
    http_port: Port = 8080
    http_max_body: Size = ByteSize(16 * MIB)
    http_max_batch_body: Size = ByteSize(64 * MIB)
    http_shutdown_timeout: Duration = timedelta(seconds=20)
    ai_service_token: Listed[Secret] = ()
    ai_service_tokens_file: FilePath | None = None
    max_pending: Count | None = None
    max_pending_per_owner: Count | None = None
    job_retention: Annotated[timedelta, duration_within("0", "876000h")] = timedelta(hours=720)


class LlmSettings(_Group):
    """The provider of chat completions; None as `base_url` means there is none."""

    model_config = _prefixed("LLM_")

    base_url: BaseUrl | None = None
    api_key: Secret | None = None
    model: Name = "qwen2.5-14b"
    timeout: Duration = timedelta(minutes=5)


class TranscriptionSettings(_Group):
    """The providers of transcriptions, in the order they are tried; one without URL is skipped."""

    providers: Listed[TranscriptionProvider] = Field(default=("whisperx",), validation_alias="TRANSCRIPTION_PROVIDERS")
    timeout: Duration = Field(default=timedelta(minutes=30), validation_alias="TRANSCRIPTION_TIMEOUT")
    whisperx_url: Listed[WebUrl] = ()
    whisperx_api: Literal["auto", "asr", "openai", "tasks"] = "auto"
    whisperx_model: Text | None = None
    whisperx_api_key: Secret | None = None
    qwen_audio_base_url: BaseUrl | None = None
    qwen_audio_model: Name = "Qwen/Qwen2-Audio-7B-Instruct"
    qwen_audio_api_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("QWEN_AUDIO_API_KEY", "AUDIO_LLM_API_KEY", "LLM_API_KEY"),
    )
    voxtral_base_url: BaseUrl | None = None
    voxtral_model: Name = "mistralai/Voxtral-Small-24B-2507"
    voxtral_api_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("VOXTRAL_API_KEY", "AUDIO_LLM_API_KEY", "LLM_API_KEY"),
    )
    voxtral_api: Literal["chat", "transcriptions"] = "chat"
    audio_llm_prompt: Text | None = None
    audio_llm_max_tokens: Count = 4096
    audio_max_bytes: Size = ByteSize(256 * MIB)
    audio_url_allowed_hosts: Listed[AllowedHost] = ()

    @property
    def configured(self) -> bool:
        """Whether any provider has a URL."""
        return any((self.whisperx_url, self.qwen_audio_base_url, self.voxtral_base_url))

    @property
    def secrets(self) -> list[str]:
        keys = (self.whisperx_api_key, self.qwen_audio_api_key, self.voxtral_api_key)
        return [key.get_secret_value() for key in keys if key is not None]


class WorkerSettings(_Group):
    """A worker process: its name, its port, how it claims, holds and gives back."""

    model_config = _prefixed("WORKER_")

    id: Name = Field(default_factory=socket.gethostname)
    http_host: Host = "0.0.0.0"  # noqa: S104 - a container is reached from outside
    http_port: Port = 8081
    poll_interval: Duration = timedelta(seconds=2)
    claim_limit: Annotated[int, Field(ge=1, le=1000)] = 4
    lease_timeout: Annotated[timedelta, duration_within("1s", "24h")] = timedelta(minutes=15)
    shutdown_timeout: Duration = timedelta(seconds=30)
    provider_patience: Duration = Field(default=timedelta(hours=1), validation_alias="PROVIDER_PATIENCE")


class InfrastructureSettings(_Group):
    """The sidecar on the AI server."""

    model_config = _prefixed("INFRA_")

    status_url: WebUrl | None = None
    status_token: Secret | None = None


class SidecarSettings(_Group):
    """The sidecar itself: what it looks at, and who may see it."""

    model_config = _prefixed("SIDECAR_")

    http_host: Host = "0.0.0.0"  # noqa: S104 - a container is reached from outside
    http_port: Port = 8090
    token: Listed[Secret] = ()
    vllm_urls: Listed[WebUrl] = ()
    whisperx_urls: Listed[WebUrl] = ()
    docker_socket: Path = Path("/var/run/docker.sock")
    sample_interval: Annotated[timedelta, duration_within("100ms", "1h")] = timedelta(seconds=5)

    @property
    def tokens(self) -> list[str]:
        """Several, so that one can be replaced without an interruption. Raises SettingsError if there is none."""
        if not self.token:
            raise SettingsError("SIDECAR_TOKEN: must be set; INFRA_STATUS_TOKEN of the API server is the same")
        return [token.get_secret_value() for token in self.token]


class LogSettings(_Group):
    """What is logged; without `format` a terminal gets lines for people, all else gets JSON."""

    model_config = _prefixed("LOG_")

    level: LogLevel = "info"
    format: Literal["json", "console"] | None = None


class Settings(BaseModel):
    """All settings, read once and never changed."""

    model_config = ConfigDict(frozen=True)

    database: DatabaseSettings
    server: ServerSettings
    llm: LlmSettings
    transcription: TranscriptionSettings
    worker: WorkerSettings
    infrastructure: InfrastructureSettings
    sidecar: SidecarSettings
    log: LogSettings

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, /, **variables: str) -> Self:
        """The settings in the environment, with `variables` in place of those of the same name.

        Raises SettingsError that has a line for every bad variable.
        """
        given = {
            name: value
            for name, text in {**environ, **variables}.items()
            if name.isupper() and (value := text.strip())  # lower case would name a field
        }
        try:
            return cls.model_validate(dict.fromkeys(cls.model_fields, given))
        except ValidationError as error:
            lines = (f"{bad['loc'][1]}: {_expected(bad['type'], bad['msg'])}" for bad in error.errors())
            raise SettingsError("\n".join(dict.fromkeys(lines))) from None


def _expected(kind: str, message: str) -> str:
    """What pydantic says, in our words. The messages met here never repeat a value."""
    return _MESSAGES.get(kind) or re.sub(r"^\w+ should ", "must ", message.removeprefix("Value error, "))
