"""The papers' own numbers (`results/literature.yaml`), each checked against the dense cost of its backbone.

Papers print "FLOPs" for MACs or for twice the MACs, and copy each other's tables wrongly by factors of ten. An
accepted figure that is costlier than its dense backbone is refused here, so it never reaches a plot. The check is
one-sided: a figure that is too small passes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from dynbench.analysis.words import short_macs
from dynbench.errors import UserError, did_you_mean
from dynbench.suite.locate import Locator, explain
from dynbench.suite.model import Model
from dynbench.suite.read import parse_yaml, plain, read_text

NAME = "literature.yaml"
SHOWN_AS = "results/literature.yaml"
TOLERANCE = 1.05
"""Papers round, and count classifier or shortcuts differently: 1.29 and 1.30 GMACs are the same net."""


@dataclass(frozen=True)
class DenseCost:
    """MACs of one image through a dense backbone on a data set, and who says so."""

    dataset: str
    backbone: str
    macs: float
    source: str


_DYNBENCH = "dynbench.cost.dense_macs"
_TORCHVISION = "torchvision model documentation (GFLOPS meaning GMACs)"
DENSE_COSTS: tuple[DenseCost, ...] = (
    DenseCost("cifar10", "resnet18", 0.556e9, _DYNBENCH),
    DenseCost("cifar10", "resnet50", 1.30e9, _DYNBENCH),
    DenseCost("cifar10", "resnet101", 2.5e9, "arXiv 2007.15151, Table I"),
    DenseCost("cifar10", "resnet32", 69e6, _DYNBENCH),
    DenseCost("cifar10", "resnet56", 126e6, _DYNBENCH),
    DenseCost("cifar10", "resnet110", 253e6, _DYNBENCH),
    DenseCost("imagenet", "resnet18", 1.814e9, _TORCHVISION),
    DenseCost("imagenet", "resnet34", 3.664e9, _TORCHVISION),
    DenseCost("imagenet", "resnet50", 4.089e9, _TORCHVISION),
    DenseCost("imagenet", "resnet101", 7.801e9, _TORCHVISION),
)


class Source(Model):
    """The paper that printed the figure, which need not be the method's own."""

    paper: str
    arxiv: str | None = Field(None, pattern=r"^\d{4}\.\d{4,5}$")


class Quoted(Model):
    """One figure as printed, and what it means in MACs per image. Accuracies in per cent."""

    method: str
    source: Source
    place: str
    """Table or section."""
    dataset: str
    backbone: str | None = None
    """None: the method's own net, whose cost is then not checked unless `dense_macs` is given."""
    dense_macs: PositiveFloat | None = None
    """Dense cost of a backbone that `DENSE_COSTS` does not know, by the same paper."""
    unit: str
    """As printed, with what it means: "GFLOPs meaning GMACs"."""
    printed: str | float
    macs: PositiveFloat
    """What `printed` says, in MACs."""
    top1: float = Field(ge=0, le=100)
    top5: float | None = Field(None, ge=0, le=100)
    note: str | None = None
    accepted: bool = True
    reason: str | None = None
    """Why the figure is not accepted; a rejected row is on file, and is never drawn."""

    @model_validator(mode="after")
    def _rejected_for_a_reason(self) -> "Quoted":
        if self.accepted != (self.reason is None):
            raise ValueError("a row has a reason when, and only when, it is rejected (accepted: false)")
        return self

    @property
    def label(self) -> str:
        """Method and paper, for plots and messages."""
        return f"{self.method} ({self.source.paper})"


class LiteratureFile(Model):
    """The whole file."""

    quoted: tuple[Quoted, ...] = ()


def read_literature(path: Path | None = None) -> tuple[Quoted, ...]:
    """Return every row of the file at `path` (default: dynbench's own), rejected ones too.

    Raises UserError with file:line for a row that does not fit the schema, names an unknown backbone, or has
    more MACs than its dense backbone.
    """
    path = path or literature_path()
    locator = Locator(str(path), parse_yaml(read_text(path), str(path)))
    try:
        file = LiteratureFile.model_validate(plain(locator.document) or {})
    except ValidationError as error:
        raise UserError(explain(error, locator, (), LiteratureFile)) from error
    for index, row in enumerate(file.quoted):
        fault = _fault(row) if row.accepted else None
        if fault:
            raise UserError(f"{locator.at(('quoted', index, 'macs'))}: {row.label}, {row.place}: {fault}")
    return file.quoted


def literature_path() -> Path:
    """Return the copy in the installed package, else the repository's."""
    packaged = Path(__file__).with_name(NAME)
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "results" / NAME


def quoted_on(dataset: str, rows: Iterable[Quoted]) -> tuple[Quoted, ...]:
    """Return the accepted rows for a data set."""
    return tuple(row for row in rows if row.accepted and row.dataset == dataset)


def beside(measured: Collection[tuple[str, str]], rows: Sequence[Quoted]) -> tuple[Quoted, ...]:
    """Return the accepted rows of the `measured` (data set, backbone), and what else stands in the same tables."""
    found: list[Quoted] = []
    for dataset in dict.fromkeys(name for name, _ in measured):
        accepted = quoted_on(dataset, rows)
        tables = {(row.source.paper, row.place) for row in accepted if (dataset, row.backbone) in measured}
        found += [row for row in accepted if (row.source.paper, row.place) in tables]
    return tuple(found)


def _fault(row: Quoted) -> str | None:
    """What is wrong with the row's MACs, or None."""
    if row.backbone is None and row.dense_macs is None:
        return None
    dense = row.dense_macs or _dense_macs(row)
    if dense is None:
        known = [cost.backbone for cost in DENSE_COSTS if cost.dataset == row.dataset]
        return f'no dense cost of "{row.backbone}" on {row.dataset}; {did_you_mean(str(row.backbone), known)}'
    if row.macs <= TOLERANCE * dense:
        return None
    return (
        f"{short_macs(row.macs)} MACs are {row.macs / dense:.3g} times the dense {row.backbone or 'net'} on "
        f"{row.dataset} ({short_macs(dense)}); is it a slip by ten, or 2 x MACs?"
    )


def _dense_macs(row: Quoted) -> float | None:
    costs = (c.macs for c in DENSE_COSTS if (c.dataset, c.backbone) == (row.dataset, row.backbone))
    return next(costs, None)
