"""Where the next page of a list begins, as a text that clients need not understand."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from uuid import UUID

from aiserv.api.requests import invalid

# The first byte says what follows, so that cursors may change and old ones be told apart.
_ORDERS: Final = {"newest": b"\x01", "oldest": b"\x02"}
_LENGTH: Final = 17


def cursor_after(last: UUID, order: str) -> str:
    """The cursor of the page that follows this job."""
    return urlsafe_b64encode(_ORDERS[order] + last.bytes).rstrip(b"=").decode()


def last_of(cursor: str | None, order: str) -> UUID | None:
    """The last job of the page before. Raises Problem `invalid_request` for what is no cursor of such a list."""
    if cursor is None:
        return None
    try:
        read = urlsafe_b64decode(f"{cursor}=".encode("ascii"))
    except ValueError:
        read = b""
    if len(read) != _LENGTH or cursor_after(UUID(bytes=read[1:]), order) != cursor:
        raise invalid([{"field": "cursor", "message": "must be the next_cursor of a page with the same order"}])
    return UUID(bytes=read[1:])
