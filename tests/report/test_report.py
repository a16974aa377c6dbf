"""Statistics, tables and figures made from records alone."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.controls import Comparison
from dynbench.analysis.literature import read_literature
from dynbench.analysis.statistics import Paired, bootstrap_interval, mcnemar, paired_intervals
from dynbench.analysis.summary import SeedMean, configurations, pareto_front, seed_mean
from dynbench.analysis.verdicts import verdicts
from dynbench.analysis.words import short_macs
from dynbench.cli.commands.report import report_command
from dynbench.cli.tables import show_brief, show_controls, show_results, wrap_label
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.record.store import read_record
from dynbench.report.markdown import markdown_report
from dynbench.report.plots.accuracy_panel import make_panel
from dynbench.report.plots.style import method_colour
from dynbench.report.report_files import draw_plots
from tests.helpers.records import MODES, Fake, analysed, make_record, small_suite, write_fakes

FILES = ["accuracy-macs.png", "accuracy-macs.svg", "macs-histogram.png", "macs-histogram.svg"]

places = st.tuples(st.integers(0, 8), st.integers(0, 8))


def printed(renderable: object) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def dominates(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(st.lists(places, max_size=30))
def test_front_is_what_nothing_dominates(items: list[tuple[int, int]]) -> None:
    front = pareto_front(items, lambda item: item[0], lambda item: item[1])
    assert set(front) == {item for item in items if not any(dominates(other, item) for other in items)}
    assert list(front) == sorted(set(front))  # by rising cost, each once


def test_interval_is_students_t() -> None:
    assert seed_mean([91.0]) == SeedMean(91.0, None, 1)
    assert seed_mean([91.0, 91.0]) == SeedMean(91.0, 0.0, 2)
    three = seed_mean([90.0, 91.0, 92.0])
    assert three.mean == 91.0
    assert three.half_width == pytest.approx(4.302653 / 3**0.5)  # t(0.975, 2) from a printed table
    assert three.n == 3


def test_seeds_are_one_configuration_and_recipes_are_not() -> None:
    records = [make_record(Fake(seed=seed))[0] for seed in (0, 1, 2)]
    longer = records[0].run.model_copy(update={"recipe": records[0].run.recipe.model_copy(update={"epochs": 99})})
    found = configurations([*records, records[0].model_copy(update={"run": longer})])
    assert sorted(len(configuration.records) for configuration in found) == [1, 3]


def test_a_failed_seed_does_not_enter_the_mean() -> None:
    records = [make_record(Fake(seed=0, top1=90))[0], make_record(Fake(seed=1, error="broken"))[0]]
    (configuration,) = configurations(records)
    assert configuration.points[0].test_top1 == SeedMean(90.0, None, 1)
    assert len(configuration.failed) == 1


def test_mcnemar_by_hand() -> None:
    one = np.array([True] * 8 + [False] * 2 + [True] * 50)
    other = np.array([False] * 8 + [True] * 2 + [True] * 50)
    # 8 against 2 of 10: 2 * (1 + 10 + 45) / 1024
    assert mcnemar([(one, other), (one, one)]) == (pytest.approx(2 * 56 / 1024), 1.0)


def test_bootstrap_interval_is_near_the_normal_one_and_repeats() -> None:
    differences = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 2000, p=[0.1, 0.7, 0.2])
    low, high = bootstrap_interval(differences)
    half = 1.96 * differences.std() / 2000**0.5
    assert (low, high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.15 * half)
    assert bootstrap_interval(differences) == (low, high)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_many_pairs_are_those_of_each(seeds: int) -> None:
    """One drawing of resamples for all is what each would draw."""
    rng = np.random.default_rng(2)
    sums = [rng.integers(-seeds, seeds + 1, images) for images in (300, 300, 500)]
    together = paired_intervals([Paired(one, seeds) for one in (*sums, sums[0])])
    alone = [bootstrap_interval(one / seeds) for one in (*sums, sums[0])]
    assert np.array(together) == pytest.approx(np.array(alone), rel=1e-12, abs=1e-15)
    assert [Paired(one, seeds).mean for one in sums] == pytest.approx([(one / seeds).mean() for one in sums])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=5))
def test_mcnemar_is_a_binomial_test(counts: list[tuple[int, int]]) -> None:
    pairs = [
        (np.array([True] * a + [False] * b + [True]), np.array([False] * a + [True] * b + [True])) for a, b in counts
    ]
    expected = [binomtest(a, a + b).pvalue if a + b else 1.0 for a, b in counts]
    assert mcnemar(pairs) == pytest.approx(expected)


def test_each_operating_point_meets_the_nearest_control(tmp_path: Path) -> None:
    fakes = [
        Fake(top1=92.0),
        Fake(given={"width": 0.7}, top1=90.0, mmacs=(20.0,)),
        Fake("lc_net", {}, 0, MODES, 91.0, (19.5, 28.0, 35.0)),
    ]
    records = write_fakes(tmp_path, fakes)
    found = Analysis.of(ResultsFolder(tmp_path), records)
    comparisons = found.comparisons
    assert [(c.point.name, c.control.configuration.run.built.width) for c in comparisons] == [
        ("sequential", 0.7),
        ("parallel_cancel", 0.7),
        ("parallel", 1.0),
    ]
    assert [c.difference for c in comparisons] == pytest.approx([1.0, 1.0, -1.0])
    assert [c.macs_ratio for c in comparisons] == pytest.approx([0.975, 1.4, 0.875])
    assert [c.matched for c in comparisons] == [True, False, False]
    assert all(c.low < c.difference < c.high for c in comparisons)
    text = printed(show_controls(found))
    ratios = [line.split()[-1] for line in text.splitlines() if " width " in line]
    assert ratios[0] in {"0.97", "0.98"}
    assert ratios[1] == "1.40*"
    assert "not at equal cost: MACs differ by more than 5 %" in text


def test_comparison_pairs_the_images_of_the_same_seed(tmp_path: Path) -> None:
    """Two nets that err on the same images differ by nothing, however many seeds there are."""
    records = []
    for seed in (0, 1):
        control, arrays = make_record(Fake(seed=seed, top1=90.0 + seed))
        gated, own = make_record(Fake("l_net", {}, seed, ("default",), 90.0 + seed, (38.0,)))
        ResultsFolder(tmp_path).write_record(control, arrays)
        ResultsFolder(tmp_path).write_record(gated, own | {"default/correct": arrays["default/correct"]})
        records += [control, gated]
    (comparison,) = Analysis.of(ResultsFolder(tmp_path), records).comparisons
    assert (comparison.difference, comparison.low, comparison.high) == (0, 0, 0)
    assert comparison.mcnemar == (1.0, 1.0)


def test_controls_of_another_recipe_or_seed_do_not_count(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, [Fake(seed=1), Fake("l_net", {}, 0, mmacs=(38.0,))])
    assert Analysis.of(ResultsFolder(tmp_path), records).comparisons == ()


def test_each_static_method_has_its_nearest_control(tmp_path: Path) -> None:
    pruned = [Fake("filter_pruning", {"macs": share}, static=True, mmacs=(40 * share,)) for share in (0.3, 0.5)]
    dynamic = Fake("lc_net", {}, 0, ("sequential",), 91.0, (19.8,))
    records = write_fakes(tmp_path, [Fake(), Fake(given={"width": 0.7}, mmacs=(20.4,)), *pruned, dynamic])
    found = Analysis.of(ResultsFolder(tmp_path), records)
    comparisons = found.comparisons
    assert [c.control.configuration.run.label for c in comparisons] == ["dense width=0.7", "filter_pruning macs=0.5"]
    text = printed(show_controls(found))
    assert text.count("  sequential ") == 1
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert "lc_net, sequential: beats neither control: no difference shown from width 0.7, no difference" in words


def test_a_control_that_was_trained_for_less_does_not_count(tmp_path: Path) -> None:
    """One of more epochs does, is said to, and stands behind one of as many."""
    dynamic = Fake("l_net", {}, mmacs=(20.0,), epochs=16)
    short, long, equal = (
        Fake(given={"width": 0.7, "epochs": epochs}, mmacs=(mmacs,), epochs=epochs)
        for epochs, mmacs in ((8, 20.0), (30, 20.1), (16, 20.5))
    )
    assert Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, [dynamic, short])).comparisons == ()
    found = Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, [dynamic, short, long]))
    (longer,) = found.comparisons
    assert longer.trained_longer
    assert "which was trained longer" in " ".join(verdicts([longer]))
    assert "+ the control was trained for more epochs" in printed(show_controls(found))
    (fair,) = Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, [dynamic, short, long, equal])).comparisons
    assert (fair.control.configuration.epochs, fair.trained_longer) == (16, False)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([(1, 2), (0.5, 3)], "beats both controls: better than width 0.5, better than filter_pruning"),
        ([(1, 2), (-1, 3)], "beats 1 of 2 controls: better than width 0.5, no difference shown from filter_pruning"),
        ([(-2, -1), (-1, 3)], "beats neither control: worse than width 0.5, no difference shown from filter_pruning"),
        ([(1, 2)], "beats its control: better than width 0.5"),
        ([(-2, -1)], "does not beat its control: worse than width 0.5"),
    ],
)
def test_verdicts_go_by_the_interval(differences: list[tuple[float, float]], expected: str) -> None:
    fakes = [
        Fake(given={"width": 0.5}, mmacs=(20.0,)),
        Fake("filter_pruning", static=True, mmacs=(20.0,)),
        Fake("l_net"),
    ]
    narrow, small, dynamic = (configurations([make_record(fake)[0]])[0].points[0] for fake in fakes)
    dynamic = replace(dynamic, macs=narrow.macs)
    made = [
        Comparison(dynamic, control, 0.0, low, high, SeedMean(0.0, None, 1), (0.5,))
        for control, (low, high) in zip((narrow, small), differences, strict=False)
    ]
    assert list(verdicts(made)) == [f"l_net: {expected}"]


def test_no_verdict_without_a_control_of_equal_cost(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, [Fake(), Fake("l_net", mmacs=(20.0,))])
    assert list(verdicts(Analysis.of(ResultsFolder(tmp_path), records).comparisons)) == [
        "l_net: no static control of its cost to compare it with"
    ]


def test_the_difference_over_seeds_has_students_interval(tmp_path: Path) -> None:
    """Beside the interval over images, which takes the trained nets as given."""
    fakes = [Fake(seed=seed, top1=90.0) for seed in (0, 1, 2)]
    fakes += [Fake("l_net", seed=seed, top1=90.0 + seed) for seed in (0, 1, 2)]
    found = Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, fakes))
    (comparison,) = found.comparisons
    assert comparison.seeds.mean == pytest.approx(comparison.difference) == pytest.approx(1.0)
    assert comparison.seeds.half_width == pytest.approx(4.302653 / 3**0.5)
    assert "| +1.00 ±2.48 |" in markdown_report(found)


def test_the_budget_is_shown_by_stage(tmp_path: Path) -> None:
    plain, _ = make_record(Fake())
    record, _ = make_record(Fake("lc_net", {"init": "dense"}))
    first, second = (
        record.budget.stages[0].model_copy(update={"name": name, "epochs": epochs, "train_macs": 2 * 10**15})
        for name, epochs in (("curriculum", 12), ("joint", 8))
    )
    record = record.model_copy(update={"budget": record.budget.model_copy(update={"stages": (first, second)})})
    text = printed(show_results(analysed([plain, record])))
    assert ["dense", "16", "16", "10.0P"] in [line.split() for line in text.splitlines()]
    assert re.search(r"lc_net init=dense +10 \+ 12 curriculum \+ 8 joint +30 +10\.0P +14\.0P", text)
    assert max(map(len, text.splitlines())) <= 80
    page = markdown_report(analysed([record]))
    assert "| lc_net init=dense | 10 + 12 curriculum + 8 joint | 30 | 10.0P | 14.0P |" in page


def test_a_run_ends_with_a_line_a_configuration_and_a_sentence_a_dynamic_method(tmp_path: Path) -> None:
    control, dynamic = Fake(given={"width": 0.5}, mmacs=(20.0,), top1=80.0), Fake("l_net", {"l1_layer": 0.1})
    long = Fake("c_net", {"l1_channel": 0.2}, mmacs=(5.0,), static=False)
    gated = Fake("lc_net", {"l1_layer": 0.2}, 0, MODES, 90.0, (20.0, 30.0, 38.0), static=False)
    fakes = [Fake(speeds=(1.0,)), control, gated, replace(dynamic, error="broken"), long]
    others = replace(gated, given={"l1_layer": 0.3}, top1=85.0)
    seeds = [replace(fake, seed=seed) for fake in (*fakes, others) for seed in (0, 1)]
    found = Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, seeds))
    lines = printed(show_brief(found)).splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[: next(index for index, line in enumerate(lines) if line.startswith("Of several"))]
    for name in ("dense  ", "dense width=0.5", "lc_net l1_layer=0.2", "lc_net l1_layer=0.3", "c_net  ", "l_net  "):
        assert sum(line.startswith(name) for line in table) == 1, name
    text = " ".join(" ".join(lines).split())
    assert (
        "lc_net l1_layer=0.2, sequential (the best of 6 operating points) beats its control: better than width 0.5 "
        "(+10.00 ±0.00 over seeds)." in text
    )
    assert "c_net has no static net of its cost to compare it with." in text
    assert "failed: l_net-resnet20-s1-" in text
    assert "simulated" in next(line for line in table if line.startswith("c_net"))


def test_names_that_are_too_long_for_a_line_are_cut(tmp_path: Path) -> None:
    gates = [Fake("c_net", {"a_parameter_with_a_very_long_name": size}, speeds=(1.0,)) for size in (0.1, 0.25)]
    found = Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, [Fake(), *gates]))
    lines = printed(show_brief(found)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("c_net a_parameter_with_a_very_long_na… " in line for line in lines) == 2
    assert all("90.00" in line for line in lines if line.startswith("c_net a"))


def test_latencies_of_different_conditions_do_not_share_the_brief_table(tmp_path: Path) -> None:
    fakes = [Fake(speeds=(1.0,)), Fake(given={"width": 0.5}, speeds=(2.0,))]
    assert "as fast" in printed(show_brief(Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, fakes))))
    fakes[1] = replace(fakes[1], threads=1)
    assert "as fast" not in printed(show_brief(Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, fakes))))


def test_final_table_fits_80_columns_in_plain_text(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, small_suite((0, 1, 2)))
    found = Analysis.of(ResultsFolder(tmp_path), records)
    text = printed(show_results(found)) + printed(show_controls(found))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "FLOP" not in text
    rows = [line.split() for line in text.splitlines()]
    assert ["dense", "1", "16", "91.92", "±0.95", "40.0M", "100.0", "40.0M", "0", "no"] in rows
    assert "failed: l_net-resnet20-s0-" in text
    assert "TrainingDiverged: the loss is nan" in text


def test_labels_are_broken_between_parameters() -> None:
    assert wrap_label("lc_net l1_layer=0.01 l1_channel=0.5") == ["lc_net l1_layer=0.01", "  l1_channel=0.5"]
    assert wrap_label("lc_net init=/a/very/long/path.pt") == ["lc_net", "  init=/a/very/long…"]


@pytest.mark.parametrize(
    ("macs", "text"),
    [(0, "0"), (999, "999"), (999_600, "1.00M"), (41_420_000, "41.4M"), (0.556e9, "556M"), (1.3e9, "1.30G")],
)
def test_short_macs(macs: float, text: str) -> None:
    assert short_macs(macs) == text


def test_markdown_is_a_table_that_github_takes(tmp_path: Path) -> None:
    fakes = [*small_suite(), Fake("c_net", {"x": 1}, error="ValueError: a|b\n<script>")]
    records = write_fakes(tmp_path, fakes)
    lines = markdown_report(Analysis.of(ResultsFolder(tmp_path), records, ())).splitlines()
    table = [line for line in lines[2:] if line.startswith("|")]
    first = table[: 2 + 16 + 1]  # header, rule, operating points of the first block, failures
    assert {line.count("|") for line in first} == {13}
    assert any("ValueError: a\\|b &lt;script>" in line for line in lines)


def test_plots_say_what_they_show(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, small_suite((0, 1)))
    paths = draw_plots(Analysis.of(ResultsFolder(tmp_path), records))
    assert [path.name for path in paths] == FILES
    accuracy, histogram = (path.read_text() for path in paths if path.suffix == ".svg")
    # Text is drawn as paths, each with its words in a comment.
    for words in (
        "cifar10, resnet20",
        "mean MMACs per test image",
        "dense (static)",
        "lc_net l1_layer=0.01",
        "l1_channel=0.2",
        "width 0.7",
        "parallel_cancel",
        "Pareto front, measured",
        "Quoted, not reproduced (hollow)",
        "b  ResNet-56-pruned-B (Li et al. 2017)",
    ):
        assert f"<!-- {words} -->" in accuracy, words
    assert "FLOP" not in accuracy
    assert "see results/literature.yaml" in accuracy
    assert "lc_net l1_layer=0.01 l1_channel=0.5" in histogram
    assert "sequential" in histogram
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in paths if path.suffix == ".png")


def test_a_method_that_nobody_named_has_a_colour_of_its_own() -> None:
    """One that no method of the committed plots has, so that it is never taken for one of them."""
    named = {method_colour(method) for method in ("dense", "lc_net", "c_net", "l_net", "filter_pruning", "nisp")}
    strangers = {method_colour(f"stranger_{number}") for number in range(50)}
    assert len(named) == 6
    assert len(strangers) >= 5
    assert not strangers & (named | {method_colour("blockdrop")})
    assert method_colour("stranger_7") == method_colour("stranger_7")


def test_plots_are_the_same_each_time(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, small_suite())
    first = [path.read_bytes() for path in draw_plots(Analysis.of(ResultsFolder(tmp_path), records))]
    assert [path.read_bytes() for path in draw_plots(Analysis.of(ResultsFolder(tmp_path), records))] == first


def test_quoted_points_are_never_on_the_front_nor_far_away_nor_rejected() -> None:
    records = [make_record(fake)[0] for fake in small_suite()]
    literature = read_literature()
    found = analysed(records, literature)
    panel = make_panel(found, "cifar10")
    assert panel.front
    assert set(map(id, panel.front)) <= set(map(id, found.points))
    assert max(row.macs for row in panel.quoted) <= 3 * 40e6
    assert all(row.accepted for row in panel.quoted)
    accepted = [row for row in literature if row.dataset == "cifar10" and row.accepted]
    assert panel.left_out == len(accepted) - len(panel.quoted) > 0
    on_digits = analysed([make_record(Fake(dataset="digits"))[0]], literature)
    assert make_panel(on_digits, "digits").quoted == ()


def test_no_quoted_points_on_another_data_set(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, [Fake(dataset="digits")])
    svg = draw_plots(Analysis.of(ResultsFolder(tmp_path), records))[1].read_text()
    assert "digits, resnet20" in svg
    assert "uoted" not in svg


def test_a_suite_without_dynamic_runs_says_so(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, [Fake(), Fake(given={"width": 0.5}, mmacs=(10.0,))])
    assert "No dynamic runs" in draw_plots(Analysis.of(ResultsFolder(tmp_path), records))[3].read_text()


def test_a_suite_without_finished_runs_still_has_its_report(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, [Fake(error="broken")])
    assert "No run has finished" in draw_plots(Analysis.of(ResultsFolder(tmp_path), records))[1].read_text()
    assert "broken" in printed(show_results(analysed(records)))


def test_report_is_made_from_records_alone(tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_fakes(made, small_suite())
    (made / "work").mkdir()
    alone = tmp_path / "alone"
    shutil.copytree(made / "records", alone / "records")
    first, second = (
        CliRunner().invoke(report_command, [str(folder)], catch_exceptions=False) for folder in (made, alone)
    )
    assert second.exit_code == 0
    assert first.output.replace(str(made), str(alone)) == second.output
    assert str(alone / "table.md") in second.output
    for name in ("table.md", *(f"plots/{plot}" for plot in FILES)):
        assert (made / name).read_bytes() == (alone / name).read_bytes(), name


def test_missing_arrays_are_said_in_one_line(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, small_suite())
    (tmp_path / "records" / f"{records[3].run_id}.npz").unlink()
    with pytest.raises(UserError, match="cannot read per-image arrays"):
        _ = Analysis.of(ResultsFolder(tmp_path), records).comparisons
    with pytest.raises(UserError, match="cannot read per-image arrays"):
        draw_plots(Analysis.of(ResultsFolder(tmp_path), records))


def test_a_record_of_another_schema_is_refused(tmp_path: Path) -> None:
    (record, *_) = write_fakes(tmp_path, small_suite())
    path = tmp_path / "records" / f"{record.run_id}.json"
    path.write_text(record.model_copy(update={"schema_version": 2}).model_dump_json())
    with pytest.raises(UserError, match="another schema than version 1: schema_version"):
        read_record(path)


@pytest.mark.parametrize("part", [0, 0.5, 0.99])
def test_arrays_that_were_cut_off_are_said_in_one_line(tmp_path: Path, part: float) -> None:
    (record, *_) = write_fakes(tmp_path, small_suite())
    path = tmp_path / "records" / f"{record.run_id}.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UserError, match=r"cannot read per-image arrays .*; run it again"):
        ResultsFolder(tmp_path).arrays(record.run_id)


def test_arrays_whose_content_was_changed_are_said_in_one_line(tmp_path: Path) -> None:
    (record, *_) = write_fakes(tmp_path, small_suite())
    path = tmp_path / "records" / f"{record.run_id}.npz"
    content = bytearray(path.read_bytes())
    content[80:120] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read per-image arrays"):
        ResultsFolder(tmp_path).arrays(record.run_id)


def test_arrays_without_the_point_are_said(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, small_suite())
    arrays = ResultsFolder(tmp_path).arrays(records[3].run_id)
    ResultsFolder(tmp_path).write_record(
        records[3], {name: array for name, array in arrays.items() if name != "parallel/macs"}
    )
    with pytest.raises(UserError, match='no "parallel/macs"'):
        draw_plots(Analysis.of(ResultsFolder(tmp_path), records))


def test_nets_that_turned_out_static_have_no_panel(tmp_path: Path) -> None:
    fakes = [Fake("l_net", {"l1_layer": 0.1}), Fake("c_net", {}, 0, MODES, 90.0, (20.0, 30.0, 30.0), spread=0.1)]
    svg = draw_plots(Analysis.of(ResultsFolder(tmp_path), write_fakes(tmp_path, fakes)))[3].read_text()
    assert "The same cost for every image, so not shown: l_net l1_layer=0.1." in svg
    assert "<!-- c_net -->" in svg
    assert "= parallel" in svg  # two modes that agree are one line
