"""The whole API, driven by a client that a public generator made of the committed OpenAPI document."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from httpx import Timeout

from tests.api.client import LISTENING
from tests.api.conftest import Start
from tests.waiting import SOON, until

COMMITTED = Path(__file__).parents[2] / "openapi.json"
# The generator knows bodies of JSON and of bytes.
CONFIG = {"content_type_overrides": {"application/x-ndjson": "application/octet-stream"}, "post_hooks": []}
KIND = {"owner_service": "telephony", "task_type": "llm_chat", "model_profile": "qwen2.5-14b"}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the generated package `generated_client`; a part of the document it cannot use is an error."""
    folder = tmp_path_factory.mktemp("generated")
    config = folder / "config.json"
    config.write_text(json.dumps(CONFIG))

    subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", COMMITTED, "--config", config, "--output-path", folder / "generated_client"),
        ],
        check=True,
        capture_output=True,
    )

    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated_client"]:
        del sys.modules[name]


class Generated:
    """Calls operations of the generated client by their operationId."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder / "generated_client"
        self.models: Any = importlib.import_module("generated_client.models")
        self.types: Any = importlib.import_module("generated_client.types")
        clients = importlib.import_module("generated_client.client")
        self.client: Any = clients.AuthenticatedClient(
            f"http://127.0.0.1:{port}", token="secret", timeout=Timeout(SOON)
        )

    def operation(self, name: str) -> Any:  # noqa: ANN401 - a generated module
        (path,) = self.folder.glob(f"api/*/{name}.py")
        return importlib.import_module(f"generated_client.api.{path.parent.name}.{name}")

    def __call__(self, name: str, *path: object, **arguments: object) -> Any:  # noqa: ANN401 - a generated model
        """What the operation answers, as the model that the document has for this status."""
        response = self.operation(name).sync_detailed(*path, client=self.client, **arguments)
        self.last = SimpleNamespace(status=int(response.status_code), headers=response.headers)
        return response.parsed

    def create(self, **fields: object) -> Any:  # noqa: ANN401 - a job
        return self("create_job", body=self.models.CreateJob(**KIND, **fields))

    def claim(self, **fields: object) -> Any:  # noqa: ANN401 - jobs
        return self("claim_jobs", body=self.models.ClaimJobs(worker_id="w1", **fields))


@pytest.fixture
def call(generated: Path, start: Start) -> Iterator[Generated]:
    call = Generated(generated, start(AI_SERVICE_TOKEN="secret").port)
    with call.client:
        yield call


def test_a_job_is_created_claimed_completed_and_waited_for(call: Generated) -> None:
    created = call.create(input_={"user": "Hello"}, delay="0s", priority=3)
    (claimed,) = call.claim(wait="10s").jobs
    beating = call("heartbeat_job", claimed.id, body=call.models.HeartbeatJob(attempt=1, progress={"done": 0.5}))
    usage = call.models.Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    call("complete_job", claimed.id, body=call.models.CompleteJob(attempt=1, result=["Hi"], usage=usage))

    done = call("get_job", created.id, wait="30s")

    assert (created.status.value, created.priority, claimed.id) == ("pending", 3, created.id)
    assert beating.progress == {"done": 0.5}
    assert (done.status.value, done.result, done.usage.to_dict()["total_tokens"]) == ("completed", ["Hi"], 7)
    assert done.finished_at > done.created_at
    assert [each.worker_id for each in call("list_attempts", created.id).attempts] == ["w1"]


def test_a_job_fails_is_retried_released_and_cancelled(call: Generated) -> None:
    job = call.create()
    call.claim()
    failed = call("fail_job", job.id, body=call.models.FailJob(category="timeout", message="late", attempt=1))
    retried = call("retry_job", job.id, body=call.models.Nothing())
    call.claim()
    released = call("release_job", job.id, body=call.models.ReleaseJob(attempt=2, delay="1h"))
    cancelled = call("cancel_job", job.id, body=call.models.CancelJob(reason="no more"))

    assert [each.status.value for each in (failed, retried, released, cancelled)] == [
        "failed",
        "pending",
        "pending",
        "cancelled",
    ]
    assert (failed.error_category, retried.error_category, cancelled.error_message) == ("timeout", None, "no more")
    outcomes = [each.outcome for each in call("list_attempts", job.id).attempts]
    assert [getattr(outcome, "value", outcome) for outcome in outcomes] == ["failed", "released"]


def test_a_batch_is_stored_once_listed_page_by_page_and_cancelled_by_filter(call: Generated) -> None:
    new = call.models.NewJob
    oldest = call.models.ListJobsOrder.OLDEST
    body = call.models.CreateJobs(jobs=[new(priority=9), new(), new()], defaults=new(**KIND, priority=5))
    batch = call("create_jobs", body=body, idempotency_key="monday")
    repeated = call("create_jobs", body=body, idempotency_key="monday")
    replayed = call.last.headers["Idempotency-Replayed"]
    first = call("list_jobs", batch_id=[batch.batch_id], limit=2, order=oldest)
    second = call("list_jobs", batch_id=[batch.batch_id], limit=2, order=oldest, cursor=first.next_cursor)
    settle = call.models.SettleFailure
    call.claim(limit=2)
    refused = call.claim(settle=[settle(id=batch.ids[0], attempt=1, category="broken", message="")], limit=0)

    retried = call("retry_jobs", body=call.models.RetryJobs(batch_id=batch.batch_id, error_category=["broken"]))
    cancelled = call("cancel_jobs", body=call.models.CancelJobs(batch_id=batch.batch_id))

    assert (repeated.batch_id, replayed) == (batch.batch_id, "true")
    assert [job.priority for job in batch.jobs] == [9, 5, 5]
    assert [job.id for page in (first, second) for job in page.jobs] == batch.ids
    assert second.next_cursor is None
    assert refused.settled[0].status.value == "failed"
    assert (retried.ids, cancelled.cancelled) == ([batch.ids[0]], 3)
    counts = call("get_batch", batch.batch_id, wait="1s").counts
    assert (counts.cancelled, counts.total) == (3, 3)


def test_a_batch_may_be_sent_a_job_a_line(call: Generated) -> None:
    lines = "\n".join(json.dumps({**KIND, "priority": priority}) for priority in (1, 2))

    batch = call("create_jobs", body=call.types.File(payload=lines.encode()))

    assert [job.priority for job in batch.jobs] == [1, 2]


def test_queues_workers_numbers_and_servers_are_shown(call: Generated) -> None:
    call.create()
    call.claim()
    paused = call("set_queue", "qwen2.5-14b", body=call.models.SetQueue(paused=True, pause_reason="release"))
    call("set_queue_of_task_type", "qwen2.5-14b", "llm_chat", body=call.models.SetQueue(max_running=2))

    queues = call("get_queue", "qwen2.5-14b").queues
    stats = call("show_stats", since="1h")

    assert (paused.paused, paused.pause_reason) == (True, "release")
    assert [(queue.task_type, queue.max_running) for queue in queues] == [(None, None), ("llm_chat", 2)]
    assert call("get_queue_of_task_type", "qwen2.5-14b", "llm_chat").queues == queues[1:]
    assert call("list_queues").queues == queues
    assert (stats.queue.running, stats.groups[0].owner_service) == (1, "telephony")
    assert [worker.worker_id for worker in call("list_workers").workers] == ["w1"]
    assert {provider.name.value for provider in call("show_providers").providers} >= {"llm", "whisperx"}
    assert call("show_infra").configured is False
    assert call("healthz").status == call("readyz").status == "ok"


async def test_events_are_read_from_the_request_that_the_client_builds(call: Generated) -> None:
    http = call.client.get_httpx_client()
    await until(lambda: LISTENING in http.get("/metrics").text)
    job = call.create()
    cancelled = call.models.WatchEventsStatusItem.CANCELLED
    # It reads answers to their end only, and this one has none.
    request = call.operation("watch_events")._get_kwargs(status=[cancelled])

    with http.stream(**request) as answer:
        call("cancel_job", job.id, body=call.models.CancelJob())
        lines = answer.iter_lines()
        data = next(line for line in lines if line.startswith("data: "))

    assert json.loads(data.removeprefix("data: "))["id"] == str(job.id)


def test_refusals_are_typed(call: Generated) -> None:
    bad = call.create(priority=101)
    seen = call.last.status, bad.code, bad.errors[0].field
    everything = call("cancel_jobs", body=call.models.CancelJobs())
    call.client.get_httpx_client().headers["Authorization"] = "Bearer wrong"
    stranger = call("list_queues")

    assert seen == (400, "invalid_request", "priority")
    assert (everything.status, everything.code) == (400, "empty_filter")
    assert (stranger.status, stranger.code) == (401, "unauthorized")


def test_no_operation_is_left_out(call: Generated) -> None:
    document = json.loads(COMMITTED.read_text(encoding="utf-8"))
    operations = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}

    assert {path.stem for path in call.folder.glob("api/*/[!_]*.py")} == operations
