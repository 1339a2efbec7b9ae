"""The dialects of WhisperX servers: what each wants to be asked, at which address.

- `asr`: ahmetoner/whisper-asr-webservice, murtaza-nasir/whisperx-asr-service. Options are query parameters.
- `openai`: Nyralei/whisperx-api-server, suitenumerique/meet-whisperx, speaches, vLLM. Options are form fields.
- `tasks`: pavelzbornik/whisperX-FastAPI and its forks. Answers with the name of a task, which is asked for later.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from workers.providers.pieces import Wanted

Dialect: TypeAlias = Literal["asr", "openai", "tasks"]

# In the order of preference: the OpenAI route of a server that also has /asr knows no speakers.
ROUTES: Final[Mapping[Dialect, str]] = {
    "asr": "/asr",
    "tasks": "/speech-to-text",
    "openai": "/v1/audio/transcriptions",
}
FILE_FIELDS: Final[Mapping[Dialect, str]] = {"asr": "audio_file", "tasks": "file", "openai": "file"}
# The server of the `tasks` dialect would take "tiny".
TASKS_MODEL: Final = "large-v3"


def dialect_in(url: str) -> Dialect | None:
    """The dialect that the path of the URL gives away, if it has one."""
    path = urlsplit(url).path
    if path.endswith("/v1"):
        return "openai"
    return next((dialect for dialect, route in ROUTES.items() if path.endswith(route)), None)


def dialect_described(body: bytes) -> Dialect | None:
    """The dialect of the server whose /openapi.json this is, or None."""
    try:
        described = json.loads(body)
        paths = described["paths"]
        return next((dialect for dialect, route in ROUTES.items() if route in paths), None)
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def parameters(dialect: Dialect, wanted: Wanted, model: str | None) -> dict[str, str]:
    """The options of the dialect's query."""
    if dialect == "asr":
        # murtaza-nasir's calls it output_format.
        fixed = {"encode": "true", "task": "transcribe", "output": "json", "output_format": "json"}
        return {**fixed, **_said(wanted, model, diarize="diarize", prompt="initial_prompt")}
    if dialect == "tasks":
        # It always looks for speakers.
        return {"task": "transcribe", **_said(wanted, model or TASKS_MODEL, prompt="initial_prompt")}
    return {}


def fields(dialect: Dialect, wanted: Wanted, model: str | None, response_format: str) -> dict[str, str]:
    """The options of the dialect's form, beside the file."""
    if dialect != "openai":
        return {}
    options = _said(wanted, model, diarize="diarize", prompt="prompt")
    if wanted.diarize:
        options["align"] = "true"  # Nyralei's needs that for speakers
    if response_format == "verbose_json":
        options["timestamp_granularities[]"] = "segment"
    return {"response_format": response_format, **options}


def task_url(root: str, identifier: str) -> str:
    """Where a task is asked for."""
    return f"{root}/task/{quote(identifier, safe='')}"


def _said(wanted: Wanted, model: str | None, *, prompt: str, diarize: str | None = None) -> dict[str, str]:
    options = {"model": model, "language": wanted.language, prompt: wanted.prompt}
    if diarize is not None and wanted.diarize is not None:
        options[diarize] = "true" if wanted.diarize else "false"
    for name, count in (("min_speakers", wanted.min_speakers), ("max_speakers", wanted.max_speakers)):
        if count is not None:
            options[name] = str(count)
    return {name: value for name, value in options.items() if value is not None}
