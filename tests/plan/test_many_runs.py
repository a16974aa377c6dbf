"""Suites that ask for more than anyone waits for, and files that never end: refused at once."""

import time
from pathlib import Path

import pytest

from dynbench.cli.options import read_suite
from dynbench.errors import UserError
from dynbench.plan.expand import expand_suite

SUITE = """\
name: s
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 1}
seeds: SEEDS
methods:
  - METHOD
tracking: none
latency: none
"""


def refused(tmp_path: Path, seeds: str = "[0]", method: str = "dense", more: str = "") -> str:
    """Why it is refused, which takes no time."""
    path = tmp_path / "s.yaml"
    path.write_text(SUITE.replace("SEEDS", seeds).replace("METHOD", method) + more)
    started = time.process_time()
    with pytest.raises(UserError) as raised:
        expand_suite(read_suite(path))
    assert time.process_time() - started < 10  # of what would take hours
    return str(raised.value).removeprefix(str(tmp_path))


def test_too_many_seeds(tmp_path: Path) -> None:
    seeds = str(list(range(2000)))
    assert refused(tmp_path, seeds) == (
        "/s.yaml:5: 2,000 runs, of 1 backbones, 2,000 seeds and 1 configurations, where limits.runs allows 1,000"
    )
    path = tmp_path / "s.yaml"
    path.write_text(path.read_text() + "limits: {runs: 2000}\n")
    assert len(expand_suite(read_suite(path))) == 2000


def test_a_sweep_of_a_million(tmp_path: Path) -> None:
    hundred = str([round(0.001 * n, 3) for n in range(1, 101)])
    method = f"{{name: lc_net, params: {{l1_layer: {hundred}, l1_channel: {hundred}, gate_lr: {hundred}}}}}"
    assert "1,000,000 runs" in refused(tmp_path, method=method)


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "folder", "large", "a\\0b"])
def test_weights_that_are_no_file(tmp_path: Path, pipe: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    path = place if "/" in place or "\\" in place else str(tmp_path / place)
    why = refused(tmp_path, method=f'{{name: lc_net, params: {{init: "{path}", init_epochs: 1}}}}')
    expected = {
        "pipe": "it is a pipe, not a file",
        "/dev/zero": "it is a device, not a file",
        "folder": "Is a directory",
        "large": "it has 1,099,511,627,776 bytes, more than the limit of 4,294,967,296",
        "a\\0b": "not accepted: text with the character U+0000",
    }
    assert why.endswith(expected[place])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "device: cpu\nevaluation: {batch_size: 1e12}\n",
            "evaluation.batch_size: expected a number of at most 1000000000",
        ),
        ("check: {test_top1: [1]}\n", "check.test_top1"),
        ("limits: {runs: 0}\n", "limits.runs: expected a number greater than 0"),
    ],
)
def test_numbers_that_are_too_large(tmp_path: Path, more: str, expected: str) -> None:
    assert expected in refused(tmp_path, more=more)


def test_a_width_and_a_name_without_end(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    for old, new, expected in (
        ("width: 0.25", "width: 1e308", "backbones.0.width: expected a number of at most 100.0, got 1e+308"),
        ("name: s\n", f"name: {'s' * 5000}\n", "name: expected text of at most 100 characters"),
        ("seeds: SEEDS", f"seeds: [{2**70}]", "seeds.0: expected a number less than 9223372036854775808"),
    ):
        path.write_text(SUITE.replace(old, new).replace("SEEDS", "[0]").replace("METHOD", "dense"))
        with pytest.raises(UserError) as raised:
            expand_suite(read_suite(path))
        assert expected in str(raised.value)
