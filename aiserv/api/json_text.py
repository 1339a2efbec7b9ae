"""Strict JSON: what RFC 8259 leaves open is refused here, so that no reader later on can differ."""

import json
import re
from collections import Counter
from typing import Any, Final, NoReturn

from aiserv.problems import Problem

MAX_DEPTH: Final = 100
PAYLOADS: Final = {"input", "result", "progress", "metadata"}
# As many as any field of ours can need; a longer number is a payload's and stays text.
MAX_DIGITS: Final = 30

# A string, so that brackets in it do not count; or a bracket. Unrolled: it never goes back.
_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|[\]}]', re.DOTALL)
_ESCAPED_BACKSLASH: Final = re.compile(r"\\\\")
_SURROGATE_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_UNSTORABLE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")


class _Fields(dict[str, Any]):
    """An object, and a name that it has more than once."""

    repeated: str | None = None


def read_json(body: bytes) -> tuple[str, Any]:
    """The text of a body and the value it stands for, whose objects know their repeated names.

    Raises Problem `invalid_json` for what is no JSON, and `invalid_request` for strings that are no text.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem("invalid_json", "the body is not UTF-8") from None
    return text, read_text(text)


def read_text(text: str, what: str = "the body") -> Any:  # noqa: ANN401 - JSON
    """The value that a JSON text stands for; `what` it is, for the problem that is raised otherwise."""
    _check_depth(text, what)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_integer)
    except ValueError as error:
        raise Problem("invalid_json", f"{what} is not valid JSON: {error}") from None
    _check_escapes(text, what)
    return value


def refuse_repeated(value: object, where: str = "") -> None:
    """Raise Problem `invalid_json` if an object of ours has a name twice: readers differ on which one counts.

    Inside of payloads it is the caller's business.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            refuse_repeated(item, f"{where.removesuffix('.')}[{index}].")
    elif isinstance(value, dict):
        if isinstance(value, _Fields) and value.repeated is not None:
            raise Problem("invalid_json", f"{where}{value.repeated}: the name stands twice")
        for name in value.keys() - PAYLOADS:
            refuse_repeated(value[name], f"{where}{name}.")


def _object(pairs: list[tuple[str, Any]]) -> _Fields:
    fields = _Fields(pairs)
    if len(fields) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        fields.repeated = next(name for name, count in counts.items() if count > 1)
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


def _check_depth(text: str, what: str) -> None:
    # Fewer brackets than levels cannot nest too deep: most bodies end here.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKET.finditer(text):
        if found[1]:
            depth += 1
            if depth > MAX_DEPTH:
                raise Problem("invalid_json", f"{what} is nested over {MAX_DEPTH} deep")
        elif found[0] in "]}":
            depth -= 1


def _check_escapes(text: str, what: str) -> None:
    r"""An escaped backslash is no escape; a high surrogate followed by a low one is a character."""
    if "\\u" in text:
        rest = _SURROGATE_PAIR.sub("", _ESCAPED_BACKSLASH.sub("", text))
        if found := _UNSTORABLE.search(rest):
            raise Problem(
                "invalid_request",
                f"{what} has {found[0]}: strings must be text, without NUL and lone surrogates",
            )
