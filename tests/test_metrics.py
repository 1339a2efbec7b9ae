"""What callers choose must not make the metrics grow without end."""

from aiserv import metrics
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
