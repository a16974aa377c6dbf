"""Suite files: what they may say, and that every error says where, what was expected and what is near."""

from pathlib import Path
from typing import Any

import pytest

from dynbench.cli.options import read_suite
from dynbench.errors import UserError
from dynbench.plan.expand import expand_suite
from dynbench.suite.recipe import Adam, Constant, Cosine, Sgd, StepDecay
from dynbench.suite.schema import LatencyProtocol, SuiteFile

GOOD = """\
name: good
data: digits
backbones: [resnet8]
recipe:
  epochs: 2
  optimizer: {name: sgd, lr: 0.1}
methods:
  - dense
  - name: lc_net
    params:
      l1_layer: 0.1
"""


def read(folder: Path, text: str | bytes, **options: Any) -> SuiteFile:
    path = folder / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_suite(path, **options).file


def problem(folder: Path, text: str | bytes, **options: Any) -> str:
    """The error message, the folder left out."""
    with pytest.raises(UserError) as caught:
        read(folder, text, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "seed: 0\n", 's.yaml:12: unknown key "seed"; did you mean "seeds"?'),
        (GOOD + "1: 0\n", 's.yaml:12: unknown key "1"; (known: backbones, budget, check, controls, data,'),
        (changed("epochs: 2", "epoch: 2"), 's.yaml:5: unknown key "recipe.epoch"; did you mean "epochs"?'),
        (
            changed("lr: 0.1", "lrr: 0.1"),
            's.yaml:6: unknown key "recipe.optimizer.lrr"; did you mean "lr"? '
            "(known: bias_scaler, decay_norm_and_bias, lr, momentum, name, nesterov, weight_decay)",
        ),
        (
            changed("epochs: 2", "epochs: 2\n  schedule: {name: cosine, flor: 1}"),
            's.yaml:6: unknown key "recipe.schedule.flor"; did you mean "floor"? (known: floor, name)',
        ),
        (
            changed("[resnet8]", "\n  - resnet8\n  - {name: resnet8, widht: 2}"),
            's.yaml:5: unknown key "backbones.1.widht"; did you mean "width"?',
        ),
        (changed("params:", "parms:"), 's.yaml:10: unknown key "methods.1.parms"; did you mean "params"?'),
    ],
)
def test_unknown_keys_name_the_nearest(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed("epochs: 2", "epochs: two"), "s.yaml:5: recipe.epochs: expected a whole number, got 'two'"),
        (changed("epochs: 2", "epochs: [2]"), "s.yaml:5: recipe.epochs: expected a whole number, got a list"),
        (changed("epochs: 2", "epochs: true"), "s.yaml:5: recipe.epochs: expected a number, got True"),
        (changed("lr: 0.1", "lr: true"), "s.yaml:6: recipe.optimizer.lr: expected a number, got True"),
        (GOOD + "limits: {memory_gib: true}\n", "s.yaml:12: limits.memory_gib: expected a number, got True"),
        (GOOD + "latency: {batches: [1, true]}\n", "s.yaml:12: latency.batches: expected a number, got a list"),
        (GOOD + "seeds: [true]\n", "s.yaml:12: seeds: expected a number, got a list"),
        (changed("epochs: 2", "epochs:"), "s.yaml:5: recipe.epochs: expected a whole number, got nothing"),
        (changed("lr: 0.1", "lr: fast"), "s.yaml:6: recipe.optimizer.lr: expected a number, got 'fast'"),
        (changed("name: good", "name: 12"), "s.yaml:1: name: expected text, got 12"),
        (changed("[resnet8]", "resnet8"), "s.yaml:3: backbones: expected a list, got 'resnet8'"),
        (changed("[resnet8]", "[]"), "s.yaml:3: backbones: expected a list of at least 1"),
        (changed("[resnet8]", "[resnet8, 3]"), "s.yaml:3: backbones.1: expected a mapping, got 3"),
        (GOOD + "evaluation: often\n", "s.yaml:12: evaluation: expected a mapping, got 'often'"),
        (
            GOOD + "latency: off\n",
            's.yaml:12: latency: expected none or a mapping, as {rounds: 5}, got "off"',
        ),
        (GOOD + "latency: 3\n", "s.yaml:12: latency: expected a mapping, got 3"),
        (GOOD + "latency: {batches: 1}\n", "s.yaml:12: latency.batches: expected a list, got 1"),
        (GOOD + "latency: {batches: []}\n", "s.yaml:12: latency.batches: expected a list of at least 1"),
        (GOOD + "latency: {rounds: 0}\n", "s.yaml:12: latency.rounds: expected a number greater than 0, got 0"),
        (
            GOOD + "latency: {engines: [onnx]}\n",
            "s.yaml:12: latency.engines.0: expected 'torch.compile' or 'onnxruntime', got 'onnx'",
        ),
        (
            GOOD + "latency: {image: 3}\n",
            's.yaml:12: unknown key "latency.image"; did you mean "images"? (known: batches, engines, images, rounds, '
            "threads)",
        ),
        (
            changed("epochs: 2", "epochs: 2\n  precision: fp23"),
            "s.yaml:6: recipe.precision: expected 'fp32' or 'bf16', got 'fp23'",
        ),
        (
            changed("epochs: 2", "epochs: 2\n  compile: maybe"),
            "s.yaml:6: recipe.compile: expected true or false, got 'maybe'",
        ),
    ],
)
def test_wrong_types(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed("epochs: 2", "epochs: -2"), "s.yaml:5: recipe.epochs: expected a number greater than 0, got -2"),
        (changed("lr: 0.1", "lr: -0.1"), "s.yaml:6: recipe.optimizer.lr: expected a number greater than 0.0, got -0.1"),
        (changed("lr: 0.1", "lr: .nan"), "s.yaml:6: recipe.optimizer.lr: expected a finite number, got nan"),
        (changed("lr: 0.1", "lr: .inf"), "s.yaml:6: recipe.optimizer.lr: expected a finite number, got inf"),
        (
            changed("epochs: 2", "epochs: 2\n  warmup_epochs: .inf"),
            "s.yaml:6: recipe.warmup_epochs: expected a finite number, got inf",
        ),
        (
            changed("epochs: 2", "epochs: 2\n  label_smoothing: 1"),
            "s.yaml:6: recipe.label_smoothing: expected a number less than 1.0, got 1",
        ),
        (
            changed("{name: sgd, lr: 0.1}", "{name: adam, betas: [0.9, 1.5]}"),
            "s.yaml:6: recipe.optimizer.betas.1: expected a number less than 1.0, got 1.5",
        ),
        (
            changed("data: digits", "data:\n  name: digits\n  std: [0]"),
            "s.yaml:4: data.std.0: expected a number greater than 0.0, got 0",
        ),
        (
            changed("lr: 0.1", "momentum: 0"),
            "s.yaml:6: recipe.optimizer: nesterov needs a momentum above 0; set nesterov: false",
        ),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            changed("name: sgd", "name: sdg"),
            's.yaml:6: recipe.optimizer: unknown name "sdg"; did you mean "sgd"? (known: adam, muon, sgd)',
        ),
        (
            changed("{name: sgd, lr: 0.1}", "\n    lr: 0.1\n    name: sdg"),
            's.yaml:8: recipe.optimizer: unknown name "sdg"; did you mean "sgd"? (known: adam, muon, sgd)',
        ),
        (
            changed("epochs: 2", "epochs: 2\n  schedule: cosin"),
            's.yaml:6: recipe.schedule: unknown name "cosin"; did you mean "cosine"? '
            "(known: constant, cosine, linear, one_cycle, step)",
        ),
        (
            changed("name: sgd, ", ""),
            "s.yaml:6: recipe.optimizer: expected a mapping with the key 'name'",
        ),
    ],
)
def test_unknown_optimizers_and_schedules(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed("data: digits\n", ""), "s.yaml:1: data: required, but missing"),
        (changed("  epochs: 2\n", ""), "s.yaml:4: recipe.epochs: required, but missing"),
        (
            changed("epochs: 2", "epochs: 2\n  schedule: step"),
            "s.yaml:6: recipe.schedule.milestones: required, but missing",
        ),
        (
            changed("- name: lc_net\n", "- {}\n").replace("    params:\n      l1_layer: 0.1\n", ""),
            "s.yaml:9: methods.1.name: required, but missing",
        ),
    ],
)
def test_missing_keys(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "name: again\n", 's.yaml:12: duplicate key "name"; each key may occur only once'),
        (changed("lr: 0.1", "lr: 0.1, lr: 1"), 's.yaml:6: duplicate key "lr"; each key may occur only once'),
        ("", "s.yaml:1: the suite is empty; it needs name, data, backbones, recipe and methods"),
        ("# one\n# two\n", "s.yaml:1: the suite is empty; it needs name, data, backbones, recipe and methods"),
        (
            "- dense\n",
            "s.yaml:1: a suite is a mapping, this is not; it needs name, data, backbones, recipe and methods",
        ),
        (
            "dense\n",
            "s.yaml:1: a suite is a mapping, this is not; it needs name, data, backbones, recipe and methods",
        ),
        (GOOD.encode() + b"\n# caf\xe9\n", "s.yaml:13: not a text file (UTF-8 expected)"),
        (GOOD + "#\x00\n", "s.yaml:12: not valid YAML: character 0x0 is not allowed"),
        (
            changed("  epochs: 2", "\tepochs: 2"),
            "s.yaml:5: not valid YAML: found character '\\t' that cannot start any token",
        ),
        (changed("[resnet8]", "[resnet8"), "s.yaml:4: not valid YAML: expected ',' or ']', but got ':'"),
        (GOOD + "---\nname: second\n", "s.yaml:12: not valid YAML: but found another document"),
    ],
)
def test_files_that_are_no_suite(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert problem(tmp_path, text) == expected


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read suite .*: No such file"):
        read_suite(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match=r"cannot read suite .*: Is a directory"):
        read_suite(tmp_path)


def test_short_forms(tmp_path: Path) -> None:
    text = changed("epochs: 2", "epochs: 2\n  schedule: cosine") + "tracking: none\n"
    file = read(tmp_path, text)
    assert file.data.name == "digits"
    assert [backbone.name for backbone in file.backbones] == ["resnet8"]
    assert [(entry.name, entry.params) for entry in file.methods] == [("dense", {}), ("lc_net", {"l1_layer": 0.1})]
    assert file.recipe.schedule == Cosine(name="cosine")
    assert file.tracking.backend == "none"
    short = changed("{name: sgd, lr: 0.1}", "adam").replace("epochs: 2", "epochs: 2\n  schedule: constant")
    assert read(tmp_path, short).recipe.optimizer == Adam(name="adam")
    assert read(tmp_path, short).recipe.schedule == Constant(name="constant")


def test_numbers_of_yaml_1_2(tmp_path: Path) -> None:
    text = changed("lr: 0.1", "lr: 1E-2, weight_decay: 5e-4")
    assert read(tmp_path, text).recipe.optimizer == Sgd(name="sgd", lr=0.01, weight_decay=0.0005)
    steps = changed("epochs: 2", "epochs: 2\n  schedule: {name: step, milestones: [1, 2], gamma: 1e-1}")
    assert read(tmp_path, steps).recipe.schedule == StepDecay(name="step", milestones=(1, 2), gamma=0.1)


def test_set_changes_any_key(tmp_path: Path) -> None:
    settings = [
        "recipe.optimizer.lr=0.5",
        "recipe.batch_size=7",
        "seeds=[0, 1]",
        "methods.1.params.l1_layer=[0.1, 0.2]",
        "backbones.0.width=0.5",
        "methods.0.params.width=0.25",
        "data.validation=100",
        "recipe.schedule=cosine",
        "recipe.schedule.floor=0.1",
    ]
    file = read(tmp_path, GOOD, settings=settings)
    assert file.recipe.optimizer == Sgd(name="sgd", lr=0.5)
    assert file.recipe.batch_size == 7
    assert file.seeds == (0, 1)
    assert file.backbones[0].width == 0.5
    assert [entry.params for entry in file.methods] == [{"width": 0.25}, {"l1_layer": [0.1, 0.2]}]
    assert file.data.validation == 100
    assert file.recipe.schedule == Cosine(name="cosine", floor=0.1)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("recipe.epoch=2", '--set recipe.epoch=2: unknown key "recipe.epoch"; did you mean "epochs"?'),
        ("recipe.epochs=two", "--set recipe.epochs=two: recipe.epochs: expected a whole number, got 'two'"),
        ("recipe.optimizer=sdg", '--set recipe.optimizer=sdg: recipe.optimizer: unknown name "sdg"; did you mean'),
        ("recipe.epochs", "--set recipe.epochs: expected key=value, for example recipe.epochs=3"),
        ("=3", "--set =3: expected key=value, for example recipe.epochs=3"),
        ("methods.5=dense", '--set methods.5=dense: "5" cannot be set there'),
        ("methods.5.name=dense", '--set methods.5.name=dense: the suite has no "5" to look into'),
        ("methods.first=dense", '--set methods.first=dense: "first" cannot be set there'),
        ("seeds=[0", "--set seeds:1: not valid YAML: expected ',' or ']'"),
    ],
)
def test_settings_that_do_not_work_name_themselves(tmp_path: Path, setting: str, expected: str) -> None:
    assert problem(tmp_path, GOOD, settings=[setting]).startswith(expected)


def test_every_option_overrides_the_suite(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        GOOD,
        device="cpu",
        seeds="0,1,2",
        methods="lc_net",
        epochs=9,
        data=Path("images"),
        tracking="none",
        tracking_uri="http://127.0.0.1:5000",
    )
    assert file.device == "cpu"
    assert file.seeds == (0, 1, 2)
    assert [entry.name for entry in file.methods] == ["lc_net"]
    assert file.recipe.epochs == 9
    assert file.data.root == Path("images")
    assert (file.tracking.backend, file.tracking.uri) == ("none", "http://127.0.0.1:5000")


def test_set_does_not_undo_the_other_options(tmp_path: Path) -> None:
    settings = ["data=cifar10", "recipe={epochs: 5, batch_size: 7}"]
    file = read(tmp_path, GOOD, settings=settings, data=Path("images"), epochs=3)
    assert (file.data.name, file.data.root) == ("cifar10", Path("images"))
    assert (file.recipe.epochs, file.recipe.batch_size) == (3, 7)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"device": "gpu"}, "--device: device: expected text that matches ^(auto|cpu|cuda(:\\d+)?)$, got 'gpu'"),
        ({"seeds": "0,one"}, "--seeds 0,one: expected whole numbers, for example 0,1,2"),
        ({"seeds": ""}, "--seeds : expected whole numbers, for example 0,1,2"),
        (
            {"methods": "lcnet"},
            '--methods lcnet: the suite has no "lcnet"; did you mean "lc_net"? (known: dense, lc_net)',
        ),
        ({"tracking": "mlfow"}, "--tracking: tracking.backend: expected 'mlflow' or 'none', got 'mlfow'"),
    ],
)
def test_options_that_do_not_work_name_themselves(tmp_path: Path, options: dict[str, str], expected: str) -> None:
    assert problem(tmp_path, GOOD, **options) == expected


def test_chosen_methods_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD + "  - l_net\n")
    locator = read_suite(path, methods="lc_net,l_net").locator
    assert locator.at(("methods", 0, "name")) == f"{path}:9"
    assert locator.at(("methods", 0, "params", "l1_layer")) == f"{path}:11"
    assert locator.at(("methods", 1, "name")) == f"{path}:12"


def test_options_do_not_hide_other_errors(tmp_path: Path) -> None:
    text = changed("[resnet8]", "[resnet8, {name: resnet8, width: -1}]")
    expected = "s.yaml:3: backbones.1.width: expected a number greater than 0.0, got -1"
    assert problem(tmp_path, text, device="cpu", methods="dense", epochs=3) == expected


def test_latency_is_short_by_default_and_can_be_turned_off(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).latency == LatencyProtocol(images=64, rounds=5, batches=(1, 32), engines=())
    assert read(tmp_path, GOOD + "latency: none\n").latency is None
    changed_by_option = read(tmp_path, GOOD + "latency: none\n", settings=["latency.rounds=3"])
    assert changed_by_option.latency == LatencyProtocol(rounds=3)


def test_how_runs_are_timed_is_not_in_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    ids = {run.run_id for run in expand_suite(read_suite(path))}
    assert {run.run_id for run in expand_suite(read_suite(path, settings=["latency={rounds: 9}"]))} == ids
