"""Metrics are asked for by name, and what callers choose must not make them grow without end."""

import pytest

from aiserv import metrics
from aiserv.counters import Counter
from aiserv.metrics import ServerMetrics


def test_beyond_a_thousand_kinds_of_jobs_the_rest_are_others() -> None:
    counted = ServerMetrics()

    for number in range(metrics.MAX_KINDS + 500):
        counted.transition("create", f"type {number}", "profile")
    counted.transition("create", "type 0", "profile")

    labels = {"transition": "create", "model_profile": "profile", "task_type": "type 0"}
    others = {"transition": "create", "model_profile": "other", "task_type": "other"}
    assert counted.registry.get_sample_value("aiserv_transitions_total", labels) == 2
    assert counted.registry.get_sample_value("aiserv_transitions_total", others) == 500


@pytest.mark.parametrize(
    "name", ["aiserv_unfenced_settlements_total", "aiserv_http_request_seconds_count", "aiserv_queue_paused"]
)
def test_a_metric_can_be_asked_for_by_its_name(name: str) -> None:
    counted = ServerMetrics()
    counted.request("/", "GET", 200, 0.1)
    counted.jobs({"groups": []}, [{"task_type": None, "model_profile": "a", "paused": True}])

    families = counted.registry.restricted_registry([name]).collect()

    assert [sample.name for family in families for sample in family.samples] == [name]


def test_a_name_is_taken_once() -> None:
    registry = ServerMetrics().registry

    with pytest.raises(ValueError, match="aiserv_unfenced_settlements"):
        Counter("aiserv_unfenced_settlements", "Others.", registry=registry)
