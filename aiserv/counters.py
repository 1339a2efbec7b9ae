"""Counters and histograms as Prometheus reads them, for processes in which one thread counts.

Those of prometheus_client take a lock for each number, and three times as long: 3 % of a create. Given up are
`_created`, exemplars and several processes behind one registry.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

# The values of the labels, in the order of their names.
Labels = tuple[str | int, ...]
NO_LABELS: Final[Labels] = ()


class Counter(Collector):
    """How often something has happened, for each combination of labels; without labels it begins at zero."""

    def __init__(self, name: str, about: str, labels: Sequence[str] = (), *, registry: CollectorRegistry) -> None:
        self._name = name
        self._about = about
        self._labels = labels
        self._counts: defaultdict[Labels, float] = defaultdict(float, {} if labels else {NO_LABELS: 0.0})
        registry.register(self)

    def add(self, count: float = 1, labels: Labels = NO_LABELS) -> None:
        self._counts[labels] += count

    def collect(self) -> list[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(_values(self._labels, labels), count)
        return [family]


class Histogram(Collector):
    """How many seconds something took, for each combination of labels; without labels it begins empty.

    `bounds` are the most that its buckets hold, ascending; one more holds the rest.
    """

    def __init__(
        self, name: str, about: str, labels: Sequence[str] = (), *, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._about = about
        self._labels = labels
        self._bounds = bounds
        self._sums: defaultdict[Labels, float] = defaultdict(float, {} if labels else {NO_LABELS: 0.0})
        # How many fell into each bucket and into none before it.
        self._counts: defaultdict[Labels, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        registry.register(self)

    def observe(self, seconds: float, labels: Labels = NO_LABELS) -> None:
        self._counts[labels][bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] += seconds

    def collect(self) -> list[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, total in self._sums.items():
            buckets = list(zip(bounds, accumulate(self._counts[labels]), strict=True))
            family.add_metric(_values(self._labels, labels), buckets, total)
        return [family]


def _values(names: Sequence[str], labels: Labels) -> list[str]:
    """The labels as text. Raises ValueError if they are not as many as their names: a family would drop some."""
    return [str(label) for _, label in zip(names, labels, strict=True)]
