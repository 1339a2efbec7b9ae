"""What the handlers of an application share."""

from datetime import timedelta
from typing import Final

from aiohttp import web

from aiserv.database import Database
from aiserv.metrics import ServerMetrics

DATABASE: Final = web.AppKey("database", Database)
METRICS: Final = web.AppKey("metrics", ServerMetrics)
# What a claim over HTTP gets that asks for no lease of its own.
CLAIM_LEASE: Final = web.AppKey("claim_lease", timedelta)
# Bytes of a body, as sent and after decompression.
MAX_BATCH_BODY: Final = web.AppKey("max_batch_body", int)
REQUEST_ID: Final = "request_id"
