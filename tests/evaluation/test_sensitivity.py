"""The sensitivity scan: every layer alone, as if each pruned net had been evaluated by itself, on validation images."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from dynbench_methods.dense import Dense

from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.removal import inner_convs
from dynbench.backbones.weights import save_weights
from dynbench.cli.commands.sensitivity import summary
from dynbench.data import load_data
from dynbench.data.split import Data, TestSplit
from dynbench.evaluation.layer_sensitivity import LayerSensitivity, Scan, scan, sensitivity_table
from dynbench.evaluation.trained import Trained
from dynbench.report.plots.sensitivity_lines import sensitivity_figure
from dynbench.suite.schema import BackboneSpec, DataSpec
from tests.conftest import Call
from tests.helpers.small import CPU, random_data, small_backbone

DATA = random_data(validation=37)
RATIOS = (0.3, 0.75)


def top1(backbone: Backbone, data: Data) -> float:
    return Trained.of(Dense(Dense.Config()), backbone, data, CPU, batch_size=10).evaluate(data.validation)[0].top1


def undecided(backbone: Backbone) -> Backbone:
    """With no class that most images would be taken for whatever is removed."""
    with torch.no_grad():
        backbone.linear.bias -= backbone.eval()(DATA.normalise(CPU)(DATA.validation.images)).mean(0)
    return backbone


@pytest.mark.parametrize("bottleneck", [False, True])
def test_each_layer_is_pruned_alone_and_evaluated_as_by_itself(bottleneck: bool) -> None:
    backbone = undecided(small_backbone(bottleneck, option="B")).train()
    before = deepcopy(backbone.state_dict())
    result = scan(backbone, DATA.validation, DATA.normalise(CPU), RATIOS, batch_size=10)
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert (result.ratios, result.images) == (RATIOS, 37)
    assert result.whole == pytest.approx(top1(backbone, DATA))
    assert [layer.number for layer in result.layers] == [layer.number for layer in inner_convs(backbone)]
    for position, layer in enumerate(result.layers):
        for index in range(len(RATIOS)):
            pruned = deepcopy(backbone)
            one = list(inner_convs(pruned))[position]
            norms = one.conv.weight.detach().abs().sum((1, 2, 3))
            one.keep(norms.argsort(descending=True)[: layer.filters - layer.removed[index]].sort().values)
            assert layer.top1[index] == pytest.approx(top1(pruned, DATA)), layer
    assert {layer.filters: layer.removed for layer in result.layers} == {4: (2, 3), 8: (3, 6)}
    assert len({value for layer in result.layers for value in layer.top1}) > 1


def a_scan(whole: float = 90.0) -> Scan:
    layers = [
        LayerSensitivity(f"layer{stage}.{block}.conv1", f"layer{stage}", 4 * stage + 2 * block, 8, (4, 7), values)
        for stage, block, values in ((1, 0, (89.0, 60.0)), (1, 1, (90.0, 59.0)), (2, 0, (85.0, 84.0)))
    ]
    return Scan((0.5, 0.8), 500, whole, tuple(layers))


def test_the_table_has_a_row_for_each_layer_and_ratio_and_one_for_the_whole() -> None:
    table = sensitivity_table(a_scan())
    assert len(table) == 7
    first, second = table.iloc[0], table.iloc[1]
    assert (first.ratio, first.removed, first.top1, pd.isna(first.layer)) == (0, 0, 90.0, True)
    assert (second.layer, second.number, second.filters, second.removed, second.top1) == ("layer1.0.conv1", 4, 8, 4, 89)
    assert set(table.images) == {500}


def test_the_summary_says_up_to_which_ratio_a_layer_bears_it() -> None:
    up_and_down = LayerSensitivity("layer3.0.conv1", "layer3", 12, 8, (2, 4, 6), (89.5, 80.0, 90.0))
    scan = Scan((0.2, 0.5, 0.8), 500, 90.0, (up_and_down, replace(up_and_down, top1=(88.0, 90.0, 90.0))))
    first, second = (line.split() for line in summary(scan, 1.0)[2:])
    assert first == ["12", "layer3.0.conv1", "8", "0.2", "90.00"]
    assert second[3] == "none"


def test_the_figure_has_a_panel_a_stage_and_labels_that_keep_apart() -> None:
    figure = sensitivity_figure(a_scan(), "a net")
    first, second = figure.axes
    assert [line.get_ydata().tolist() for line in first.lines[1:]] == [[90, 89, 60], [90, 90, 59]]  # type: ignore[union-attr]
    assert first.lines[1].get_xdata().tolist() == [0, 50, 87.5]  # type: ignore[union-attr]
    assert [text.get_text() for text in second.texts] == ["8"]
    low, high = sorted(text.xy[1] for text in first.texts)  # type: ignore[attr-defined]
    bottom, top = first.get_ylim()
    assert high - low >= 0.05 * (top - bottom)
    assert bottom <= low < high <= top


def test_a_net_that_nothing_hurts_can_be_drawn() -> None:
    flat = Scan((0.5,), 9, 100.0, (LayerSensitivity("layer1.0.conv1", "layer1", 2, 4, (2,), (100.0,)),))
    assert len(sensitivity_figure(flat, "flat").axes[0].texts) == 0


def test_the_command_never_reads_the_test_split(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TestSplit, "read", lambda self: pytest.fail("the test split was read"))
    backbone = build_backbone(BackboneSpec(name="resnet8", width=0.25), (1, 8, 8), 10)
    save_weights(backbone, tmp_path / "w.safetensors")
    options = (
        "--backbone",
        "resnet8",
        "--width",
        "0.25",
        "--dataset",
        "digits",
        "--images",
        "60",
        "--ratios",
        "0.5,0.25",
    )
    result = call("sensitivity", tmp_path / "w.safetensors", *options, "--output", tmp_path / "out" / "scan")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out" / "scan.csv")
    data = load_data(DataSpec(name="digits"))
    with torch.no_grad():
        guesses = backbone.eval()(data.normalise(CPU)(data.validation.images[:60])).argmax(1)
    whole = 100 * float((guesses == data.validation.labels[:60]).double().mean())
    assert table.top1[0] == pytest.approx(whole)
    assert table.ratio[1:].tolist() == [0.25, 0.5] * 3
    assert f"whole: top-1 {whole:.2f} % on 60 validation images" in result.stdout
    assert (tmp_path / "out" / "scan.png").stat().st_size > 10_000


@pytest.mark.parametrize("ratios", ["0,0.5", "1", "high", "nan"])
def test_ratios_that_make_no_sense_are_refused(call: Call, ratios: str) -> None:
    result = call("sensitivity", "w.pth", "--backbone", "resnet8", "--ratios", ratios)
    assert result.exit_code == 2
    assert "Invalid value for '--ratios'" in result.output
