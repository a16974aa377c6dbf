"""Which runs a baseline's are compared with: those of which the same was asked, whatever code answered."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dynbench.plan.configuration import Configuration, Identity, identity_key
from dynbench.plan.run import Run
from dynbench.record.schema import Record


@dataclass(frozen=True)
class ComparedRuns:
    """Runs of which the same was asked, but for the seed: the latest of each."""

    identity: Identity
    records: Mapping[int, Record]

    @property
    def run(self) -> Run:
        return next(iter(self.records.values())).run


def by_identity(records: Iterable[Record]) -> dict[str, ComparedRuns]:
    """Group by the key of what was asked for. Of a seed that was run by several versions the last run counts."""
    found: defaultdict[str, dict[int, Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: (record.run.seed, record.finished)):
        found[identity_key(Configuration.of(record.run).identity)][record.run.seed] = record
    return {
        key: ComparedRuns(Configuration.of(next(iter(runs.values())).run).identity, runs) for key, runs in found.items()
    }


def differences(one: Identity, other: Identity) -> list[str]:
    """`recipe.optimizer.lr 0.01 instead of 0.1`: what `other` has in place of what `one` has."""
    before, after = dict(_flat("", one)), dict(_flat("", other))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {_said(after, name)} instead of {_said(before, name)}" for name in sorted(names)]


def _said(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "its default"


def _flat(prefix: str, node: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        return [(prefix, node)]
    return [pair for name, value in node.items() for pair in _flat(f"{prefix}.{name}" if prefix else name, value)]
