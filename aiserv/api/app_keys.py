"""What the handlers of an application share."""

from datetime import timedelta
from typing import Final

import anyio
from aiohttp import web

from aiserv.api.creates import Creates
from aiserv.api.event_log import Events
from aiserv.api.finished import FinishedJobs
from aiserv.api.settlements import Settlements
from aiserv.api.waiting_claims import WaitingClaims
from aiserv.database import Database
from aiserv.http.serving import Deadlines
from aiserv.infra import InfraStatus
from aiserv.metrics import ServerMetrics
from aiserv.providers_status import ProvidersStatus
from aiserv.tokens import Caller, Tokens

DATABASE: Final = web.AppKey("database", Database)
CREATES: Final = web.AppKey("creates", Creates)
SETTLEMENTS: Final = web.AppKey("settlements", Settlements)
FINISHED: Final = web.AppKey("finished", FinishedJobs)
EVENTS: Final = web.AppKey("events", Events)
CLAIMS: Final = web.AppKey("claims", WaitingClaims)
PROVIDERS: Final = web.AppKey("providers", ProvidersStatus)
INFRA: Final = web.AppKey("infra", InfraStatus)
TOKENS: Final = web.AppKey("tokens", Tokens)
METRICS: Final = web.AppKey("metrics", ServerMetrics)
# What a claim over HTTP gets that asks for no lease of its own.
CLAIM_LEASE: Final = web.AppKey("claim_lease", timedelta)
# How long clients may take.
DEADLINES: Final = web.AppKey("deadlines", Deadlines)
# Bytes of a body, as sent and after decompression.
MAX_BATCH_BODY: Final = web.AppKey("max_batch_body", int)
# Lets one batch be read at a time.
BATCH_READING: Final = web.AppKey("batch_reading", anyio.CapacityLimiter)
# Set for every request to the API.
CALLER: Final = web.RequestKey("caller", Caller)
