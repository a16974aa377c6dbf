"""What configurations are called in tables and plots, where they stand beside each other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynbench.plan.run import Run, parameter


@dataclass(frozen=True)
class Names:
    """Names of runs beside which the others stand: the method, with what was asked of it.

    A parameter that is null leaves the choice to its default: it is named only where not every run of the method leaves
    it so, for then it tells them apart. Records keep the whole label.
    """

    _left: Mapping[str, frozenset[str]]
    """Of each method the parameters that all its runs leave to their default."""
    _shared: Mapping[str, frozenset[str]]
    """Of each method what all its runs were asked."""
    _several: frozenset[str]
    """The methods of which not all runs were asked the same."""

    @classmethod
    def of(cls, runs: Iterable[Run]) -> "Names":
        """Return the names of `runs`."""
        methods: defaultdict[str, list[Run]] = defaultdict(list)
        for run in runs:
            methods[run.method].append(run)
        left = {method: _all(map(_nulls, its)) for method, its in methods.items()}
        asked = {method: [cls(left, {}, frozenset()).parameters(run) for run in its] for method, its in methods.items()}
        several = frozenset(method for method, words in asked.items() if any(one != words[0] for one in words))
        return cls(left, {method: _all(words) for method, words in asked.items()}, several)

    def parameters(self, run: Run) -> list[str]:
        """Return what was asked of the method, a parameter each: `l1_layer=0.1`."""
        left = self._left[run.method]
        return [parameter(key, value) for key, value in run.given.items() if key not in left]

    def whole(self, run: Run) -> str:
        """Return the method and everything that was asked of it."""
        return " ".join([run.method, *self.parameters(run)])

    def shared(self, run: Run) -> list[str]:
        """Return what was asked of all runs of the method, this one among them."""
        return [word for word in self.parameters(run) if word in self._shared[run.method]]

    def differing(self, run: Run) -> list[str]:
        """Return what tells the run from the method's others."""
        return [word for word in self.parameters(run) if word not in self._shared[run.method]]

    def several(self, run: Run) -> bool:
        """Say whether other runs of the method were asked something else."""
        return run.method in self._several

    def brief(self, run: Run) -> str:
        """Return the method and what tells the run from the method's others."""
        return " ".join([run.method, *self.differing(run)])


def _nulls(run: Run) -> Iterable[str]:
    return (key for key, value in run.params.items() if value is None)


def _all(of_each: Iterable[Iterable[str]]) -> frozenset[str]:
    """What every one of them has."""
    return frozenset.intersection(*map(frozenset, of_each))
