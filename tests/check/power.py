"""How often `dynbench check` misses what is worse, and how often it alarms for nothing: simulated, with its own code.

`python -m tests.check.power --trials 200` prints the table of docs/regression-checks.md.

A test image is answered rightly with a chance of its own, drawn from a beta distribution. Every training answers again,
on both sides and for each seed, as on other software: on the same, a seed trains the same net and nothing is noise.
The code that is checked is worse by a true change of accuracy, which takes the same part of every image's chance.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
import numpy as np

from dynbench.analysis.statistics import Flags
from dynbench.check.changes import accuracy_change
from dynbench.check.outcome import Verdict
from dynbench.check.verdict import judge
from dynbench.suite.rules import parse_rule

SEEDS = (1, 2, 3, 5)
IN_LIMITS = (0.0, 0.5, 1.5, 2.0, 3.0, 5.0)
"""True changes for the worse, in limits."""
PASSED = (Verdict.OK, Verdict.BETTER)


@dataclass(frozen=True)
class Net:
    """What is trained: its accuracy (a fraction) on this many test images, and the fraction of them on which two
    trainings of the same code differ. `limit`: of the rule, in points."""

    title: str
    images: int
    accuracy: float
    differ: float
    limit: float

    def chances(self, rng: np.random.Generator) -> np.ndarray:
        """(images,): of each to be answered rightly. Two draws of it differ as often as two trainings do."""
        part = self.differ / (2 * self.accuracy * (1 - self.accuracy))
        total = part / (1 - part)
        return rng.beta(self.accuracy * total, (1 - self.accuracy) * total, self.images)


NETS = (
    Net("360 images, 98 %, trainings differ on 2 % of them, limit 1 point (as `suites/ci.yaml`)", 360, 0.98, 0.02, 1.0),
)


def outcome(net: Net, losses: Sequence[float], rng: np.random.Generator) -> Verdict:
    """The verdict of one check, of as many seeds as there are `losses`: true ones of each, in points."""
    chances = net.chances(rng)
    before: dict[int, Flags] = {seed: rng.random(net.images) < chances for seed in range(len(losses))}
    after: dict[int, Flags] = {
        seed: rng.random(net.images) < chances * (1 - loss / 100 / net.accuracy) for seed, loss in enumerate(losses)
    }
    return judge(parse_rule("test_top1", f"-{net.limit}pt"), accuracy_change(before, after)).verdict


def shares(net: Net, losses: Sequence[float], trials: int) -> Mapping[str, float]:
    """Of `trials` checks, the part that passed, could not be judged, and found a regression."""
    rng = np.random.default_rng([net.images, len(losses), *(round(1000 * loss) for loss in losses)])
    found = Counter(outcome(net, losses, rng) for _ in range(trials))
    passed = sum(found[verdict] for verdict in PASSED)
    counts = {"passed": passed, "not judged": found[Verdict.UNJUDGED], "regression": found[Verdict.REGRESSION]}
    return {name: count / trials for name, count in counts.items()}


def table(net: Net, trials: int) -> Iterator[str]:
    """Lines of Markdown: a row for each true change, a column for each number of seeds."""
    yield f"{net.title}; {trials} checks a cell: passed / not judged / regression, in per cent"
    yield ""
    yield "| true loss | " + " | ".join(f"{seeds} seed{'s' if seeds > 1 else ''}" for seeds in SEEDS) + " |"
    yield "|---|" + "---:|" * len(SEEDS)
    for times in IN_LIMITS:
        loss = times * net.limit
        yield _row(f"{loss:g} points", [shares(net, [loss] * seeds, trials) for seeds in SEEDS])
    collapsed = [shares(net, [20.0, *[0.0] * (seeds - 1)], trials) for seeds in SEEDS]
    yield _row("20 points, of one seed alone", collapsed)


def _row(name: str, cells: Sequence[Mapping[str, float]]) -> str:
    return (
        f"| {name} | " + " | ".join(" / ".join(f"{100 * part:.0f}" for part in cell.values()) for cell in cells) + " |"
    )


@click.command()
@click.option("--trials", default=500, show_default=True, type=click.IntRange(min=1))
def main(trials: int) -> None:
    """Print a table for each kind of net."""
    for net in NETS:
        for line in table(net, trials):
            click.echo(line)
        click.echo()


if __name__ == "__main__":
    main()
