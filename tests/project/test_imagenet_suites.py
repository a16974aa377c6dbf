"""The suites for ImageNet: Table II of the LC-Net paper, its costs, and the smoke suite with its caveat."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from dynbench_methods.lc_net.method import LCNet
from dynbench_methods.pruning.filter_pruning import StaticPruning
from dynbench_methods.pruning.mac_target import PrunedMacs
from PIL import Image
from torchvision.models import MobileNet_V2_Weights, ResNet50_Weights, mobilenet_v2

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.literature import read_literature
from dynbench.analysis.words import short_macs
from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.weights import load_weights
from dynbench.cli.options import read_suite
from dynbench.cost import dense_macs, static_costs
from dynbench.data import DATASETS, load_data
from dynbench.data.folders import in_place, list_classes
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.registry import discover, load_method
from dynbench.report.markdown import markdown_report
from dynbench.report.plots.accuracy_panel import make_panel
from dynbench.suite.schema import BackboneSpec, DataSpec
from dynbench.tracking.payload import start_tags
from tests.conftest import Call
from tests.helpers.records import Fake, analysed, make_record, write_fakes
from tests.helpers.small import CPU, SHARED

SUITES = Path(__file__).parents[2] / "suites"
CAVEAT = "one training image a class, not ImageNet accuracy"
BLOCKS = [(64, 64), *[(256, 64)] * 2, (256, 128), *[(512, 128)] * 3, (512, 256), *[(1024, 256)] * 5]
BLOCKS += [(1024, 512), *[(2048, 512)] * 2]
"""Input channels, and channels of the first convolution, of ResNet-50's blocks (arXiv 1512.03385, table 1)."""
SMALL_BLOCKS = [(inputs // 8, channels // 8) for inputs, channels in BLOCKS]


def row(method: str) -> Run:
    """The suite's first run of a method."""
    runs = expand_suite(read_suite(SUITES / "imagenet.yaml"))
    return next(run for run in runs if run.method == method)


@pytest.fixture(scope="module")
def resnet50() -> Backbone:
    return build_backbone(row("dense").built, (3, 224, 224), 1000)


def macs_by_kind(run: Run, backbone: Backbone) -> Counter[str]:
    found: Counter[str] = Counter()
    for layer in static_costs(run.make_method().build(backbone), backbone.input_shape):
        found[layer.kind] += layer.macs
    return found


# Table II


def test_the_dense_row_costs_what_torchvision_publishes(resnet50: Backbone) -> None:
    costs = macs_by_kind(row("dense"), resnet50)
    assert round(costs.total() / 1e9, 3) == ResNet50_Weights.IMAGENET1K_V1.meta["_ops"] == 4.089
    assert costs["control"] == 0


def test_the_gates_cost_what_equations_3_and_4_say(resnet50: Backbone) -> None:
    """One fully connected layer to a scalar and one to a score a channel, behind one pooling, at each block."""
    layer, channel = sum(inputs for inputs, _ in BLOCKS), sum(inputs * outputs for inputs, outputs in BLOCKS)
    for method, gates in (("l_net", layer), ("c_net", channel), ("lc_net", layer + channel)):
        costs = macs_by_kind(row(method), resnet50)
        assert costs["control"] == gates
        assert costs.total() - gates == dense_macs(resnet50)


def test_pruned_rows_are_pruned_to_the_printed_costs(resnet50: Backbone) -> None:
    pruned_macs = PrunedMacs(resnet50)
    noise = torch.Generator().manual_seed(0)
    scores = {layer: torch.rand(filters, generator=noise) for layer, filters in pruned_macs.filters.items()}
    pruned = [run.make_method() for run in expand_suite(read_suite(SUITES / "imagenet.yaml")) if run.start]
    found = [pruned_macs(one.removed(resnet50, scores)) for one in pruned if isinstance(one, StaticPruning)]
    assert found == pytest.approx([2.97e9, 2.97e9, 2.89e9], rel=0.002)


def test_the_recipe_is_the_papers() -> None:
    """Section 4.2: SGD, Nesterov 0.9, decay 5e-4, batches of 256, 120 epochs, both rates divided by ten every 30."""
    run = row("lc_net")
    method = run.make_method()
    assert isinstance(method, LCNet)
    (stage,) = method.stages(run.recipe)
    optimizer = stage.optimizer(method.build(build_backbone(BackboneSpec(name="resnet50", width=0.25), (3, 64, 64), 2)))
    assert isinstance(optimizer, torch.optim.SGD)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [1e-5, 0.005]
    for group in optimizer.param_groups:
        assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 5e-4)
        assert group["dampening"] == 0
    assert (stage.epochs, run.recipe.batch_size, run.recipe.warmup_epochs) == (120, 256, 0)
    rates = [stage.schedule(epoch) for epoch in (0, 29.9, 30, 60, 90, 119.9)]
    assert rates == pytest.approx([1, 1, 0.1, 0.01, 1e-3, 1e-3])


def test_quoted_rows_stand_beside_imagenet_and_never_beside_the_sample() -> None:
    literature = read_literature()
    for dataset, expected in (("imagenet", {"ResNet-50", "IamNN", "NISP-50-A", "LC-Net"}), ("imagenet-sample", set())):
        record, _ = make_record(Fake(dataset=dataset, backbone="resnet50", mmacs=(4089.0,), dense_mmacs=4089.0))
        found = analysed([record], literature)
        panel = make_panel(found, dataset)
        assert {row.method for row in panel.quoted if row.place == "Table II"} == expected
        assert bool(panel.quoted) == bool(expected)
        assert len(panel.front) == 1
        report = markdown_report(found)
        beside = report.partition("**Quoted from papers, not reproduced")[2]
        assert {line.split(" | ")[0].strip("| ") for line in beside.splitlines() if "Table II " in line} == expected
        assert (
            "| LC-Net | resnet50 | Xia et al. 2020 (arXiv 2007.15151) | Table II | 74.10 | 92.10 | 2.89G |" in beside
        ) == bool(expected)


def test_the_plan_needs_no_data_and_shows_what_gates_cost(call: Call, tmp_path: Path) -> None:
    small = ("--set", "data.side=64", "--set", "backbones=[{name: resnet50, width: 0.125}]")
    result = call("plan", SUITES / "imagenet.yaml", "--methods", "lc_net", "--data", tmp_path / "nowhere", *small)
    assert result.exit_code == 0, result.output
    gates = sum(inputs + inputs * channels for inputs, channels in SMALL_BLOCKS)
    assert f" {short_macs(gates)} " in result.output
    assert "imagenet takes about 155 GB" in result.output


# The smoke suite


def refuses_mobilenet(name: str) -> bool:
    """Whether a method is not defined on every backbone of the suite: none of its runs would be planned."""
    kind = load_method(name)
    backbone = build_backbone(BackboneSpec(name="mobilenet_v2", width=0.25), (3, 64, 64), 1000)
    return kind(kind.Config()).unsupported(backbone) is not None


def test_the_smoke_suite_tries_every_built_in_method() -> None:
    suite = read_suite(SUITES / "imagenet-smoke.yaml")
    built_in = {name for name, plugin in discover().items() if plugin.distribution.startswith("dynbench ")}
    runs = expand_suite(suite)
    refused = {name for name in built_in if refuses_mobilenet(name)}
    assert refused < built_in
    assert built_in - refused <= {run.method for run in runs}
    assert {run.data.name for run in runs} == {"imagenet-sample"}
    assert {run.backbone.name for run in runs} == {"resnet18", "mobilenet_v2"}


def test_every_accuracy_on_the_sample_is_said_not_to_be_imagenets(tmp_path: Path, call: Call) -> None:
    fakes = [Fake(dataset="imagenet-sample"), Fake("lc_net", dataset="imagenet-sample", points=("sequential",))]
    records = write_fakes(tmp_path, fakes)
    found = Analysis.of(ResultsFolder(tmp_path), records, ())
    report = markdown_report(found)
    tables = [part for part in report.split("\n\n") if "top-1" in part.splitlines()[0] and part.startswith("|")]
    titles = [part for part in report.split("\n\n") if CAVEAT in part]
    assert len(tables) == len(titles) == 2
    assert CAVEAT in make_panel(found, "imagenet-sample").title
    assert CAVEAT in dict(start_tags(records[0].run))["dataset_caveat"]
    shown = call("report", tmp_path).output
    assert " ".join(shown.split()).count(CAVEAT) == 1
    assert [name for name, info in DATASETS.items() if info.caveat] == ["imagenet-sample"]


def test_other_data_sets_have_no_caveat(tmp_path: Path) -> None:
    records = write_fakes(tmp_path, [Fake(dataset="imagenet")])
    assert CAVEAT not in markdown_report(analysed(records, ()))
    assert "dataset_caveat" not in dict(start_tags(records[0].run))


def test_reports_are_made_without_torch() -> None:
    code = "import sys, dynbench.report.report_files, dynbench.cli.tables; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Weights


def test_mobilenet_evaluates_as_torchvisions_own_behind_its_own_transforms() -> None:
    weights, root = SHARED / "weights" / "mobilenet_v2-b0353104.pth", SHARED / "imagenet-sample"
    if not (weights.is_file() and root.is_dir()):
        pytest.skip(f"{weights.name} and imagenet-sample are not in {SHARED}")
    data = load_data(DataSpec(name="imagenet-sample", root=root))
    ours = build_backbone(BackboneSpec(name="mobilenet_v2"), data.shape, data.num_classes).eval()
    load_weights(ours, weights)
    theirs = mobilenet_v2().eval()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    chosen = torch.arange(0, 1000, 50)
    files = in_place(list_classes(root))
    transforms = MobileNet_V2_Weights.IMAGENET1K_V1.transforms(antialias=True)
    with torch.inference_mode():
        found = ours(data.normalise(CPU)(data.test.read().images[chosen]))
        expected = theirs(torch.stack([transforms(Image.open(root / files[i].path).convert("RGB")) for i in chosen]))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert torch.equal(found.argmax(1), expected.argmax(1))
