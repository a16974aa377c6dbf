"""What was found of a module, as numbers, in one sentence, as JSON and as a fragment of a page."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

MASKED = 0.01
"""Of a layer's outputs: fewer multiplied by zero are not worth a word."""

LAYERS_SHOWN = 5
"""This many layers a table shows; the JSON and the page have all."""


@dataclass(frozen=True)
class BatchTiming:
    """The timing at one batch size.

    Milliseconds a call of the module and of the reference, MACs of an image that were executed, and `realised`: saved
    time over saved MACs, None where no MACs were saved.
    """

    batch: int
    p50_ms: float
    p95_ms: float
    mean_ms: float
    reference_ms: float
    macs_per_image: float
    realised: float | None


@dataclass(frozen=True)
class Masked:
    """`share` of the outputs of `layer` that were multiplied by zero after they had been computed, over images."""

    layer: str
    share: float


@dataclass(frozen=True)
class AuditReport:
    """`macs` of each image alone; by layer and by operator, means over images.

    `patterns`: how many images ran each different set of layers and amounts. `reference_macs`: of the dense module, or
    of the costliest image. `masked`: what was computed for nothing. `alone`: how many images get another answer in a
    batch than alone.
    """

    name: str
    macs: tuple[int, ...]
    by_layer: dict[str, float]
    by_operator: dict[str, float]
    patterns: tuple[int, ...]
    reference: str
    reference_macs: float
    masked: tuple[Masked, ...]
    alone: int
    timings: tuple[BatchTiming, ...]

    @property
    def mean(self) -> float:
        """Mean MACs of an image."""
        return sum(self.macs) / len(self.macs)

    def percentile(self, share: float) -> int:
        """Return the MACs that `share` of the images, in [0, 1], do not exceed."""
        return sorted(self.macs)[max(0, math.ceil(share * len(self.macs)) - 1)]

    @property
    def dynamic(self) -> bool:
        """Whether images differ in what they run."""
        return len(self.patterns) > 1

    @property
    def entropy(self) -> float:
        """Of what ran, in bits: 0 where every image runs the same."""
        total = sum(self.patterns)
        return sum(one / total * math.log2(total / one) for one in self.patterns)

    @property
    def verdict(self) -> str:
        """What was found, in one sentence."""
        return (
            ", ".join([self._kind(), *self._clock()])
            + "."
            + "".join(f" {one}" for one in (*self._masks(), *self._batch()))
        )

    def _kind(self) -> str:
        if not self.dynamic:
            return f"It is static: every image executes {_short(self.mean)} MACs"
        saved = 100 * (1 - self.mean / self.reference_macs) if self.reference_macs else 0.0
        return (
            f"It is dynamic: images execute {_short(min(self.macs))} to {_short(max(self.macs))} MACs, on average "
            f"{saved:.0f} % fewer than {self.reference}"
        )

    def _clock(self) -> list[str]:
        found = [one for one in self.timings if one.realised is not None]
        if not self.timings:
            return ["and nothing was timed"]
        if not found:
            return ["and there is nothing to realise on the clock"]
        return [f"of which the clock realises {one.realised:.2f} at batch {one.batch}" for one in found]

    def _masks(self) -> list[str]:
        return [
            f"{100 * one.share:.0f} % of the outputs of {one.layer} are multiplied by zero afterwards: computed anyway."
            for one in self.masked
        ]

    def _batch(self) -> list[str]:
        found = f"{self.alone} of {len(self.macs)} images get another answer in a batch than alone."
        return [found] if self.alone else []

    def to_json(self) -> str:
        """Return all of it, with mean, p50, p95, max, entropy and verdict."""
        figures = {"mean": self.mean, "p50": self.percentile(0.5), "p95": self.percentile(0.95), "max": max(self.macs)}
        found = {"dynamic": self.dynamic, "entropy_bits": self.entropy, "verdict": self.verdict}
        return json.dumps(asdict(self) | {"macs_figures": figures} | found, indent=1)

    def rows(self) -> list[tuple[str, str]]:
        """Return what a table shows: names and figures."""
        rows = [
            ("images", str(len(self.macs))),
            ("MACs mean", f"{self.mean:,.0f}"),
            ("MACs p50 / p95 / max", f"{self.percentile(0.5):,} / {self.percentile(0.95):,} / {max(self.macs):,}"),
            ("different patterns", f"{len(self.patterns)} ({self.entropy:.2f} bits)"),
            (f"MACs of {self.reference}", f"{self.reference_macs:,.0f}"),
            ("other answers in a batch", str(self.alone)),
        ]
        costliest = Counter(self.by_operator).most_common() + Counter(self.by_layer).most_common(LAYERS_SHOWN)
        rows += [(f"  {name}", f"{macs:,.0f}") for name, macs in costliest if name]
        for one in self.timings:
            realised = "" if one.realised is None else f", realised {one.realised:.2f}"
            figures = f"p50 {one.p50_ms:.2f}, p95 {one.p95_ms:.2f} ms, reference {one.reference_ms:.2f} ms{realised}"
            rows.append((f"batch {one.batch}", figures))
        return rows

    def to_html(self) -> str:
        """Return a fragment for a page: a table, layers from the costliest, and the verdict."""
        layers = Counter(self.by_layer).most_common()
        return (
            f"<section class='audit'><h3>{escape(self.name)}</h3><p>{escape(self.verdict)}</p>"
            f"{_table(self.rows())}<details><summary>by layer</summary>"
            f"{_table([(name, f'{macs:,.0f}') for name, macs in layers])}</details></section>"
        )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{lines}</table>"


def _short(macs: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if macs >= size:
            return f"{macs / size:.3g} {unit}"
    return f"{macs:.0f}"
