"""The program that checks JSON against schemas. `workers.executors.json_schema` runs it in a process of its own.

A schema comes from anybody, and can keep Python busy for ever: by a regular expression that backtracks, by references
that branch, by sheer size. Here it holds up no event loop, reaches no secret, and can be killed at any moment. It
stands alone: it imports nothing of ours.

Its argument is how many seconds of CPU time a check may take. It says `ready`, then answers requests one by one until
its input ends. A request is a line `SCHEMA CONTENT` with two sizes in bytes, then so many bytes of a schema and of
what is to fit it, both JSON; without content its size is -1. The answer is a line of JSON, `{"flaw_of": "schema" |
"content" | null, "flaw": …}`. When its memory does not suffice it ends without an answer; when a check takes too long,
by SIGPROF.
"""

import json
import resource
import signal
import sys
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]  # it ships no types
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # as above
from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # as above
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # as above
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

MEMORY: Final = 1024**3
MAX_FRAMES: Final = 4_000
MAX_ERRORS: Final = 20  # are compared for the one that says most
MAX_SAID: Final = 500
# A validator takes many times the memory of its text, and large schemas are rare.
MAX_KEPT: Final = 64 * 1024

# Any of these shows a schema that refers to itself without end.
SAMPLES: Final[tuple[object, ...]] = ({}, [], "", 0, None)


def validator_of(text: bytes) -> Any:  # noqa: ANN401 - jsonschema has no types
    """A validator for the schema, kept for the next time if it is small. Raises whatever a bad one makes it raise."""
    return kept_validator(text) if len(text) <= MAX_KEPT else new_validator(text)


def new_validator(text: bytes) -> Any:  # noqa: ANN401 - as above
    """What `validator_of` says."""
    schema = json.loads(text)
    dialect = validator_for(schema, default=Draft202012Validator)
    dialect.check_schema(schema)
    # With a registry of our own it fetches nothing: what the schema does not bring along is not there.
    root: Resource[Any] = specification_with(dialect.META_SCHEMA["$schema"]).create_resource(schema)
    resolve_references(root)
    validator = dialect(schema, registry=REGISTRY)
    for sample in SAMPLES:
        next(validator.iter_errors(sample), None)
    return validator


kept_validator: Final = lru_cache(maxsize=64)(new_validator)


def resolve_references(root: Resource[Any]) -> None:
    """Look up every reference in the schema. Raises Unresolvable."""
    pending = [(root, REGISTRY.resolver_with_root(root))]
    while pending:
        schema, resolver = pending.pop()
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(schema.contents, dict) and isinstance(reference := schema.contents.get(keyword), str):
                resolver.lookup(reference)
        pending += [(inner, resolver.in_subresource(inner)) for inner in schema.subresources()]


def check(schema: bytes, content: bytes | None) -> tuple[str | None, str | None]:
    """What is at fault, `schema` or `content`, and why; None and None if all is well. Raises MemoryError."""
    try:
        validator = validator_of(schema)
    except MemoryError:
        raise
    except Exception as bad:  # noqa: BLE001 - jsonschema raises anything at a schema that its metaschema lets pass
        return "schema", flaw_of_schema(bad)[:MAX_SAID]
    if content is None:
        return None, None
    try:
        error = best_match(islice(validator.iter_errors(json.loads(content)), MAX_ERRORS))
    except MemoryError:
        raise
    except (RecursionError, ValueError) as bad:
        # The samples of all kinds went through the same schema: it is what is new.
        return "content", f"it cannot be checked: {bad}"[:MAX_SAID]
    except Exception as bad:  # noqa: BLE001 - as above
        return "schema", flaw_of_schema(bad)[:MAX_SAID]
    return ("content", told(error)) if error else (None, None)


def flaw_of_schema(bad: Exception) -> str:
    """What is wrong with a schema that made jsonschema raise this."""
    match bad:
        case SchemaError():
            return told(bad)
        case Unresolvable():
            return f"it refers to {bad.ref}, which it does not have"
        case RecursionError():
            return "it refers to itself without end, or is nested too deeply"
        case _:
            return f"it cannot be applied: {type(bad).__name__}: {bad}"


def told(error: Any) -> str:  # noqa: ANN401 - jsonschema has no types
    """Where it is and what is wrong with it; the message may repeat all that is there."""
    return f"{error.json_path[:MAX_SAID]}: {error.message[:MAX_SAID]}"


def main() -> None:
    """Answer requests until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.setrecursionlimit(MAX_FRAMES)
    cpu_seconds = float(sys.argv[1])
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b"ready\n")
    answers.flush()
    while line := requests.readline():
        of_schema, of_content = map(int, line.split())
        schema = requests.read(of_schema)
        content = requests.read(of_content) if of_content >= 0 else None
        # The signal kills, also within a regular expression, and when nobody is left who would.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        flaw_of, flaw = check(schema, content)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps({"flaw_of": flaw_of, "flaw": flaw}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
