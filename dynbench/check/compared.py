"""Which runs a baseline's are compared with: those of which the same was asked, whatever code answered."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynbench.plan.configuration import Configuration, Identity, identity_key
from dynbench.plan.run import RESULTS_VERSION, Run
from dynbench.record.schema import Record


@dataclass(frozen=True)
class ComparedRuns:
    """Runs of which the same was asked, but for the seed: the latest of each.

    `doubtful`: of the seeds that were run several times, those of which it cannot be told which run that is, and why.
    """

    identity: Identity
    records: Mapping[int, Record]
    doubtful: Mapping[int, str] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        return next(iter(self.records.values())).run


def by_identity(records: Iterable[Record]) -> dict[str, ComparedRuns]:
    """Group by the key of what was asked for.

    Of a seed that was run by several versions the run of the newest counts, if it is also the last: clocks run behind,
    and old records are left lying about.
    """
    found: defaultdict[str, defaultdict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda record: record.run.seed):
        found[identity_key(Configuration.of(record.run).identity)][record.run.seed].append(record)
    return {key: _compared(runs) for key, runs in found.items()}


def _compared(runs: Mapping[int, Sequence[Record]]) -> ComparedRuns:
    latest = {seed: max(several, key=_age) for seed, several in runs.items()}
    doubtful = {seed: reason for seed, several in runs.items() if (reason := _doubt(latest[seed], several))}
    return ComparedRuns(Configuration.of(next(iter(latest.values())).run).identity, latest, doubtful)


def _age(record: Record) -> tuple[tuple[int, int], float]:
    return _versions(record), record.finished


def _versions(record: Record) -> tuple[int, int]:
    """Of the harness and of the method: the ids of runs of other versions differ."""
    run, known = record.run, range(RESULTS_VERSION, 0, -1)
    return next((version for version in known if run.id_by(version) == record.run_id), 0), run.method_version


def _doubt(latest: Record, several: Sequence[Record]) -> str:
    """Why `latest` may not be the last of the runs of one seed; empty: it is."""
    for other in several:
        if other is not latest and (_versions(other) == _versions(latest) or other.finished > latest.finished):
            return f"{latest.run_id} or {other.run_id}: which is the later run is not certain; delete the older one"
    return ""


def differences(one: Identity, other: Identity) -> list[str]:
    """Return, as `recipe.optimizer.lr 0.01 instead of 0.1`, what `other` has in place of what `one` has."""
    before, after = dict(_flat("", one)), dict(_flat("", other))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {_said(after, name)} instead of {_said(before, name)}" for name in sorted(names)]


def _said(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "its default"


def _flat(prefix: str, node: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        return [(prefix, node)]
    return [pair for name, value in node.items() for pair in _flat(f"{prefix}.{name}" if prefix else name, value)]
