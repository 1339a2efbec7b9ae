"""Who may use the API: plain tokens that may do everything, and scoped ones, digests in a file that may change."""

import hmac
import logging
import re
import secrets
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from aiserv.settings import SettingsError

logger = logging.getLogger(__name__)

Scope = Literal["read", "write", "worker", "admin"]
# The scopes that may do what needs one: whoever writes may read, a worker nothing but work, an admin everything.
ALLOWED: Final[Mapping[Scope, frozenset[Scope]]] = {
    "read": frozenset({"read", "write", "admin"}),
    "write": frozenset({"write", "admin"}),
    "worker": frozenset({"worker", "admin"}),
    "admin": frozenset({"admin"}),
}
ANY_OWNER: Final = "*"
# Between two looks at whether the file has changed.
LOOK_SECONDS: Final = 1.0
TOKEN_BYTES: Final = 32
_NAME: Final = r"[A-Za-z0-9_.-]{1,100}"
_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_PLACE: Final = re.compile(r"\(at .*\)$")
# In place of pydantic's, which may repeat what was given: a token, by mistake.
_EXPECTED: Final = {
    "missing": "must be given",
    "extra_forbidden": "is not known; there are scope, owner_service and sha256",
    "literal_error": "must be read, write, worker or admin",
    "string_pattern_mismatch": "must be 64 hexadecimal digits, the SHA-256 of the token",
}


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the name of the token, what it may do, and the owner it is bound to, if it is."""

    name: str
    scope: Scope
    owner: str | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the caller may do what needs this scope. What an admin does concerns all owners."""
        return self.scope in ALLOWED[scope] and (scope != "admin" or self.owner is None)


ANYBODY: Final = Caller("anybody", "admin")
PLAIN: Final = Caller("AI_SERVICE_TOKEN", "admin")
Known = Sequence[tuple[bytes, Caller]]


class _Scoped(BaseModel):
    """A table of the file; its name is the token's."""

    model_config = ConfigDict(strict=True, extra="forbid")

    scope: Scope
    owner_service: Annotated[str, Field(min_length=1, max_length=200)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


_FILE: Final = TypeAdapter(dict[str, _Scoped])


class Tokens:
    """The tokens that are let in. Raises SettingsError for a file that cannot be read or makes no sense."""

    def __init__(self, plain: Sequence[str] = (), file: Path | None = None) -> None:
        self._plain = [(_digest(token), PLAIN) for token in plain]
        self._file = file
        self._seen = _version(file)
        self._looked_at = time.monotonic()
        self._scoped = read_tokens(file) if file else ()

    @property
    def is_open(self) -> bool:
        """Whether nothing is configured, and so everybody may do everything."""
        return not self._plain and self._file is None

    def caller(self, authorization: str) -> Caller | None:
        """Whose token the header `Authorization` holds, if it is known."""
        if self.is_open:
            return ANYBODY
        self._look()
        given = _BEARER.fullmatch(authorization)
        if not given:
            return None
        digest = _digest(given[1])
        # Digests of equal length, and every one compared: time tells nothing of how much was right.
        matches = [caller for known, caller in (*self._plain, *self._scoped) if hmac.compare_digest(digest, known)]
        return matches[0] if matches else None

    def _look(self) -> None:
        """Read the file again if it has changed, so that tokens come and go without a restart."""
        if self._file is None or time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        version = _version(self._file)
        if version == self._seen:
            return
        self._seen = version
        try:
            self._scoped = read_tokens(self._file)
        except SettingsError as error:
            logger.error("%s; the tokens stay as they were", error)  # noqa: TRY400 - the sentence says it all
        else:
            logger.info("tokens read again: %s", ", ".join(caller.name for _, caller in self._scoped) or "none")


def read_tokens(file: Path) -> Known:
    """The digests in the file and whose they are. Raises SettingsError, whose message repeats no value."""
    try:
        entries = _FILE.validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise _unfit(f"{'.'.join(str(part) for part in wrong['loc'])} {_expected(wrong['type'])}") from None
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        raise _unfit(f"is not TOML {place[0] if place else ''}".strip()) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unfit(f"cannot be read: {type(error).__name__}") from None
    known: dict[bytes, Caller] = {}
    for name, entry in entries.items():
        if complaint := _complaint(name):
            raise _unfit(complaint)
        digest = bytes.fromhex(entry.sha256)
        if digest in known:
            raise _unfit(f"{name} has the digest of {known[digest].name}")
        known[digest] = Caller(name, entry.scope, None if entry.owner_service == ANY_OWNER else entry.owner_service)
    return list(known.items())


def new_token(name: str, scope: str, owner: str) -> tuple[str, str]:
    """A new token, to be told once, and its table for the file. Raises ValueError that says what does not fit."""
    if scope not in ALLOWED:
        raise ValueError("the scope must be read, write, worker or admin")
    if complaint := _complaint(name):
        raise ValueError(complaint)
    if not 1 <= len(owner) <= 200 or not owner.isprintable():  # noqa: PLR2004 - as of a job
        raise ValueError("the owner must be 1 to 200 printable characters, or * for all")
    token = f"aiserv_{secrets.token_urlsafe(TOKEN_BYTES)}"
    quoted = owner.replace("\\", "\\\\").replace('"', '\\"')
    entry = f'[{_key(name)}]\nscope = "{scope}"\nowner_service = "{quoted}"\nsha256 = "{_digest(token).hex()}"\n'
    return token, entry


def _complaint(name: str) -> str | None:
    """Why this cannot be the name of a scoped token."""
    if not re.fullmatch(_NAME, name):
        return "a name must be 1 to 100 letters, digits, dots, dashes and underscores"
    # Of those who have none of their own, where it is remembered who did what.
    return f"the name {name} is taken" if name in {ANYBODY.name, PLAIN.name} else None


def _key(name: str) -> str:
    # A dot in a bare key would begin another table.
    return f'"{name}"' if "." in name else name


def _expected(kind: str) -> str:
    return _EXPECTED.get(kind, "must be a table like [name] with texts scope, owner_service and sha256")


def _unfit(why: str) -> SettingsError:
    return SettingsError(f"AI_SERVICE_TOKENS_FILE: {why}")


def _version(file: Path | None) -> Any:  # noqa: ANN401 - to be compared only
    """What changes with the file, also when another takes its place, as Kubernetes does."""
    try:
        status = file.stat() if file else None
    except OSError:
        return None
    return status and (status.st_ino, status.st_size, status.st_mtime_ns)


def _digest(token: str) -> bytes:
    # A header may hold any bytes; aiohttp hands on what is no UTF-8 as surrogates.
    return sha256(token.encode(errors="surrogateescape")).digest()
