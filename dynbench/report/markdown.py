"""The summary as GitHub-flavoured Markdown, to be committed and pasted into a README."""

from collections.abc import Iterator, Sequence

from dynbench.analysis.controls import Comparison
from dynbench.analysis.latency import Block, blocks
from dynbench.analysis.literature import Quoted
from dynbench.analysis.summary import ConfigurationRecords, Setting, configurations
from dynbench.analysis.verdicts import verdicts
from dynbench.analysis.words import compared_name, controls_title, mark_meanings, setting_title, spent
from dynbench.record.schema import Record
from dynbench.report.tables import (
    BUDGET_HEADERS,
    CONTROL_HEADERS,
    ENGINE_HEADERS,
    HEADERS,
    LATENCY_HEADERS,
    TEXT_COLUMNS,
    _control_row,
    _engine_timing,
    _timing,
    markdown_table,
    one_line,
    quoted_rows,
    quoted_table,
    result_rows,
)


def markdown_report(
    records: Sequence[Record], comparisons: Sequence[Comparison], literature: Sequence[Quoted] = ()
) -> str:
    """The final table, the budgets, the failures, the controls' table, what was timed, and what papers print of the
    same backbones."""
    known = configurations(records)
    settings = dict.fromkeys(c.setting for c in known)
    parts = [part for setting in settings for part in (_block(setting, known), _budget(setting, known))]
    failed = [record for configuration in known for record in configuration.failed]
    if failed:
        parts.append("\n".join(map(_failure, failed)))
    if comparisons:
        parts += _controls(comparisons)
    parts += [part for block in blocks(records) for part in _latency(block)]
    parts += quoted_table(quoted_rows(settings, literature))
    return "\n\n".join(parts) + "\n"


def _failure(record: Record) -> str:
    return f"- failed: `{record.run_id}`: {one_line(record.error or 'no reason recorded')}"


def _block(setting: Setting, known: Sequence[ConfigurationRecords]) -> str:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    rows = [row for configuration in chosen for row in result_rows(configuration)]
    return f"**{one_line(setting_title(setting, chosen))}**\n\n{markdown_table(HEADERS, rows, TEXT_COLUMNS)}"


def _budget(setting: Setting, known: Sequence[ConfigurationRecords]) -> str:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    rows = [(c.run.label, *spent(c.budget)) for c in chosen if c.budget]
    return f"**Budget of each run, pretraining + own stages**\n\n{markdown_table(BUDGET_HEADERS, rows, TEXT_COLUMNS)}"


def _controls(comparisons: Sequence[Comparison]) -> Iterator[str]:
    rows = [(compared_name(one, comparisons), *_control_row(one)) for one in comparisons]
    yield f"**{controls_title(comparisons)}**\n\n{markdown_table(CONTROL_HEADERS, rows, TEXT_COLUMNS)}"
    notes = mark_meanings(comparisons)
    if notes:
        yield "\\\n".join(f"\\{note}" for note in notes)
    yield "\n".join(f"- {one_line(line)}" for line in verdicts(comparisons))


def _latency(block: Block) -> Iterator[str]:
    """The executors, then the dense backbone's engines, then what has no executor."""
    rows = (_timing(timed, timing) for timed in block.points for timing in timed.latency.timings)
    title = one_line(f"Latency: {block.conditions.net}; {block.conditions.machine}")
    yield f"**{title}**\n\n{markdown_table(LATENCY_HEADERS, rows, TEXT_COLUMNS)}"
    if block.engines:
        rows = (_engine_timing(engine, timing) for engine in block.engines for timing in engine.timings)
        yield f"**The dense backbone on static engines**\n\n{markdown_table(ENGINE_HEADERS, rows, TEXT_COLUMNS)}"
    absent = [f"- {engine.name} was not timed: {one_line(engine.absent)}" for engine in block.engines if engine.absent]
    simulated = [f"- simulated, no executor to time: {one_line(name)}" for name in block.simulated]
    if absent or simulated:
        yield "\n".join([*absent, *simulated])
