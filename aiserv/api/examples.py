"""A body of each kind that has something to say, for the OpenAPI document: what one would send first."""

from typing import Any, Final

from pydantic import BaseModel

from aiserv.filters import CancelJobs, RetryJobs
from aiserv.models import (
    CancelJob,
    ClaimJobs,
    CompleteJob,
    CreateJob,
    CreateJobs,
    FailJob,
    HeartbeatJob,
    ReleaseJob,
    SetQueue,
)

_KIND: Final = {"owner_service": "telephony", "task_type": "llm_chat", "model_profile": "qwen2.5-14b"}

EXAMPLES: Final[dict[type[BaseModel], dict[str, Any]]] = {
    CreateJob: {**_KIND, "owner_ref": "call/42", "input": {"user": "Say hello in Russian."}},
    CreateJobs: {
        "defaults": {**_KIND, "input": {"system": "Summarize this call."}},
        "jobs": [{"input": {"user": "First transcript …"}}, {"input": {"user": "Second transcript …"}, "priority": 10}],
    },
    RetryJobs: {"error_category": ["timeout", "provider_error"], "limit": 100},
    CancelJobs: {"owner_service": "telephony", "status": "pending", "reason": "no longer needed"},
    CancelJob: {"reason": "no longer needed"},
    ClaimJobs: {"worker_id": "my-worker-1", "task_types": ["llm_chat"], "limit": 4, "lease": "60s", "wait": "30s"},
    CompleteJob: {"attempt": 1, "result": {"content": "Привет!"}, "usage": {"total_tokens": 42}},
    FailJob: {"attempt": 1, "category": "provider_error", "message": "HTTP 502", "retryable": True},
    HeartbeatJob: {"attempt": 1, "lease": "60s", "progress": {"done": 0.5}},
    ReleaseJob: {"attempt": 1, "delay": "30s"},
    SetQueue: {"paused": True, "pause_reason": "new weights"},
}
