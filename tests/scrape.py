"""What a scrape of `/metrics` has, as Prometheus reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Sample:
    """A line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """A whole scrape."""

    samples: tuple[Sample, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what the text of a scrape says."""
        families = text_string_to_metric_families(text)
        found = [one for family in families for one in family.samples]
        return cls(tuple(Sample(one.name, one.labels, one.value) for one in found))

    def value(self, name: str, **labels: str) -> float:
        """Return the value of `switchboard_NAME` with exactly these labels."""
        wanted = f"switchboard_{name}"
        [found] = [one for one in self.samples if one.name == wanted and one.labels == labels]
        return found.value

    def values(self, name: str, label: str) -> dict[str, float]:
        """Return the values of `switchboard_NAME` by their one label."""
        wanted = f"switchboard_{name}"
        return {one.labels[label]: one.value for one in self.samples if one.name == wanted}
