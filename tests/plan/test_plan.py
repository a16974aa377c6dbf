"""From a suite to its runs: sweeps, dependencies, and ids that change with the result and with nothing else."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.cli.options import read_suite
from dynbench.errors import UserError
from dynbench.method import FromDense, FromFile, Method, MethodConfig, Output, Point
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import Run
from tests.conftest import Call, Register

SUITE = """\
name: planned
data: digits
backbones: [resnet8]
recipe:
  epochs: 2
methods:
  - name: METHOD
    params: {PARAMS}
"""


class ExitsConfig(MethodConfig):
    thresholds: list[float] = [0.5]
    patience: int = 1
    step: int = 1
    """Named like a schedule, to see that error messages do not take it for one."""


class Exits(Method):
    """Plans, and does nothing else."""

    name = "exits"
    Config = ExitsConfig

    def build(self, backbone: Backbone) -> nn.Module:
        raise NotImplementedError

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        raise NotImplementedError


class BrokenStart(Exits):
    def start(self) -> FromDense | FromFile | None:
        raise KeyError("no start")


class EarlyConfig(MethodConfig):
    epochs: int = 1


class Early(Exits):
    """Starts from a dense net that was trained for `epochs`."""

    name = "early"
    Config = EarlyConfig
    config: EarlyConfig

    def start(self) -> FromDense:
        return FromDense(self.config.epochs)


def runs_of(folder: Path, method: str = "dense", params: str = "", **options: Any) -> tuple[Run, ...]:
    path = folder / "s.yaml"
    path.write_text(SUITE.replace("METHOD", method).replace("PARAMS", params))
    return expand_suite(read_suite(path, **options))


def run_id(folder: Path, method: str = "dense", params: str = "", **options: Any) -> str:
    (run,) = runs_of(folder, method, params, **options)
    return run.run_id


def problem(folder: Path, method: str = "dense", params: str = "", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        runs_of(folder, method, params, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def test_lists_are_sweeps_and_their_product_is_run(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, "lc_net", "l1_layer: [0.1, 0.2], l1_channel: [1, 2, 3], gate_lr: 0.5")
    assert [(run.given["l1_layer"], run.given["l1_channel"]) for run in runs] == [
        (0.1, 1.0),
        (0.1, 2.0),
        (0.1, 3.0),
        (0.2, 1.0),
        (0.2, 2.0),
        (0.2, 3.0),
    ]
    assert {run.given["gate_lr"] for run in runs} == {0.5}
    assert len({run.run_id for run in runs}) == 6


def test_every_backbone_and_seed_runs(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, settings=["backbones=[resnet8, {name: resnet8, width: 0.5}]"], seeds="0,3,3")
    assert [(run.backbone.width, run.seed) for run in runs] == [(1, 0), (1, 3), (0.5, 0), (0.5, 3)]


def test_the_same_run_twice_in_a_suite_is_one(tmp_path: Path) -> None:
    assert len(runs_of(tmp_path, "dense", "width: [1.0, 0.5, 1]")) == 2


def test_a_list_that_the_parameter_takes_is_one_value(tmp_path: Path, register: Register) -> None:
    register("exits", Exits)
    (run,) = runs_of(tmp_path, "exits", "thresholds: [0.2, 0.4]")
    assert run.given == {"thresholds": [0.2, 0.4]}
    both = runs_of(tmp_path, "exits", "thresholds: [[0.2, 0.4], [0.9]], patience: [1, 2]")
    assert [run.params["thresholds"] for run in both] == [[0.2, 0.4], [0.2, 0.4], [0.9], [0.9]]
    assert [run.params["patience"] for run in both] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("thresholds: [0.2, high]", "s.yaml:8: methods.0.params.thresholds.1: expected a number, got 'high'"),
        ("thresholds: [.nan]", "s.yaml:8: methods.0.params.thresholds.0: expected a finite number, got nan"),
        ("patience: [1, two]", "s.yaml:8: methods.0.params.patience: expected a whole number, got 'two'"),
        ("patience: []", "s.yaml:8: methods.0.params.patience: expected a whole number, got a list"),
        ("step: many", "s.yaml:8: methods.0.params.step: expected a whole number, got 'many'"),
        (
            "threshold: [0.2]",
            's.yaml:8: unknown key "methods.0.params.threshold"; did you mean "thresholds"? '
            "(known: patience, step, thresholds)",
        ),
        ("steps: 1", 's.yaml:8: unknown key "methods.0.params.steps"; did you mean "step"?'),
    ],
)
def test_parameters_that_do_not_fit(tmp_path: Path, register: Register, params: str, expected: str) -> None:
    register("exits", Exits)
    assert problem(tmp_path, "exits", params).startswith(expected)


def test_unknown_names_say_where_they_stand(tmp_path: Path) -> None:
    assert problem(tmp_path, "lcnet").startswith('s.yaml:7: unknown method "lcnet"; did you mean "lc_net"?')
    unknown_backbone = problem(tmp_path, settings=["backbones=[resnet8, resnet9]"])
    assert unknown_backbone.startswith('--set backbones=[resnet8, resnet9]: unknown backbone "resnet9"; did you mean')
    assert problem(tmp_path, settings=["data.name=digit"]).startswith(
        '--set data.name=digit: unknown data set "digit"; did you mean "digits"?'
    )


def test_lines_of_unknown_backbones_and_data_sets(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    text = SUITE.replace("METHOD", "dense").replace("PARAMS", "")
    path.write_text(text.replace("[resnet8]", "\n  - resnet8\n  - name: resnet9"))
    with pytest.raises(UserError, match=r's\.yaml:5: unknown backbone "resnet9"; did you mean "resnet8"\?'):
        expand_suite(read_suite(path))
    path.write_text(text.replace("digits", "cifar"))
    with pytest.raises(UserError, match=r's\.yaml:2: unknown data set "cifar"; did you mean "cifar10"\?'):
        expand_suite(read_suite(path))


def test_more_validation_images_than_there_are(tmp_path: Path) -> None:
    expected = "data.validation: digits has 1437 training images, 1437 cannot be held out of them"
    assert problem(tmp_path, settings=["data.validation=1437"]) == f"--set data.validation=1437: {expected}"


def test_a_plugin_that_cannot_be_planned_is_one_line(tmp_path: Path, register: Register) -> None:
    register("exits", BrokenStart)
    assert problem(tmp_path, "exits") == """s.yaml:8: method "exits" cannot be planned: KeyError: 'no start'"""


def test_ids_do_not_depend_on_names_places_or_defaults(tmp_path: Path) -> None:
    plain = run_id(tmp_path)
    assert run_id(tmp_path, data=Path("elsewhere")) == plain
    assert run_id(tmp_path, device="cuda") == plain
    assert run_id(tmp_path, tracking="none", tracking_uri="http://127.0.0.1:1") == plain
    assert run_id(tmp_path, settings=["name=renamed"]) == plain
    assert run_id(tmp_path, params="width: 1.0") == plain
    defaults = ["recipe.batch_size=128", "recipe.schedule=cosine", "recipe.precision=fp32", "data.augment=true"]
    assert run_id(tmp_path, settings=defaults) == plain
    assert run_id(tmp_path, settings=["recipe.optimizer={name: sgd, lr: 1e-1, nesterov: true}"]) == plain
    assert run_id(tmp_path, settings=["backbones=[{name: resnet8, width: 1}]"]) == plain


def test_ids_change_with_whatever_changes_the_result(tmp_path: Path) -> None:
    ids = [
        run_id(tmp_path),
        run_id(tmp_path, seeds="1"),
        run_id(tmp_path, epochs=3),
        run_id(tmp_path, settings=["recipe.batch_size=64"]),
        run_id(tmp_path, settings=["recipe.optimizer.lr=0.2", "recipe.optimizer.name=sgd"]),
        run_id(tmp_path, settings=["recipe.optimizer={name: adam, lr: 0.1, weight_decay: 5e-4}"]),
        run_id(tmp_path, settings=["recipe.schedule=constant"]),
        run_id(tmp_path, settings=["recipe.precision=bf16"]),
        run_id(tmp_path, settings=["backbones.0.width=0.5"]),
        run_id(tmp_path, settings=["backbones.0.shortcut=B"]),
        run_id(tmp_path, settings=["backbones=[resnet20]"]),
        run_id(tmp_path, settings=["data.validation=100"]),
        run_id(tmp_path, settings=["data.mean=[0.5]"]),
        run_id(tmp_path, params="width: 0.5"),
        run_id(tmp_path, "lc_net"),
        run_id(tmp_path, "lc_net", "l1_layer: 0.1"),
        run_id(tmp_path, "lc_net", "l1_channel: 0.1"),
        runs_of(tmp_path, "lc_net", "init: dense")[1].run_id,
    ]
    hashes = {one.rpartition("-")[2] for one in ids}
    assert len(hashes) == len(ids)


def test_a_new_version_of_a_method_is_a_new_run(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("exits", Exits)
    first = run_id(tmp_path, "exits")
    assert run_id(tmp_path, "exits") == first
    monkeypatch.setattr(Exits, "version", 2)
    assert run_id(tmp_path, "exits") != first


def test_ids_are_the_same_in_every_process(tmp_path: Path) -> None:
    mine = run_id(tmp_path, "lc_net", "l1_layer: 0.1, gate_lr: 0.01")
    code = f"""
from pathlib import Path
from dynbench.cli.options import read_suite
from dynbench.plan.expand import expand_suite
print(*[run.run_id for run in expand_suite(read_suite(Path({str(tmp_path / "s.yaml")!r})))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [mine]
    assert mine.startswith("lc_net-resnet8-s0-")


def test_starting_from_dense_adds_the_dense_run_first_and_shares_it(tmp_path: Path) -> None:
    dense, *others = runs_of(tmp_path, "lc_net", "init: dense, l1_layer: [0.1, 0.2]")
    assert (dense.method, dense.given, dense.needs()) == ("dense", {}, None)
    assert dense.run_id == run_id(tmp_path)
    assert [run.needs() for run in others] == [dense.run_id] * 2


def test_dense_runs_come_before_those_that_need_them_wherever_they_stand(tmp_path: Path) -> None:
    runs = runs_of(
        tmp_path, "lc_net", "init: dense", settings=["methods=[{name: lc_net, params: {init: dense}}, l_net, dense]"]
    )
    assert [run.method for run in runs] == ["dense", "l_net", "lc_net"]
    assert runs[2].needs() == runs[0].run_id


def test_each_seed_starts_from_its_own_dense_run(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, "lc_net", "init: dense", seeds="0,1")
    assert {run.seed: run.needs() for run in runs if run.needs()} == {
        run.seed: run.run_id for run in runs if not run.needs()
    }


def test_a_weight_file_counts_by_its_content(tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    params = f"init: {weights}, init_epochs: 3"
    weights.write_bytes(b"one")
    first = run_id(tmp_path, "lc_net", params)
    assert run_id(tmp_path, "lc_net", params) == first
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(b"one")
    assert first == run_id(tmp_path, "lc_net", f"init: {moved}, init_epochs: 3")
    weights.write_bytes(b"two")
    assert run_id(tmp_path, "lc_net", params) != first
    weights.unlink()
    assert problem(tmp_path, "lc_net", params) == "s.yaml:8: cannot read weights w.pth: No such file or directory"


def test_plan_shows_what_is_finished_and_what_remains(call: Call, tiny_suite: Path, finished: Path) -> None:
    done = call("plan", tiny_suite, "--results", finished)
    assert done.exit_code == 0
    assert done.stdout.count("finished") == 2
    assert "Still to train: 0 MACs." in done.stdout
    more = call("plan", tiny_suite, "--results", finished, "--seeds", "0,1")
    states = [line.split()[-1] for line in more.stdout.splitlines() if line.startswith(("dense", "lc_net"))]
    assert more.stdout.count("to do") == 2
    assert states.count("finished") == 2
    assert "Still to train: 0 MACs." not in more.stdout


def test_plan_counts_a_dense_run_again_whose_weights_are_needed_and_gone(
    call: Call, tiny_suite: Path, finished: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    copytree(finished, results)
    for weights in results.glob("work/dense-*/model.safetensors"):
        weights.unlink()
    tiny_suite.write_text(tiny_suite.read_text().replace("{l1_layer: 0.1}", "{init: dense}"))
    assert call("plan", tiny_suite, "--results", results).stdout.count("to do") == 2


def test_plan_trains_nothing_and_writes_nothing(call: Call, tiny_suite: Path, tmp_path: Path) -> None:
    result = call("plan", tiny_suite, "--results", tmp_path / "results")
    assert result.exit_code == 0
    assert sorted(tmp_path.iterdir()) == [tiny_suite]
    assert result.stdout.count("to do") == 2


def test_a_plugin_that_cannot_be_built_does_not_stop_the_plan(
    call: Call, tiny_suite: Path, register: Register, tmp_path: Path
) -> None:
    register("exits", Exits)
    result = call("plan", tiny_suite, "--results", tmp_path / "r", "--set", "methods=[exits, dense]")
    assert result.exit_code == 0
    assert "fails" in result.stdout
    assert "100.0%" in result.stdout


def test_a_dense_start_of_other_epochs_is_a_run_of_its_own(tmp_path: Path, register: Register) -> None:
    register("early", Early)
    dense, early = runs_of(tmp_path, "early", "epochs: 1")
    assert (dense.given, dense.epochs) == ({"epochs": 1}, 1)
    assert early.start is not None
    assert (early.needs(), early.start.epochs) == (dense.run_id, 1)
    assert runs_of(tmp_path, "early", "epochs: 2")[0].run_id == run_id(tmp_path)
