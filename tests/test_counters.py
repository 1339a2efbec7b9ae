"""What Prometheus reads must be what was counted, in the form of prometheus_client's own counters and histograms."""

import prometheus_client as usual
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from aiserv import counters

BOUNDS = (0.001, 0.02, 1, 2621.44)
SECONDS = (0, 0.001, 0.0011, 0.02, 0.5, 1, 2621.44, 2621.45, 100_000)


def test_counters_read_as_the_usual_ones() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    times = counters.Counter("times", "How often.", registry=ours)
    kinds = counters.Counter("kinds", "How often each.", ["kind", "status"], registry=ours)
    usual.Counter("times", "How often.", registry=theirs).inc(2)
    usual_kinds = usual.Counter("kinds", "How often each.", ["kind", "status"], registry=theirs)

    times.add(2)
    for number in (1, 2.5, 0):
        kinds.add(number, ("a", 200))
        usual_kinds.labels("a", 200).inc(number)
    kinds.add(labels=('b"\n\\', 404))
    usual_kinds.labels('b"\n\\', 404).inc()

    assert shown(ours) == shown(theirs)


def test_histograms_read_as_the_usual_ones() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    took = counters.Histogram("took", "How long.", bounds=BOUNDS, registry=ours)
    each = counters.Histogram("each", "How long each.", ["kind"], bounds=BOUNDS, registry=ours)
    usual_took = usual.Histogram("took", "How long.", buckets=BOUNDS, registry=theirs)
    usual_each = usual.Histogram("each", "How long each.", ["kind"], buckets=BOUNDS, registry=theirs)

    for seconds in SECONDS:
        took.observe(seconds)
        usual_took.observe(seconds)
        each.observe(seconds, ("a",))
        usual_each.labels("a").observe(seconds)
    each.observe(3, ("b",))
    usual_each.labels("b").observe(3)

    assert shown(ours) == shown(theirs)


def test_what_has_no_labels_is_there_before_anything_has_happened() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()

    counters.Counter("times", "How often.", registry=ours)
    counters.Histogram("took", "How long.", bounds=BOUNDS, registry=ours)

    usual.Counter("times", "How often.", registry=theirs)
    usual.Histogram("took", "How long.", buckets=BOUNDS, registry=theirs)
    assert shown(ours) == shown(theirs)


@pytest.mark.parametrize("labels", [(), ("a",), ("a", 200, "b")])
def test_labels_that_are_more_or_fewer_than_their_names_are_not_dropped(labels: tuple[str | int, ...]) -> None:
    registry = CollectorRegistry()
    kinds = counters.Counter("kinds", "How often each.", ["kind", "status"], registry=registry)

    kinds.add(labels=labels)

    with pytest.raises(ValueError, match="zip"):
        generate_latest(registry)


def shown(registry: CollectorRegistry) -> list[str]:
    """The lines that Prometheus reads, but for when each was begun."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
