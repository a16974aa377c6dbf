"""Latencies in the tables and the plot, from records alone."""

from pathlib import Path

import pytest
from rich.console import Console

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.columns import flat_table
from dynbench.cli.tables import show_latency
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.report.markdown import markdown_report
from dynbench.report.plots.realised import realised_figure
from dynbench.report.plots.style import save, styled
from dynbench.report.report_files import draw_plots
from tests.helpers.records import MODES, Fake, analysed, make_engine, make_record, write_fakes

ENGINES = (
    make_engine("pytorch eager", 1.0),
    make_engine("torch.compile", 0.8),
    make_engine("onnxruntime", 1.0, batches=(), absent="not installed"),
)
SUITE = (
    Fake(speeds=(1.0,), engines=ENGINES),
    Fake(given={"width": 0.5}, mmacs=(10.4,), speeds=(2.5,), engines=ENGINES),
    Fake("lc_net", {"l1_channel": 0.5}, 0, MODES, 90.0, (10.0, 20.0, 25.0), speeds=(3.2, 1.5, 1.2), engines=ENGINES),
)


def records_of(*fakes: Fake) -> list[Record]:
    return [make_record(fake)[0] for fake in fakes]


def printed(records: list[Record]) -> list[str]:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(show_latency(analysed(records)))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_table_for_a_terminal() -> None:
    lines = printed(records_of(*SUITE))
    assert lines[:2] == ["Latency: resnet20 on cifar10", "a CPU, 2 threads, fp32, pytorch eager 2.11.0"]
    assert max(map(len, lines)) <= 80
    # batch, p50, p99, dense p50, speed-up, by MACs, realised, realised best
    assert "  sequential             1 1.25  1.5     4  3.20 4.00  0.80  0.64" in lines
    assert "                         8   10   12    32  3.20 4.00  0.80" in lines
    assert any(line.split() == ["torch.compile", "1.0", "1", "3.2", "3.2", "312", "1.25"] for line in lines)
    assert "onnxruntime: not installed" in lines


def test_without_engines_there_is_no_column_for_the_best() -> None:
    text = "\n".join(printed(records_of(Fake(speeds=(1.0,)))))
    assert "best" not in text
    assert "static engines" not in text
    assert printed(records_of(Fake())) == [""]


def test_what_may_not_be_compared_has_a_table_of_its_own() -> None:
    records = records_of(Fake(speeds=(1.0,)), Fake(given={"width": 0.5}, speeds=(1.0,), threads=1))
    assert [block.conditions.threads for block in analysed(records).latency] == [2, 1]
    assert [len(block.points) for block in analysed(records).latency] == [1, 1]


def test_what_has_no_executor_is_simulated_and_what_was_not_timed_is_not() -> None:
    untimed = make_record(Fake("l_net"))[0]
    audited = untimed.points[0].model_copy(update={"audit_images": 16})
    timed = records_of(Fake(speeds=(1.0,)))
    (block,) = analysed([*timed, untimed]).latency
    assert block.simulated == ("l_net, default",)
    (block,) = analysed([*timed, untimed.model_copy(update={"points": (audited,)})]).latency
    assert block.simulated == ()


def test_seeds_are_told_apart() -> None:
    (block,) = analysed(records_of(*(Fake(seed=seed, speeds=(1.0,)) for seed in (0, 1)))).latency
    assert [timed.label for timed in block.points] == ["dense seed=0", "dense seed=1"]


def test_the_table_in_markdown(tmp_path: Path) -> None:
    lines = markdown_report(Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, SUITE))).splitlines()
    assert "**Latency: resnet20 on cifar10; a CPU, 2 threads, fp32, pytorch eager 2.11.0**" in lines
    row = (
        "| lc_net l1_channel=0.5 | sequential | 1 | 1.25 | 1.38 | 1.5 | 4 | 3.20 | 4.00 | 0.80 | 0.64 | torch.compile |"
    )
    assert row in lines
    assert "| torch.compile | 1.0 | 1 | 3.2 | 3.2 | 3.2 | 312 | 1.25 |" in lines
    assert "- onnxruntime was not timed: not installed" in lines


def test_the_plot_is_drawn_when_there_are_latencies(tmp_path: Path) -> None:
    files = draw_plots(Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, SUITE)))
    assert {"realised.png", "realised.svg"} <= {path.name for path in files}
    svg = (tmp_path / "plots" / "realised.svg").read_text()
    for text in ("batch 1", "batch 32", "dense, torch.compile", "width 0.5", "sequential"):
        assert f"<!-- {text} -->" in svg
    assert "onnxruntime" not in svg
    with styled():
        again, _ = save(realised_figure(analysed(records_of(*SUITE)).latency), tmp_path / "again")
    assert again.read_bytes() == (tmp_path / "plots" / "realised.png").read_bytes()


def test_points_are_drawn_where_they_belong() -> None:
    figure = realised_figure(analysed(records_of(*SUITE)).latency)
    single, *_ = figure.axes
    drawn = [line.get_xydata().tolist() for line in single.lines if line.get_marker() not in ("None", "none", "")]
    assert [[round(x, 3), round(y, 3)] for line in drawn for x, y in line] == [
        [1.0, 1.0],
        [3.846, 2.5],
        [4.0, 3.2],
        [2.0, 1.5],
        [1.6, 1.2],
    ]
    levels = {round(float(line.get_ydata()[0]), 3) for line in single.lines if len(set(line.get_ydata())) == 1}
    assert {1.0, 1.25} <= levels


def test_a_single_batch_size_has_a_single_panel() -> None:
    record = make_record(Fake(speeds=(1.0,)))[0]
    latency = record.points[0].latency
    assert latency is not None
    point = record.points[0].model_copy(update={"latency": latency.model_copy(update={"timings": latency.timings[:1]})})
    figure = realised_figure(analysed([record.model_copy(update={"points": (point,)})]).latency)
    panel, _key = figure.axes
    assert panel.get_title().splitlines()[-1] == "batch 1"


def test_the_flat_table_has_the_best_engine() -> None:
    table = flat_table(records_of(*SUITE))
    assert set(table.best_engine) == {"torch.compile"}
    assert table.realised_best.tolist() == pytest.approx([0.8, 0.52, 0.64, 0.6, 0.6])
