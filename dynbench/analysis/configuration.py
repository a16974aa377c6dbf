"""Which runs a baseline's are compared with: those of which the same was asked, whatever code answered."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dynbench.plan.run import Run
from dynbench.record.schema import Record

Identity = Mapping[str, Any]


@dataclass(frozen=True)
class ComparedRuns:
    """Runs that differ in nothing but their seed: the latest of each."""

    identity: Identity
    records: Mapping[int, Record]

    @property
    def run(self) -> Run:
        return next(iter(self.records.values())).run


def identity(run: Run) -> Identity:
    """What was asked for, but the seed: what a run's id is made from, without the versions of harness and method, so
    that a new version is compared with the old one and not missed. Values equal to their defaults are left out: a
    changed default is a change of the code, and its results are compared too."""
    return {
        "data": run.data.model_dump(mode="json", exclude_defaults=True),
        "backbone": run.backbone.model_dump(mode="json", exclude_defaults=True),
        "recipe": run.recipe.model_dump(mode="json", exclude_defaults=True),
        "method": run.method,
        "params": run.given_but_the_file,
        "start": None if run.start is None else run.start.sha256 or "dense",
    }


def key(asked: Identity) -> str:
    """Equal for what is equal, also when it went through a file."""
    return json.dumps(asked, sort_keys=True)


def by_configuration(records: Iterable[Record]) -> dict[str, ComparedRuns]:
    """Configurations by the key of their identity. Of a seed that was run by several versions the last run counts."""
    found: defaultdict[str, dict[int, Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: (record.run.seed, record.finished)):
        found[key(identity(record.run))][record.run.seed] = record
    return {key: ComparedRuns(identity(next(iter(runs.values())).run), runs) for key, runs in found.items()}


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
