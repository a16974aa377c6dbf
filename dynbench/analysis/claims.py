"""Which of the papers' figures were reached: the quoted rows, and the runs here that answer them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from dynbench.analysis.literature import Quoted
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting

Verdict = Literal["met", "not met", "not measured"]


@dataclass(frozen=True)
class ClaimAnswer:
    """The measured runs that answer a quoted row of a paper.

    The row is called `quoted`, the paper is `paper` (its arXiv number); the runs are those of `method` on the row's
    data and backbone. `trained`: whether they start from trained weights, None for either. `points`: at which operating
    points, empty for any; where a paper does not say its cost mode, any may answer. `given`: parameters that they must
    have.
    """

    paper: str
    quoted: str
    method: str
    trained: bool | None = None
    points: tuple[str, ...] = ()
    given: Mapping[str, object] = field(default_factory=dict)


ANSWERS: tuple[ClaimAnswer, ...] = (
    ClaimAnswer("2007.15151", "LC-Net", "lc_net", False),
    ClaimAnswer("2007.15151", "LC-Net pre-trained, parallel", "lc_net", True, ("parallel", "parallel_cancel")),
    ClaimAnswer("2007.15151", "LC-Net pre-trained, sequential", "lc_net", True, ("sequential",)),
    ClaimAnswer("1608.08710", "ResNet-56-pruned-B", "filter_pruning", given={"ratios": [0.6, 0.3, 0.1]}),
    ClaimAnswer("1711.08393", "BlockDrop", "blockdrop"),
    ClaimAnswer("1709.01686", "BranchyNet, ResNet-110", "early_exit", given={"preset": "branchynet"}),
)


@dataclass(frozen=True)
class Claim:
    """A quoted row and the operating points that answer it.

    It is met by one that has, as printed, at least its accuracy for at most its MACs: the mean over seeds, on the test
    split.
    """

    quoted: Quoted
    points: tuple[PointSummary, ...]

    @property
    def affordable(self) -> tuple[PointSummary, ...]:
        """The points that cost no more than is quoted, best first."""
        limit = self.quoted.macs + rounding(self.quoted)
        within = (point for point in self.points if point.macs.mean <= limit)
        return tuple(sorted(within, key=lambda point: -point.test_top1.mean))

    @property
    def verdict(self) -> Verdict:
        """Say whether a point at the quoted cost is as accurate."""
        if not self.points:
            return "not measured"
        return "met" if any(_as_good(point, self.quoted) for point in self.affordable) else "not met"


def claims(setting: Setting, known: Sequence[ConfigurationRecords], rows: Sequence[Quoted]) -> tuple[Claim, ...]:
    """Return the ones of the quoted `rows` on the setting's data and backbone that something here can answer."""
    found = []
    for row in rows:
        answer = _answer(row)
        if row.accepted and answer and (row.dataset, row.backbone) == (setting.dataset, setting.backbone):
            chosen = [configuration for configuration in known if _answers(configuration, answer, setting)]
            points = (point for configuration in chosen for point in configuration.points)
            found.append(Claim(row, tuple(p for p in points if not answer.points or p.name in answer.points)))
    return tuple(found)


def rounding(quoted: Quoted) -> float:
    """Half a unit of the last digit that is printed, in MACs; zeros at the end do not count as digits.

    0 where the row prints something other than MACs or FLOPs.
    """
    if not isinstance(quoted.printed, float | int) or not quoted.printed:
        return 0.0
    exponent = Decimal(repr(quoted.printed)).normalize().as_tuple().exponent
    return 0.5 * float(10 ** int(exponent)) * quoted.macs / quoted.printed


def _answer(row: Quoted) -> ClaimAnswer | None:
    return next((one for one in ANSWERS if (one.paper, one.quoted) == (row.source.arxiv, row.method)), None)


def _answers(configuration: ConfigurationRecords, answer: ClaimAnswer, setting: Setting) -> bool:
    run = configuration.run
    asked = run.method == answer.method and all(run.params.get(key) == value for key, value in answer.given.items())
    return configuration.setting == setting and asked and answer.trained in {None, run.start is not None}


def _as_good(point: PointSummary, quoted: Quoted) -> bool:
    return round(point.test_top1.mean, 2) >= quoted.top1
