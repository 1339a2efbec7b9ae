"""JSON that fits a schema, made by no model: the stand-in provider answers it."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from pydantic import JsonValue

Schema: TypeAlias = Mapping[str, JsonValue]

MAX_DEPTH: Final = 20
_DAYS: Final = {"date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "time": "00:00:00Z"}
_NAMES: Final = {
    "email": "nobody@example.invalid",
    "uri": "https://example.invalid/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_FORMATS: Final = _DAYS | _NAMES


def fitting(schema: JsonValue, text: str) -> JsonValue:
    """The smallest value that a simple schema allows, with `text` where it may stand.

    It knows types, `const`, `enum`, `properties`, `items`, bounds, formats, references within the schema, and the first
    of `anyOf`, `oneOf` and `allOf`. What else a schema wants, such as a `pattern`, it does not meet.
    """
    return _Maker(schema if isinstance(schema, dict) else {}, text).value(schema)


class _Maker:
    def __init__(self, root: Schema, text: str) -> None:
        self._root = root
        self._text = text

    def value(self, schema: JsonValue, depth: int = 0) -> JsonValue:
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return None
        match schema:
            case {"const": constant}:
                return constant
            case {"enum": [first, *_]}:
                return first
            case {"$ref": str(reference)}:
                return self.value(self._referred(reference), depth + 1)
            case {"anyOf": [first, *_]} | {"oneOf": [first, *_]} | {"allOf": [first, *_]}:
                others = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf", "allOf")}
                return self.value({**others, **first} if isinstance(first, dict) else others, depth + 1)
            case _:
                return self._of_type(schema, depth)

    def _of_type(self, schema: Schema, depth: int) -> JsonValue:
        match schema.get("type"):
            case [kind, *_] | kind:
                pass
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(_count(schema, "minItems"))]
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: Schema, depth: int) -> JsonValue:
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        names = dict.fromkeys(name for name in required if isinstance(name, str)) if isinstance(required, list) else {}
        # What is not required is left out where it goes deep: a tree ends somewhere.
        wanted = {**names, **known} if depth < MAX_DEPTH // 4 else names
        return {name: self.value(known.get(name, {}), depth + 1) for name in wanted}

    def _string(self, schema: Schema) -> str:
        if (shaped := _FORMATS.get(str(schema.get("format")))) is not None:
            return shaped
        longest = schema.get("maxLength")
        text = self._text[:longest] if isinstance(longest, int) and longest >= 0 else self._text
        return text.ljust(_count(schema, "minLength"), ".")

    def _referred(self, reference: str) -> JsonValue:
        at: JsonValue = dict(self._root)
        for step in reference.removeprefix("#").split("/")[1:]:
            at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
        return at


def _count(schema: Schema, name: str) -> int:
    value = schema.get(name)
    return min(value, 10_000) if isinstance(value, int) and value > 0 else 0


def _number(schema: Schema, *, whole: bool) -> float:
    """Zero if it is allowed, else a number beside one of the bounds, or between them."""
    least, above, most, below, step = (
        value if isinstance(value := schema.get(name), int | float) else None
        for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
    )
    bounds = [bound for bound in (least, above, most, below) if bound is not None]
    unit = step or 1
    candidates = [0, *((bound // unit + n) * unit for bound in bounds for n in (0, 1, -1))]
    if not whole and bounds:
        candidates.append(sum(bounds) / len(bounds))
    fitting_ones = (
        number
        for number in candidates
        if (least is None or number >= least)
        and (above is None or number > above)
        and (most is None or number <= most)
        and (below is None or number < below)
    )
    return next(fitting_ones, 0)
