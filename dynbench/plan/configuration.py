"""The one grouping of runs: those that differ in nothing but their seed are of one configuration."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynbench.plan.run import Run

Identity = Mapping[str, Any]
"""What was asked for, as JSON has it: what a baseline's file holds."""


@dataclass(frozen=True)
class Configuration:
    """A run without its seed: plan, estimates, controls and report take runs of equal configurations together.

    Equal are those with the same `key`: everything of a run but its seed, and but the seed's share in where it starts
    from (the id of its own dense run, the place of a file). Versions of harness and method are in it, and the name of
    the suite: what other code or another suite came to is another row of a report. `identity` is what a check groups by
    instead.
    """

    key: str
    run: Run = field(compare=False, repr=False)
    """One of its runs."""

    @classmethod
    def of(cls, run: Run) -> "Configuration":
        """Return the configuration that the run is of."""
        content = run.model_dump(mode="json", exclude={"seed": True, "start": {"run_id", "file"}})
        return cls(json.dumps([content, run.start is not None], sort_keys=True), run)

    @property
    def label(self) -> str:
        """The method and what was asked of it, for people."""
        return self.run.label

    @property
    def identity(self) -> Identity:
        """What was asked for, whatever code answers.

        What a run's id is made from, without the versions of harness and method, so that a new version is compared with
        the old one and not missed. Values equal to their defaults are left out: a changed default is a change of the
        code, and its results are compared too.
        """
        run = self.run
        return {
            "data": run.data.model_dump(mode="json", exclude_defaults=True),
            "backbone": run.backbone.model_dump(mode="json", exclude_defaults=True),
            "recipe": run.recipe.model_dump(mode="json", exclude_defaults=True),
            "method": run.method,
            "params": run.given_but_the_file,
            "start": None if run.start is None else run.start.sha256 or "dense",
        }


def identity_key(asked: Identity) -> str:
    """Return a text that is equal for what is equal, also when it went through a file."""
    return json.dumps(asked, sort_keys=True)


def by_configuration(runs: Iterable[Run]) -> dict[Configuration, tuple[Run, ...]]:
    """Return the runs of each configuration, in their order."""
    found: defaultdict[Configuration, list[Run]] = defaultdict(list)
    for run in runs:
        found[Configuration.of(run)].append(run)
    return {configuration: tuple(group) for configuration, group in found.items()}
