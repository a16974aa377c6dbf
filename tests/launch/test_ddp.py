"""One run on several processes: it computes what one process would, and what happens to one of them reaches all."""

import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
from dynbench_methods.lc_net.method import LCNet
from torch import Tensor, nn
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from dynbench.data import load_data
from dynbench.data.image_files import in_batches
from dynbench.errors import UserError
from dynbench.evaluation.answers import PointEvaluation
from dynbench.evaluation.trained import Trained
from dynbench.isolate.call import call as call_isolated
from dynbench.isolate.child import Ask
from dynbench.launch.ddp.rank import Rank, rank_of_torchrun
from dynbench.process_group import ALONE, ProcessGroup, check_batch
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.stage import Progress, Stage, recipe_stage
from dynbench.suite.recipe import Recipe, Sgd
from dynbench.suite.schema import Limits
from dynbench.train.ddp import shared_loss
from dynbench.train.trainer import EpochResult, StageTrainer
from tests.conftest import Call
from tests.helpers import ddp_plugins
from tests.helpers.pictures import noise_files
from tests.helpers.small import CLASSES, CPU, SHAPE, ask, random_data, random_images, random_split, small_backbone
from tests.train.test_resume import clear_registry, timeless

LIMITS = Limits(silence_minutes=5)
PROGRESS = Progress(0, 1, 0.0)
RECIPE = Recipe(
    epochs=2, batch_size=8, optimizer=Sgd(name="sgd", lr=0.05), clip_norm=1.0, channels_last=False, warmup_epochs=1
)


def together(function: Callable[..., Any], *arguments: Any, world: int = 2) -> list[Any]:
    """`function(process group, *arguments)` in each of `world` processes; what they return, by rank."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def one(rank: int) -> Any:
        answer = call_isolated(_joined, ProcessGroup(rank, world), store.port, function, arguments, limits=LIMITS)
        return pickle.loads(answer)

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(one, range(world)))


def _joined(
    _ask: Ask, processes: ProcessGroup, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> bytes:
    torch.set_num_threads(1)
    store = PrefixStore("test", TCPStore("127.0.0.1", port, is_master=False))
    dist.init_process_group("gloo", store=store, rank=processes.rank, world_size=processes.world)
    return pickle.dumps(function(processes, *arguments))  # tensors by value: this process ends now


# What is computed


class GroupNet(nn.Module):
    """Without batch statistics; one layer that no loss uses, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.frozen = nn.Conv2d(SHAPE[0], 4, 3).requires_grad_(False)
        self.norm, self.unused = nn.GroupNorm(2, 4), nn.Linear(2, 2)
        self.linear = nn.Linear(4 * 36, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.norm(self.frozen(x)).relu().flatten(1))
        return logits


def mean_loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
    return nn.functional.cross_entropy(model(x), y)


def double_loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
    return mean_loss(model.double(), x.double(), y, progress)


def whole_batch() -> tuple[Tensor, Tensor]:
    return random_images(8).double(), random_split(8).labels


def gradients(processes: ProcessGroup) -> dict[str, Tensor | None]:
    """Of this process's share of the batch, after backward."""
    model, (x, y) = GroupNet().double(), whole_batch()
    share = slice(processes.rank * 8 // processes.world, (processes.rank + 1) * 8 // processes.world)
    loss = shared_loss(model, double_loss, CPU, processes)
    loss(x[share], y[share], PROGRESS).backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_gradients_of_two_batches_are_those_of_one_twice_as_large() -> None:
    model, (x, y) = GroupNet().double(), whole_batch()
    logits = model.linear(model.norm(model.frozen(x)).relu().flatten(1))
    loss = -logits.log_softmax(1)[torch.arange(8), y].sum() / 8
    names = [name for name, one in model.named_parameters() if one.requires_grad and not name.startswith("unused")]
    expected = dict(zip(names, torch.autograd.grad(loss, [model.get_parameter(name) for name in names]), strict=True))
    for found in together(gradients):
        assert {name for name, gradient in found.items() if gradient is not None} == set(names)
        for name in names:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-14)


def trained(
    processes: ProcessGroup, model: nn.Module, stage: Stage, recipe: Recipe
) -> tuple[list[EpochResult], dict[str, Tensor]]:
    data = random_data(train=44)
    trainer = StageTrainer(stage, model, data, data.train, recipe, 5, CPU, processes)
    results = [replace(trainer.epoch(epoch, lambda *_: None), seconds=0.0) for epoch in range(recipe.epochs)]
    return results, model.state_dict()


def trained_plain(processes: ProcessGroup) -> tuple[list[EpochResult], dict[str, Tensor]]:
    stage = replace(recipe_stage(LCNet(LCNet.Config()), RECIPE), loss=mean_loss)
    return trained(processes, GroupNet(), stage, RECIPE)


def test_epochs_of_two_processes_are_those_of_one() -> None:
    """44 images are 5 steps of 8; momentum, warm-up, clipping, crops and flips included."""
    expected, weights = trained_plain(ALONE)
    for results, found in together(trained_plain):
        assert [(one.images, one.lr) for one in results] == [(one.images, one.lr) for one in expected]
        assert [one.loss for one in results] == pytest.approx([one.loss for one in expected], rel=1e-5)
        for name, weight in weights.items():
            torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-6)


def trained_lc_net(processes: ProcessGroup) -> tuple[list[EpochResult], dict[str, Tensor]]:
    method = LCNet(LCNet.Config(l1_layer=0.1, l1_channel=1.0))
    torch.manual_seed(11)
    return trained(processes, method.build(small_backbone()), recipe_stage(method, RECIPE), RECIPE)


def test_with_batch_statistics_and_noise_all_processes_hold_the_same_net() -> None:
    (results, one), (others, other) = together(trained_lc_net)
    assert results == others
    assert any("running_mean" in name for name in one)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def drawn_by(processes: ProcessGroup) -> list[float]:
    """What the losses of two epochs draw."""
    draws: list[float] = []

    def noisy(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        draws.append(float(torch.rand(())))
        return mean_loss(model, x, y, progress)

    trained(processes, GroupNet(), replace(recipe_stage(LCNet(LCNet.Config()), RECIPE), loss=noisy), RECIPE)
    return draws


def test_each_process_draws_its_own_noise_and_the_first_what_one_would() -> None:
    one, other = together(drawn_by)
    assert one == drawn_by(ALONE)
    assert len(other) == len(one)
    assert not set(other) & set(one)


def evaluated(processes: ProcessGroup, images: int, batch: int) -> tuple[PointEvaluation, ...]:
    method = LCNet(LCNet.Config())
    torch.manual_seed(11)
    model = method.build(small_backbone())
    return ask(method, model, batch_size=batch, processes=processes).evaluate(random_split(images))


@pytest.mark.parametrize(("images", "batch", "world"), [(23, 5, 2), (23, 5, 3), (3, 8, 2)])
def test_evaluation_is_the_same_to_the_bit_on_every_process(images: int, batch: int, world: int) -> None:
    expected = evaluated(ALONE, images, batch)
    assert len(expected[0].correct) == images
    for found in together(evaluated, images, batch, world=world):
        for one, other in zip(found, expected, strict=True):
            assert one.point == other.point
            for name in ("correct", "correct5", "macs", "layer_macs", "answers"):
                assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize(("count", "batch"), [(0, 4), (1, 4), (23, 5), (24, 4), (100, 7)])
def test_parts_are_whole_batches_each_once(count: int, batch: int, world: int) -> None:
    images = torch.arange(count)
    whole = [one.tolist() for one in in_batches(images, batch)]
    parts = [
        one.tolist()
        for rank in range(world)
        for one in in_batches(images, batch, ProcessGroup(rank, world).part(count, batch))
    ]
    assert parts == whole == [list(range(count))[start : start + batch] for start in range(0, count, batch)]


def test_parts_of_files_are_those_of_their_pixels(tmp_path: Path) -> None:
    files = noise_files(tmp_path, 7, side=8)
    expected = torch.cat(list(in_batches(files, 3)))
    parts = [list(in_batches(files, 3, ProcessGroup(rank, 4).part(7, 3))) for rank in range(4)]
    assert sorted(len(batch) for part in parts for batch in part) == [1, 3, 3]
    assert torch.equal(torch.cat([batch for part in parts for batch in part]), expected)


# What is asked for beforehand


def test_a_step_that_cannot_be_divided_is_one_line(call: Call, tiny_suite: Path, tmp_path: Path) -> None:
    result = call("run", tiny_suite, "--nproc", 3, "--results", tmp_path / "results", "--device", "cpu")
    assert result.exit_code == 2
    assert re.fullmatch(r"error: \S*tiny.yaml:4: recipe.batch_size 128 .* take 126, .*\n", result.output)
    assert not (tmp_path / "results").exists()
    with pytest.raises(UserError, match="take 2,"):
        check_batch(1, 2)


def test_a_seat_is_what_torchrun_gives() -> None:
    given = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "node0",
        "MASTER_PORT": "29500",
    }
    assert rank_of_torchrun(given) == Rank(rank=3, world=4, local_rank=1, local_world=2, host="node0", port=29500)
    assert rank_of_torchrun({**given, "WORLD_SIZE": "1", "RANK": "0"}) is None
    assert rank_of_torchrun({"RANK": "3", "WORLD_SIZE": "4"}) is None


# Whole runs

SUITE = """
name: together
data: digits
backbones: [{{name: resnet8, width: 0.25}}]
recipe: {{epochs: 2, batch_size: 96}}
methods: [{methods}]
evaluation: {{batch_size: 50}}
tracking: none
latency: none
"""
BUILT_IN = (
    "dense, {name: lc_net, params: {l1_layer: 0.2, l1_channel: 2.0}}, "
    "{name: filter_pruning, params: {ratios: 0.5, epochs: 1, lr: null}}, "
    "{name: nisp, params: {ratios: 0.5, epochs: 1, lr: null}}, "
    "{name: blockdrop, params: {curriculum_epochs: 1, joint_epochs: 1}}"
)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugins of `tests.helpers.ddp_plugins`, as if they had been installed."""
    info = tmp_path / "plugins" / "team_plugins-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: process group-plugins\nVersion: 1.0\n")
    lines = (f"{method.name} = tests.helpers.ddp_plugins:{method.__name__}" for method in ddp_plugins.METHODS)
    (info / "entry_points.txt").write_text("[dynbench.methods]\n" + "\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    clear_registry()
    yield
    clear_registry()


def run_together(call: Call, folder: Path, methods: str) -> tuple[int, dict[str, Record]]:
    """`dynbench run --nproc 2`; the exit code, and the records by method."""
    suite = folder.parent / f"{folder.name}.yaml"
    suite.write_text(SUITE.format(methods=methods))
    result = call("run", suite, "--nproc", 2, "--results", folder, "--device", "cpu")
    return result.exit_code, {record.run.method: record for record in ResultsFolder(folder).records()}


def test_every_kind_of_method_is_trained_together_and_evaluates_as_alone(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    code, records = run_together(call, folder, BUILT_IN)
    assert code == 0
    assert len(records) == 5
    for name, record in records.items():
        assert record.status == "finished", record.error
        assert (record.world_size, record.batch_per_device) == (2, 48)
        (*_, last) = record.budget.stages
        assert last.images == last.epochs * (1257 // 96 * 96), "of all processes together"
        assert all(point.audited for point in record.points), name
        arrays = ResultsFolder(folder).arrays(record.run_id)
        for point, expected in zip(record.points, evaluated_alone(record, folder), strict=True):
            assert np.array_equal(arrays[f"{point.name}/correct"], expected.correct)
            assert np.array_equal(arrays[f"{point.name}/macs"], expected.total_macs)
            assert [layer.mean for layer in point.layers] == expected.layer_macs.tolist()


def evaluated_alone(record: Record, folder: Path) -> tuple[PointEvaluation, ...]:
    """The test split once more, in this process, with the weights that were kept."""
    data, weights = load_data(record.run.data), ResultsFolder(folder).weights(record.run_id)
    trained = Trained.restored(record.run, weights, data, CPU, channels_last=True, batch_size=50)
    return trained.evaluate(data.test.read())


@pytest.mark.usefixtures("plugins")
def test_a_failure_on_one_process_costs_its_own_run_only(call: Call, tmp_path: Path) -> None:
    code, records = run_together(call, tmp_path / "results", "nan_on_one, raises_on_one, dies_on_one, dense")
    assert code == 1
    assert {name: record.status for name, record in records.items()} == {
        "nan_on_one": "failed",
        "raises_on_one": "failed",
        "dies_on_one": "failed",
        "dense": "finished",
    }
    assert (records["nan_on_one"].error or "").startswith("the loss became nan in stage train, epoch 2")
    assert records["raises_on_one"].error == "process 1: ValueError: no such thing"
    assert "in spoilt" in (records["raises_on_one"].traceback or "")
    assert (records["dies_on_one"].error or "").startswith("process 1: its process was ended by signal SIGKILL")


def assert_same_results(one: Path, other: Path) -> None:
    """Histories, results, per-image arrays and weights of the only run of two results folders."""
    (mine,), (theirs,) = ResultsFolder(one).records(), ResultsFolder(other).records()
    assert mine.status == theirs.status == "finished", (mine.error, theirs.error)
    assert mine.points == theirs.points
    assert timeless(mine) == timeless(theirs)
    arrays, expected = ResultsFolder(one).arrays(mine.run_id), ResultsFolder(other).arrays(mine.run_id)
    assert all(np.array_equal(arrays[name], array) for name, array in expected.items())
    assert (
        ResultsFolder(one).weights(mine.run_id).read_bytes() == ResultsFolder(other).weights(theirs.run_id).read_bytes()
    )


@pytest.mark.usefixtures("plugins")
def test_after_a_process_has_died_all_go_on_from_the_checkpoint(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken, mark = tmp_path / "whole", tmp_path / "broken", tmp_path / "has-died"
    assert run_together(call, whole, "dies_once")[0] == 0
    monkeypatch.setenv(ddp_plugins.DiesOnce.variable, str(mark))
    assert run_together(call, broken, "dies_once")[0] == 0
    assert mark.exists()
    assert_same_results(broken, whole)


LONG = """
name: together
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 8, batch_size: 64}
methods: [{name: lc_net, params: {l1_layer: 0.2, l1_channel: 2.0}}]
evaluation: {batch_size: 50}
tracking: none
latency: none
"""


def test_torchrun_starts_all_again_when_one_of_its_workers_is_killed(call: Call, tmp_path: Path) -> None:
    suite, whole, broken = tmp_path / "suite.yaml", tmp_path / "whole", tmp_path / "broken"
    suite.write_text(LONG)
    assert call("run", suite, "--nproc", 2, "--results", whole, "--device", "cpu").exit_code == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    command = ["-m", "dynbench", "run", str(suite), "--results", str(broken), "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-u", *launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.strip().startswith("train 2/8 "):
                worker_of(process.pid, rank=1).send_signal(signal.SIGKILL)
    output = "".join(said)
    assert process.returncode == 0, output
    assert output.count("continuing after epoch") == 1, output
    assert_same_results(broken, whole)


def worker_of(launcher: int, rank: int) -> psutil.Process:
    """The process that torchrun has started as `rank`."""
    found = [
        one
        for one in psutil.Process(launcher).children()
        if one.environ().get("RANK") == str(rank) and "run" in one.cmdline()
    ]
    assert len(found) == 1
    return found[0]
