"""What `dynbench check` says: to people, to CI, and by its exit code; and where its rules come from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dynbench.check.baseline import read_baseline
from dynbench.check.for_ci import junit_xml, markdown_summary
from dynbench.check.outcome import CheckResult, Finding, Verdict
from dynbench.cli.options import read_suite
from dynbench.plan.expand import expand_suite
from dynbench.suite.rules import DEFAULT_RULES
from tests.conftest import Call
from tests.helpers.records import MODES, Fake, write_fakes

GOOD = [
    Fake(audited=True, top1=90.0, layers=(("conv1", 40_000_000),)),
    Fake("lc_net", {"l1_layer": 0.01, "l1_channel": 0.5}, 0, MODES, 89.0, (9.0, 15.0, 19.5), 0.1, audited=True),
]
WORSE = [replace(GOOD[0], top1=80.0), GOOD[1]]


def made(call: Call, tmp_path: Path, fakes: Sequence[Fake] = GOOD, *options: object) -> Path:
    write_fakes(tmp_path / "before", fakes)
    path = tmp_path / "baseline.json"
    result = call("baseline", tmp_path / "before", "-o", path, *options)
    assert result.exit_code == 0, result.output
    return path


def results(tmp_path: Path, fakes: Sequence[Fake]) -> Path:
    write_fakes(tmp_path / "now", fakes)
    return tmp_path / "now"


def test_a_baseline_says_what_it_holds_and_by_what_rules(call: Call, tmp_path: Path) -> None:
    write_fakes(tmp_path, GOOD)
    result = call("baseline", tmp_path, "-o", tmp_path / "b.json")
    rules = ", ".join(f"{name}: {text}" for name, text in DEFAULT_RULES.items())
    assert result.stdout == f"{tmp_path / 'b.json'}: 2 runs of 2 configurations, rules {rules}\n"
    assert call("check", tmp_path, "--baseline", tmp_path / "b.json").exit_code == 0


def test_the_table_shows_every_figure_in_80_columns(call: Call, tmp_path: Path) -> None:
    result = call("check", results(tmp_path, WORSE), "--baseline", made(call, tmp_path))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    row = next(line for line in lines if "test_top1" in line and "regression" in line).split()
    assert row[:4] == ["test_top1", "90.00", "80.00", "-10.00"]
    assert row[5] == "to"
    assert row[7:] == ["-0.5pt", "regression"]
    assert sum("test_top1" in line for line in lines if " ok" in line) == len(MODES)
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("regression: "))]
    assert max(map(len, table)) <= 80
    assert lines[-1] == "FAILED: 1 of 9 findings fail"


def test_junit_has_a_case_for_each_finding(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "out" / "junit.xml"
    call("check", results(tmp_path, WORSE), "--baseline", made(call, tmp_path), "--junit", file)
    suite = ElementTree.parse(file).getroot()[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    (failed,) = [case for case in suite if case.find("failure") is not None]
    assert (failed.get("classname"), failed.get("name")) == ("dense (resnet20 on cifar10)", "default test_top1")
    failure = failed.find("failure")
    assert failure is not None
    assert "test_top1 90.00 -> 80.00" in str(failure.get("message"))


def test_markdown_begins_with_what_failed(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    call("check", results(tmp_path, WORSE), "--baseline", made(call, tmp_path), "--markdown", file)
    headline, failed, table, note = file.read_text().strip().split("\n\n")
    assert headline.endswith("dynbench check FAILED: 1 of 9 findings fail")
    assert failed.startswith("- **regression**: dense (resnet20 on cifar10), default: test_top1 90.00 -> 80.00")
    rows = table.splitlines()
    assert len(rows) == 2 + 9
    assert {row.count("|") for row in rows} == {10}
    assert note == "- realised: nothing could be compared by this rule"


def test_what_cannot_be_judged_is_written_for_ci_too(call: Call, tmp_path: Path) -> None:
    """A stale file from an earlier check must not pass for this one."""
    junit, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    junit.write_text("<testsuites/>")
    result = call("check", tmp_path, "--baseline", tmp_path / "no.json", "--junit", junit, "--markdown", summary)
    assert result.exit_code == 2
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    assert "could not judge: cannot read baseline" in summary.read_text()


def test_whatever_a_plugin_says_fits_into_xml_and_a_table() -> None:
    said = "\x1b[31mboom\x00 <b> & | \ud800\n```"
    outcome = CheckResult((Finding(said, said, "seed 0", Verdict.FAILED, said),), (said,))
    (case,) = ElementTree.fromstring(junit_xml(outcome))[0]
    assert "boom? <b> & |" in str(case.get("classname"))
    row = markdown_summary(outcome).splitlines()[-3]
    assert row.replace("\\|", "").count("|") == 10


def test_rules_come_from_the_baseline_then_the_suite_then_the_command_line(
    call: Call, tmp_path: Path, tiny_suite: Path
) -> None:
    tiny_suite.write_text(tiny_suite.read_text() + "check: {test_top1: -20pt, macs_mean: +1%}\n")
    path = made(call, tmp_path, GOOD, "--suite", tiny_suite, "--rule", "macs_mean=3%")
    assert read_baseline(path).rules.given == {"macs_mean": "+3%", "test_top1": "-20pt"}
    now = results(tmp_path, WORSE)
    assert call("check", now, "--baseline", path).exit_code == 0
    assert call("check", now, "--baseline", path, "--rule", "test_top1=-1pt").exit_code == 1
    tiny_suite.write_text(tiny_suite.read_text().replace("-20pt", "-2pt"))
    assert call("check", now, "--baseline", path, "--suite", tiny_suite).exit_code == 1
    assert call("check", now, "--baseline", path, "--suite", tiny_suite, "--rule", "test_top1=none").exit_code == 0


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("test_top1", "error: --rule test_top1: expected METRIC=LIMIT, for example test_top1=-0.5pt"),
        ("tset_top1=0", 'error: rule tset_top1: 0: no such metric "tset_top1"; did you mean "test_top1"?'),
    ],
)
def test_a_wrong_rule_is_one_line(call: Call, tmp_path: Path, rule: str, problem: str) -> None:
    for command in (("check", tmp_path / "before", "--baseline"), ("baseline", tmp_path / "before", "-o")):
        result = call(*command, made(call, tmp_path), "--rule", rule)
        assert result.exit_code == 2
        assert result.stderr.startswith(problem)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ("{test_top: 1}", ':10: unknown key "check.test_top"; did you mean "test_top1"?'),
        ("{test_top1: 0.5}", ":10: check.test_top1: rule test_top1: 0.5: 0.5 of what?"),
        ("strict", ":10: check: expected a mapping, got 'strict'"),
    ],
)
def test_rules_of_a_suite_are_checked_with_their_line(call: Call, tiny_suite: Path, rules: str, problem: str) -> None:
    tiny_suite.write_text(tiny_suite.read_text() + f"check: {rules}\n")
    result = call("plan", tiny_suite)
    assert result.exit_code == 2
    assert problem in result.stderr


def test_rules_of_a_suite_do_not_rename_its_runs(tiny_suite: Path) -> None:
    before = [run.run_id for run in expand_suite(read_suite(tiny_suite))]
    tiny_suite.write_text(tiny_suite.read_text() + "check: {test_top1: -1pt}\n")
    assert [run.run_id for run in expand_suite(read_suite(tiny_suite))] == before
