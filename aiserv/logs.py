"""Log lines of every library and ours in one form: JSON for machines, plain lines on a terminal."""

import logging
import re
import sys
from typing import Final

import structlog

from aiserv.settings import LogSettings

# At a lower level these repeat requests: payloads, keys, addresses.
TALKATIVE: Final = ("openai", "httpx2", "httpcore2")

# What a terminal would obey, or take for the end of a line. Texts that callers chose may hold it.
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(log: LogSettings) -> None:
    """Send every log record to stderr; call it once, before the first record.

    A line of JSON has `timestamp` (RFC 3339, UTC), `level`, `logger`, `message`, `exception` if there is one, and what
    `extra` or structlog's context variables add.
    """
    console = sys.stderr.isatty() if log.format is None else log.format == "console"
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_discreet)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.processors.TimeStamper("%Y-%m-%dT%H:%M:%S.%fZ", utc=True),
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.contextvars.merge_contextvars,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(console=console)],
        )
    )
    logging.basicConfig(level=log.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def _renderers(*, console: bool) -> list[structlog.typing.Processor]:
    if console:
        # The default formatter prints local variables, payloads and secrets among them.
        plain = structlog.dev.plain_traceback
        return [_on_one_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _on_one_line(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The event with its control characters spelt out, so that nobody can make up lines; JSON does so by itself."""
    event["event"] = CONTROL.sub(lambda found: repr(found[0])[1:-1], str(event["event"]))
    return event


def _is_discreet(record: logging.LogRecord) -> bool:
    """A filter and not a level: openai sets its own level when OPENAI_LOG is in the environment."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] not in TALKATIVE
