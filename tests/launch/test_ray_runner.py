"""Runs on nodes, without Ray: which can start, where they are made, what comes back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynbench_methods.dense import Dense
from filelock import FileLock
from torch import Tensor, nn

from dynbench.cli.options import read_suite
from dynbench.context import Context
from dynbench.errors import UserError
from dynbench.latency.timer import Timer
from dynbench.launch.ray import cluster, runner
from dynbench.launch.ray.cluster import Fanout, Size
from dynbench.launch.ray.messages import Fetch, Message, NodeAnswer, Order, pack_files, unpack_files
from dynbench.launch.ray.node import work
from dynbench.launch.ray.runner import FanoutRunner
from dynbench.launch.ray.schedule import Schedule
from dynbench.launch.sequential import SuiteRunner
from dynbench.observer import Observer
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.machine import commit
from dynbench.record.schema import EpochRecord, Record
from dynbench.stage import Progress
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import Evaluation, Limits
from tests.conftest import Call, Register

CHAIN = "methods=[dense, l_net, {name: lc_net, params: {init: dense}}]"


class Breaks(Dense):
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        raise ZeroDivisionError("as planned")


class Seen(Observer):
    """Notes events, as (name, method)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def run_started(self, run: Run) -> None:
        self.events.append(("started", run.method))

    def run_placed(self, run: Run, node: str) -> None:
        self.events.append((f"on {node}", run.method))

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self.events.append((f"trains from {done}", run.method))

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        self.events.append((f"epoch {len(history)}", run.method))

    def timing_started(self, run: Run) -> None:
        self.events.append(("timing", run.method))

    def timing_failed(self, run: Run, reason: str) -> None:
        self.events.append((f"not timed: {reason}", run.method))

    def run_finished(self, record: Record) -> Record:
        self.events.append((record.status, record.run.method))
        return record

    def waiting(self, run: Run) -> None:
        self.events.append(("waiting", run.method))


class Nodes:
    """A pool of `slots` in this process. An order is carried out when it is waited for; the answers of the first
    `lost` are lost with their node, after all the work, and the order is carried out again."""

    def __init__(self, slots: int = 2, lost: int = 0, shared: bool = True) -> None:
        self.most = 0
        self._slots, self._lost, self._shared = slots, lost, shared
        self._orders: list[tuple[Order, Fetch]] = []
        self._messages: list[Message] = []

    def slots(self) -> int:
        return self._slots

    def submit(self, order: Order, fetch: Fetch) -> None:
        self._orders.append((order if self._shared else replace(order, token="another"), fetch))
        self.most = max(self.most, len(self._orders))

    def messages(self) -> list[Message]:
        taken, self._messages = self._messages, []
        return taken

    def wait(self, seconds: float) -> list[NodeAnswer]:
        if not self._orders:
            return []
        order, fetch = self._orders.pop(0)
        if self._lost:
            self._lost -= 1
            work(order, fetch, self._messages.append, "a")
            return [work(order, fetch, self._messages.append, "b")]
        return [work(order, fetch, self._messages.append, "a")]


def runs_of(suite: Path, *settings: str) -> tuple[Run, ...]:
    return expand_suite(read_suite(suite, settings=settings))


def context_of(results: Path, observer: Observer) -> Context:
    return Context(ResultsFolder(results), torch.device("cpu"), None, Evaluation(), observer, "a test", commit())


def order_of(run: Run, results: Path, data_root: Path | None = None) -> Order:
    folder = ResultsFolder(results)
    return Order(
        run, folder, folder.token(), data_root, Evaluation(), Limits(), "cpu", "a test", commit(), Path.cwd(), {}
    )


def spread(
    runs: Sequence[Run], results: Path, nodes: Nodes, observer: Observer | None = None, timer: Timer | None = None
) -> FanoutRunner:
    """A runner of these runs that has not begun."""
    return FanoutRunner(runs, context_of(results, observer or Seen()), timer, nodes, order_of(runs[0], results))


def states_of(runs: Sequence[Run], results: Path) -> list[str | None]:
    records = [ResultsFolder(results).read(run.run_id) for run in runs]
    return [record.status if record else None for record in records]


# Which runs can start


def test_a_run_is_ready_when_what_it_starts_from_is_done(tiny_suite: Path) -> None:
    dense, l_net, lc_net = runs_of(tiny_suite, CHAIN)
    schedule = Schedule((dense, l_net, lc_net))
    assert schedule.ready() == [dense, l_net]
    schedule.start(dense)
    assert (schedule.ready(), schedule.under_way) == ([l_net], [dense])
    schedule.finish(dense)
    assert schedule.ready() == [l_net, lc_net]
    schedule.finish(l_net)
    schedule.finish(lc_net)
    assert schedule.over
    assert Schedule([lc_net]).ready() == [lc_net]  # what it starts from was there before


def test_what_starts_from_a_failed_run_is_left_out(tiny_suite: Path) -> None:
    dense, l_net, lc_net = runs_of(tiny_suite, CHAIN)
    schedule = Schedule((dense, l_net, lc_net))
    schedule.start(dense)
    schedule.fail(dense)
    assert schedule.left_out == [(lc_net, dense.run_id)]
    assert (schedule.ready(), schedule.over) == ([l_net], False)
    schedule.fail(l_net)
    assert schedule.over


def test_as_many_runs_fit_as_cores_and_gpus_allow() -> None:
    assert Size(cpus=2, gpus=0).fits(cpus=7, gpus=0) == 3
    assert Size(cpus=2, gpus=1).fits(cpus=64, gpus=8) == 8
    assert Size(cpus=8, gpus=0.25).fits(cpus=12, gpus=1) == 1
    assert Size(cpus=1, gpus=0.1).fits(cpus=64, gpus=1) == 10
    assert Size(cpus=1, gpus=1).fits(cpus=64, gpus=0) == 0


# What is made


@pytest.fixture
def in_turn(tiny_suite: Path, tmp_path: Path, in_process: None) -> Path:
    """Results of the chain, one run after another."""
    SuiteRunner(runs_of(tiny_suite, CHAIN), context_of(tmp_path / "in turn", Observer())).run()
    return tmp_path / "in turn"


def assert_same_results(one: Path, other: Path) -> None:
    for mine, theirs in zip(ResultsFolder(one).records(), ResultsFolder(other).records(), strict=True):
        assert (mine.run_id, mine.status, mine.points) == (theirs.run_id, "finished", theirs.points)
        assert [stage.name for stage in mine.budget.pretrained] == [stage.name for stage in theirs.budget.pretrained]
        arrays, expected = ResultsFolder(one).arrays(mine.run_id), ResultsFolder(other).arrays(mine.run_id)
        assert arrays.keys() == expected.keys()
        assert all(np.array_equal(array, expected[name]) for name, array in arrays.items())
        assert (
            ResultsFolder(one).weights(mine.run_id).read_bytes()
            == ResultsFolder(other).weights(mine.run_id).read_bytes()
        )


@pytest.mark.parametrize("shared", [True, False])
def test_results_are_those_of_runs_in_turn_wherever_they_are_made(
    tiny_suite: Path, tmp_path: Path, in_turn: Path, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(own))
    runs, nodes, seen = runs_of(tiny_suite, CHAIN), Nodes(shared=shared), Seen()
    records = spread(runs, tmp_path / "results", nodes, seen).run()
    assert [record.run_id for record in records] == [run.run_id for run in runs]
    assert nodes.most == 2
    assert_same_results(tmp_path / "results", in_turn)
    assert [name for name, method in seen.events if method == "lc_net"] == [
        "started", "on a", "trains from 0", "epoch 1", "finished",
    ]  # fmt: skip
    assert [path for path in own.rglob("*") if path.is_file()] == []
    assert {path.name for path in (tmp_path / "results" / "work").glob("*/*")} == {"lock", "model.safetensors"}


def test_a_run_that_was_finished_when_its_node_was_lost_is_not_made_again(
    tiny_suite: Path, tmp_path: Path, in_process: None
) -> None:
    runs, seen = runs_of(tiny_suite, CHAIN), Seen()
    spread(runs, tmp_path, Nodes(lost=1), seen).run()
    assert states_of(runs, tmp_path) == ["finished"] * 3
    assert [name for name, method in seen.events if method == "dense"] == [
        "started", "on a", "trains from 0", "epoch 1", "on b", "finished",
    ]  # fmt: skip


def test_a_plugin_that_raises_costs_its_own_run_and_what_starts_from_it(
    tiny_suite: Path, tmp_path: Path, register: Register
) -> None:
    register("dense", Breaks)
    runs = runs_of(tiny_suite, CHAIN)
    dense, _, lc_net = runs
    made = spread(runs, tmp_path, Nodes())
    made.run()
    assert states_of(runs, tmp_path) == ["failed", "finished", None]
    assert made.left_out == [f"lc_net init=dense (resnet8, seed 0) starts from {dense.run_id}, which failed"]
    later = spread([lc_net], tmp_path, Nodes())  # as a static control that is planned afterwards
    later.run()
    assert later.left_out == made.left_out
    assert states_of(runs, tmp_path) == ["failed", "finished", None]


def test_a_control_that_starts_from_a_run_that_failed_before_is_left_out(
    tiny_suite: Path, tmp_path: Path, register: Register
) -> None:
    register("dense", Breaks)
    dense, l_net, lc_net = runs_of(tiny_suite, CHAIN)
    made = spread((dense, l_net), tmp_path, Nodes())
    made.run()
    made = spread([lc_net], tmp_path, Nodes())
    made.run()
    assert made.left_out == [f"lc_net init=dense (resnet8, seed 0) starts from {dense.run_id}, which failed"]
    assert states_of([lc_net], tmp_path) == [None]


def test_what_the_user_has_to_fix_on_a_node_names_it_and_comes_after_the_other_runs(
    tiny_suite: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, _ = runs = runs_of(tiny_suite)
    results, nowhere = tmp_path / "results", tmp_path / "nowhere"

    class Partly(Nodes):
        def submit(self, order: Order, fetch: Fetch) -> None:
            data = order.run.data.model_copy(update={"name": "cifar10", "root": None})
            lost = replace(order, run=order.run.model_copy(update={"data": data}), data_root=nowhere)
            super().submit(lost if order.run == dense else order, fetch)

    class Same(Partly):
        def wait(self, seconds: float) -> list[NodeAnswer]:
            return [replace(answer, run_id=dense.run_id) if answer.problem else answer for answer in super().wait(0)]

    with pytest.raises(UserError, match=rf"^on a: .*{nowhere}"):
        spread(runs, results, Same()).run()
    assert states_of(runs, results) == [None, "finished"]
    with FileLock(ResultsFolder(results).work(dense.run_id) / "lock", timeout=0):
        pass  # it can be begun again


def test_a_node_with_other_code_refuses(tiny_suite: Path, tmp_path: Path) -> None:
    run, _ = runs_of(tiny_suite)
    order = replace(order_of(run, tmp_path), commit="another")
    answer = work(order, dict, [].append, "far away")
    assert answer.record is None
    assert answer.problem == (
        f"on far away: dynbench is at commit {commit()}, the driver's at another: install the same"
    )


def test_runs_of_another_process_are_waited_for(
    tiny_suite: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "WAIT_SECONDS", 0)
    dense, _ = runs = runs_of(tiny_suite)
    ResultsFolder(tmp_path).work(dense.run_id).mkdir(parents=True)
    lock = FileLock(ResultsFolder(tmp_path).work(dense.run_id) / "lock")

    class Releasing(Seen):
        def waiting(self, run: Run) -> None:
            super().waiting(run)
            lock.release()

    seen = Releasing()
    with lock:
        spread(runs, tmp_path, Nodes(), seen).run()
    assert [event for event in seen.events if event[0] in ("started", "waiting")] == [
        ("started", "lc_net"), ("waiting", "dense"), ("started", "dense"),
    ]  # fmt: skip


def test_a_file_from_a_node_cannot_leave_the_results_folder(tmp_path: Path) -> None:
    results = tmp_path / "results"
    unpack_files(ResultsFolder(results), {"records/a.npz": b"a"})
    assert pack_files(ResultsFolder(results), [results / "records" / "a.npz", results / "absent"]) == {
        "records/a.npz": b"a"
    }
    with pytest.raises(UserError, match="outside the results folder"):
        unpack_files(ResultsFolder(results), {"../b": b"b"})
    assert not (tmp_path / "b").exists()


# Timing


class Watching(Timer):
    """Notes what is timed while how many runs are under way; times nothing."""

    def __init__(self, nodes: Nodes) -> None:
        self.timed: list[str] = []
        self._nodes = nodes

    def time(self, record: Record) -> Record:
        assert not self._nodes._orders
        self.timed.append(record.run.method)
        if record.run.method == "l_net":
            raise UserError("no time")
        return record


def test_runs_are_timed_one_after_another_when_none_is_under_way(
    tiny_suite: Path, tmp_path: Path, in_process: None
) -> None:
    runs, nodes, seen = runs_of(tiny_suite, CHAIN), Nodes(slots=3), Seen()
    timer = Watching(nodes)
    spread(runs, tmp_path, nodes, seen, timer).run()
    assert timer.timed == ["dense", "l_net", "lc_net"]
    last = max(index for index, (name, _) in enumerate(seen.events) if name == "finished")
    assert seen.events[last + 1 :] == [
        ("timing", "dense"), ("timing", "l_net"), ("not timed: no time", "l_net"), ("timing", "lc_net"),
    ]  # fmt: skip


# The command line


def test_options_that_contradict_each_other_are_refused(call: Call, tiny_suite: Path) -> None:
    refused = call("run", tiny_suite, "--workers", 2, "--address", "here:1")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "leave out --address" in refused.stderr
    alone = call("run", tiny_suite, "--gpus-per-run", 1)
    assert alone.exit_code == 2
    assert "are for --launcher ray" in alone.stderr


def test_without_ray_one_line_says_what_to_install(
    call: Call, tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    refused = call("run", tiny_suite, "--workers", 2)
    assert refused.exit_code == 2
    assert refused.stderr.rstrip().endswith("`pip install dynbench[ray]`")
    assert refused.stderr.count("\n") == 1


def nodes_of(*nodes: tuple[float, float], **options: Any) -> cluster.Cluster:
    """A cluster of nodes with this many (cores, GPUs), without Ray."""
    made = object.__new__(cluster.Cluster)
    made._fanout = Fanout(**options)
    made.is_local = made._fanout.workers is not None
    made.nodes = lambda: list(nodes)  # type: ignore[method-assign]
    return made


def test_a_run_takes_a_gpu_with_its_share_of_the_cores() -> None:
    there = nodes_of((64, 8), (96, 4), (16, 0))
    assert there.device("auto") == "cuda"
    assert there.size("cuda") == Size(cpus=8, gpus=1)
    assert there.slots(there.size("cuda")) == 12
    assert nodes_of((64, 8), gpus=0.5).size("cuda") == Size(cpus=4, gpus=0.5)
    assert there.size("cpu") == Size(cpus=1, gpus=0)
    assert nodes_of((16, 0)).device("auto") == "cpu"


def test_what_no_node_has_is_refused() -> None:
    with pytest.raises(UserError, match="no node of the Ray cluster has a GPU"):
        nodes_of((16, 0)).device("cuda")
    with pytest.raises(UserError, match="names one GPU of one machine"):
        nodes_of((16, 2)).device("cuda:1")
    with pytest.raises(UserError, match="takes 4 cores and 3 GPUs, which no node of Ray has"):
        nodes_of((16, 2), cpus=4, gpus=3.0).size("cuda")


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_cores", lambda: 16)
    here = nodes_of((15, 0), workers=3)
    assert here.size("cpu") == Size(cpus=5, gpus=0)
    assert here.slots(here.size("cpu")) == 3


def test_the_launchers_old_name_is_taken_and_not_shown(call: Call, tiny_suite: Path) -> None:
    refused = call("run", tiny_suite, "--engine", "local", "--workers", "2")
    assert "leave out --address and --launcher local" in f"{refused.stderr}{refused.stdout}"
    assert "--engine" not in call("run", "--help").stdout
