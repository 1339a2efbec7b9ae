"""What a client already has, and how long it would wait: ETags and preferences."""

import re
from datetime import timedelta
from typing import Final

from aiohttp import web

from aiserv.api.headers import PREFER
from aiserv.api.requests import invalid, query
from aiserv.fields import MAX_WAIT
from aiserv.models import Waited

_ETAG: Final = re.compile(r'\s*(?P<weak>W/)?"(?P<version>[^"]*)"\s*')
_NO_WAIT: Final = timedelta(0)
# https://www.rfc-editor.org/rfc/rfc7240#section-4.3
_WAIT: Final = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|,|;)', re.IGNORECASE | re.ASCII)


def has_version(request: web.Request, version: str) -> bool:
    """Whether `If-None-Match` names this version, compressed or not."""
    header = ",".join(request.headers.getall("If-None-Match", []))
    return header.strip() == "*" or version in [given for given, _ in _versions(header)]


def wanted_versions(request: web.Request) -> list[str] | None:
    """The versions that `If-Match` names; None without it, or for any. Raises Problem for what is no ETag."""
    if "If-Match" not in request.headers:
        return None
    header = ",".join(request.headers.getall("If-Match"))
    if header.strip() == "*":
        return None
    # Weak ones never match: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1
    versions = _versions(header)
    if len(versions) < len(header.split(",")):
        raise invalid([{"field": "If-Match", "message": 'must be ETags like "pe-0-1717922952000000"'}])
    return [given for given, is_weak in versions if not is_weak]


def _versions(header: str) -> list[tuple[str, bool]]:
    found = [_ETAG.fullmatch(part) for part in header.split(",")]
    return [(each["version"].removesuffix("-gzip"), each["weak"] is not None) for each in found if each]


def patience(request: web.Request) -> tuple[timedelta, dict[str, str]]:
    """How long the answer may wait, and the header that says so if `Prefer` asked for it."""
    if not request.query_string and PREFER not in request.headers:
        return _NO_WAIT, {}
    wait = query(Waited, request).wait
    preferred = _WAIT.search(",".join(request.headers.getall(PREFER, [])))
    if wait is not None or preferred is None:
        return wait or _NO_WAIT, {}
    seconds = min(int(preferred[1]), int(MAX_WAIT.total_seconds()))
    return timedelta(seconds=seconds), {"Preference-Applied": f"wait={seconds}"}
