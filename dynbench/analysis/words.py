"""Figures and titles as people read them, the same in the terminal, in Markdown and in plots. Always MACs."""

from collections.abc import Callable, Sequence
from typing import Protocol

from dynbench.analysis.controls import MATCHED, Comparison
from dynbench.analysis.names import Names
from dynbench.analysis.summary import CONTROL, ConfigurationRecords, SeedMean, Setting
from dynbench.data.catalogue import caveat, with_caveat
from dynbench.record.schema import Budget


def byte_size(count: int) -> str:
    """Return bytes in words, as `312 kB`, `1.24 GB`: of 1,000."""
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    scale = 0
    while count >= 999.5 * 1000**scale and scale + 1 < len(units):  # from there on three digits become four
        scale += 1
    return f"{count / 1000**scale:.3g} {units[scale]}"


def duration(seconds: float) -> str:
    """Return a duration in words, as `42 s`, `3 min`, `2 h 05 min`, `1,234 h`."""
    minute, hour, many = 60, 3600, 360_000
    if seconds < minute:
        return f"{seconds:.0f} s"
    if seconds < hour:
        return f"{seconds / minute:.0f} min"
    if seconds >= many:
        return f"{seconds / hour:,.0f} h"
    return f"{int(seconds // hour)} h {int(seconds % hour // minute):02d} min"


UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short_macs(macs: float) -> str:
    """Return a number of MACs as it is written wherever people read it.

    Three figures and a unit, `41.4M`, `556M`, `1.30G`; below a thousand the number itself.
    """
    for size, unit in UNITS:
        if macs >= 0.9995 * size:  # 999.6 k would round to "1000k"
            value = macs / size
            decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0  # noqa: PLR2004
            return f"{value:.{decimals}f}{unit}"
    return f"{macs:.0f}"


def accuracy(estimate: SeedMean) -> str:
    """Return an accuracy as `95.25`, or `95.25 ±0.31` with the half-width of its interval."""
    width = estimate.half_width
    return f"{estimate.mean:.2f}" if width is None else f"{estimate.mean:.2f} ±{width:.2f}"


def epochs(configuration: ConfigurationRecords) -> str:
    """Return the epochs of a configuration's runs in words, pretraining included."""
    return "" if configuration.epochs is None else str(configuration.epochs)


class Spent(Protocol):
    """A stage of training, planned or done."""

    @property
    def name(self) -> str:
        """Return the stage's name."""

    @property
    def epochs(self) -> int:
        """Return the stage's epochs."""


class Training(Protocol):
    """What was spent, or will be: on the weights that a run starts from, and by the run."""

    @property
    def pretrained(self) -> Sequence[Spent]:
        """Return the stages that its start was trained by."""

    @property
    def stages(self) -> Sequence[Spent]:
        """Return its own stages."""


def stage_epochs(training: Training) -> str:
    """Return epochs as `22`.

    With pretraining `22 + 12`; stages that are not the usual one by name: `22 + 12 curriculum + 8 joint`. What has no
    epochs, as calibration, is left out.
    """
    before = [str(sum(stage.epochs for stage in training.pretrained))] if training.pretrained else []
    trained = [stage for stage in training.stages if stage.epochs]
    own = [f"{stage.epochs}{'' if stage.name == 'train' else f' {stage.name}'}" for stage in trained]
    return " + ".join([*before, *own])


def spent(budget: Budget) -> tuple[str, str, str, str]:
    """Return epochs by stage, all epochs, training MACs before and altogether."""
    before = short_macs(budget.pretrained_train_macs) if budget.pretrained else ""
    return stage_epochs(budget), str(budget.epochs), before, short_macs(budget.train_macs)


def setting_title(setting: Setting, chosen: Sequence[ConfigurationRecords]) -> str:
    """Return a title such as `quickstart: resnet8 on digits, dense 0.75 MMACs; mean over 3 seeds ± 95 % interval`."""
    width = "" if setting.width == 1 else f" x{setting.width:g}"
    dense = short_macs(max(configuration.macs_dense for configuration in chosen))
    title = f"{setting.suite}: {setting.backbone}{width} on {with_caveat(setting.dataset)}, dense {dense} MACs"
    return f"{title}; {seeds(chosen)}"


def seeds(chosen: Sequence[ConfigurationRecords]) -> str:
    """Return what the figures are means of."""
    counts = {len(configuration.finished) for configuration in chosen if configuration.finished}
    if counts <= {1}:
        return "1 seed"
    number = str(counts.pop()) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f"{number} seeds, ± 95 %"


def control_name(configuration: ConfigurationRecords) -> str:
    """Return `width 0.43` for a dense net, else the method's name."""
    run = configuration.run
    return f"width {run.built.width:.3g}" if run.method == CONTROL else run.method


def controls_title(comparisons: Sequence[Comparison]) -> str:
    """Return the head of the controls' table, with the caveats of the data sets."""
    datasets = dict.fromkeys(comparison.point.configuration.setting.dataset for comparison in comparisons)
    warned = "".join(f"; {with_caveat(dataset)}" for dataset in datasets if caveat(dataset))
    return f"Against the nearest static controls, on the same test images{warned}"


def compared_names(comparisons: Sequence[Comparison]) -> Callable[[Comparison], str]:
    """Return what names the dynamic method of one of the `comparisons`.

    With its parameters, and with its backbone where they are several.
    """
    configurations = [comparison.point.configuration for comparison in comparisons]
    several = len({configuration.setting.backbone for configuration in configurations}) > 1
    names = Names.of(configuration.run for configuration in configurations)

    def name(comparison: Comparison) -> str:
        configuration = comparison.point.configuration
        return (
            f"{names.whole(configuration.run)}, {configuration.setting.backbone}"
            if several
            else names.whole(configuration.run)
        )

    return name


def over_seeds(comparison: Comparison) -> str:
    """Return `+0.20 ±0.31`, the mean difference of the common seeds and its interval; empty for one seed."""
    width = comparison.seeds.half_width
    return "" if width is None else f"{comparison.seeds.mean:+.2f} ±{width:.2f}"


def marks(comparison: Comparison) -> str:
    """Return what `mark_meanings` explains."""
    return f"{'' if comparison.matched else '*'}{'+' if comparison.trained_longer else ''}"


def mark_meanings(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a line for each mark that one of the comparisons has."""
    lines = []
    if not all(comparison.matched for comparison in comparisons):
        lines.append(f"* not at equal cost: MACs differ by more than {100 * MATCHED:.0f} %")
    if any(comparison.trained_longer for comparison in comparisons):
        lines.append("+ the control was trained for more epochs than the method")
    return lines


def p_values(comparison: Comparison) -> str:
    """Return the exact McNemar p-value, or the range of them over the seeds."""
    low, high = min(comparison.mcnemar), max(comparison.mcnemar)
    return _p(low) if low == high else f"{_p(low)}-{_p(high)}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")  # noqa: PLR2004
