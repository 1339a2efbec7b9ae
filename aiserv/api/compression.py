"""Compressed bodies: https://www.rfc-editor.org/rfc/rfc1952."""

import zlib
from typing import Final

from aiserv.problems import Problem, too_large

# A window of 32 KiB, with the header and the trailer of gzip.
_GZIP: Final = 16 + zlib.MAX_WBITS


def gunzip(packed: bytes, most: int) -> bytes:
    """What a gzip stream holds. Raises Problem for a broken one, and for more than `most` bytes."""
    body = b""
    while packed:
        member = zlib.decompressobj(wbits=_GZIP)
        try:
            body += member.decompress(packed, most - len(body) + 1)
        except zlib.error:
            raise Problem("invalid_json", "the body is not valid gzip") from None
        if len(body) > most:
            raise too_large(most)
        if not member.eof:
            raise Problem("invalid_json", "the body is gzip that ends too early")
        packed = member.unused_data
    return body
