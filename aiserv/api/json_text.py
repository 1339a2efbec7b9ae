"""Strict JSON: what RFC 8259 leaves open is refused here, so that no reader later on can differ."""

import json
import re
from array import array
from collections import Counter
from itertools import accumulate
from typing import Any, Final, NoReturn, TypeAlias

import jiter

from aiserv.problems import Problem

MAX_DEPTH: Final = 100
CONTAINERS: Final = (dict, list)
PAYLOADS: Final = {"input", "result", "progress", "metadata"}
# As many as any field of ours can need; a longer number is a payload's and stays text.
MAX_DIGITS: Final = 30
# Read in one call, during which no other thread runs: a few milliseconds. What takes longest is many short values.
MAX_AT_ONCE: Final = 1024 * 1024
MAX_VALUES_AT_ONCE: Final = 20_000
STEPS_AT_ONCE: Final = 64 * 1024

# How far a bracket leads into the depth, as a signed byte.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[{]}"'))
_ESCAPED_BACKSLASH: Final = re.compile(r"\\\\")
_SURROGATE_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_UNSTORABLE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")

# Names of objects and places in lists.
Location: TypeAlias = tuple[str | int, ...]


class _Repeated(dict[str, Any]):
    """An object that has a name more than once, and which."""

    def __init__(self, fields: dict[str, Any], name: str) -> None:
        super().__init__(fields)
        self.name = name


def read_json(body: bytes) -> tuple[str, Any]:
    """The text of a body and the value it stands for.

    Raises Problem `invalid_json` for what is no JSON or has a name twice, and `invalid_request` for strings that are no
    text. In payloads, what stands twice is the caller's business.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem("invalid_json", "the body is not UTF-8") from None
    return text, read_text(text)


def read_text(text: str, what: str = "the body", path: Location = ()) -> Any:  # noqa: ANN401 - JSON
    """The value that a JSON text stands for; `what` it is, for the problem that is raised otherwise.

    `path` leads to it in a body that is made of several.
    """
    _check_depth(text, what)
    value = _value(text, what, path)
    _check_escapes(text, what)
    return value


def _value(text: str, what: str, path: Location) -> Any:  # noqa: ANN401 - JSON
    if len(text) <= MAX_AT_ONCE and sum(map(text.count, ",[{")) <= MAX_VALUES_AT_ONCE:
        try:
            return jiter.from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False)
        except ValueError:
            # Python's decoder takes three times as long, and knows what is wrong, or whose name stands twice.
            pass
    try:
        value = _DECODER.decode(text)
    except ValueError as error:
        raise Problem("invalid_json", f"{what} is not valid JSON: {error}") from None
    # Readers differ on which one counts.
    if repeated := _repeated(value, path):
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in repeated).removeprefix(".")
        raise Problem("invalid_json", f"{where}: the name stands twice")
    return value


def _repeated(value: object, path: Location) -> Location:
    """Where the first name of ours stands that stands twice, or nothing: in payloads nobody looks."""
    if path and path[-1] in PAYLOADS:
        return ()
    if isinstance(value, _Repeated):
        return (*path, value.name)
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    ):
        if isinstance(inner, CONTAINERS) and (repeated := _repeated(inner, (*path, step))):
            return repeated
    return ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) == len(pairs):
        return fields
    counts = Counter(name for name, _ in pairs)
    return _Repeated(fields, next(name for name, count in counts.items() if count > 1))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


def _float(digits: str) -> float:
    # Of ours, so that other threads run between two numbers.
    return float(digits)


# Made once: json.loads makes one for each call that has options.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float
)


def _check_depth(text: str, what: str) -> None:
    # Fewer brackets than levels cannot nest too deep: most bodies end here.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    # Brackets in strings do not count: every other piece between quotes that end or begin a string, of which two beside
    # each other change nothing for the rest. No loop in Python.
    plain = text.replace("\\\\", "").replace('\\"', "") if "\\" in text else text
    marks = plain.encode().translate(None, _NO_MARKS).replace(b'""', b"")
    steps = array("b", b"".join(marks.split(b'"')[::2]).translate(_STEPS))
    depth = 0
    # In pieces of some milliseconds: within one no other thread runs.
    for begin in range(0, len(steps), STEPS_AT_ONCE):
        *depths, depth = accumulate(steps[begin : begin + STEPS_AT_ONCE], initial=depth)
        if max(depth, *depths) > MAX_DEPTH:
            raise Problem("invalid_json", f"{what} is nested over {MAX_DEPTH} deep")


def _check_escapes(text: str, what: str) -> None:
    r"""An escaped backslash is no escape; a high surrogate followed by a low one is a character."""
    # One character is found much faster than two.
    if "\\" in text and "\\u" in text:
        rest = _SURROGATE_PAIR.sub("", _ESCAPED_BACKSLASH.sub("", text))
        if found := _UNSTORABLE.search(rest):
            raise Problem(
                "invalid_request",
                f"{what} has {found[0]}: strings must be text, without NUL and lone surrogates",
            )
