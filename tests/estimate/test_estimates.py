"""What is estimated, how often, and what a plugin that takes its process down costs the others."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from dynbench_methods.dense import Dense

from dynbench.backbones import Backbone
from dynbench.cli.options import read_suite
from dynbench.errors import UserError
from dynbench.estimate import estimates as module
from dynbench.estimate.estimate import estimate_cost, recorded_cost
from dynbench.estimate.estimates import Estimates
from dynbench.plan.configuration import Configuration, by_configuration
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import Limits
from tests.conftest import Register

SUITE = """\
name: estimated
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 1, batch_size: 128}
seeds: [0, 1, 2]
methods: METHODS
"""


class Unfit(Dense):
    def unsupported(self, backbone: Backbone) -> str | None:
        return "no backbone will do"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Run]]:
    """The runs that each child process was given."""
    found: list[Sequence[Run]] = []
    call = module.call

    def noted(function, runs, **options):  # type: ignore[no-untyped-def]
        found.append(runs)
        return call(function, runs, **options)

    monkeypatch.setattr(module, "call", noted)
    return found


def runs_of(folder: Path, methods: str) -> tuple[Run, ...]:
    path = folder / "estimated.yaml"
    path.write_text(SUITE.replace("METHODS", methods))
    return expand_suite(read_suite(path))


def test_each_configuration_is_estimated_once_all_in_one_process(tmp_path: Path, calls: list[Sequence[Run]]) -> None:
    runs = runs_of(tmp_path, "[dense, {name: lc_net, params: {init: dense, l1_layer: [0.1, 0.2]}}]")
    estimates = Estimates(Limits())
    estimates.prepare(runs)
    assert [len(one) for one in calls] == [3]
    for run in runs:
        found, alone = estimates.of(run), estimate_cost(run)
        assert found is not None
        assert (found.macs, found.stages, found.pretrained) == (alone.macs, alone.stages, alone.pretrained)
    assert len(calls) == 1


def test_a_plugin_that_takes_the_process_down_fails_alone(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the shared process one is lost with it; each is then tried by itself where that happened."""
    dense, lc_net, l_net = (
        group[0] for group in by_configuration(runs_of(tmp_path, "[dense, lc_net, l_net]")).values()
    )
    given: list[list[str]] = []

    def dies_at_lc_net(function, runs, *, limits, answers):  # type: ignore[no-untyped-def]
        given.append([run.method for run in runs])
        for run in runs:
            if run.method == "lc_net":
                raise module.ChildEnded("killed")
            function(answers, [run])

    monkeypatch.setattr(module, "call", dies_at_lc_net)
    estimates = Estimates(Limits())
    estimates.prepare([dense, lc_net, l_net])
    assert given == [["dense", "lc_net", "l_net"], ["lc_net"], ["l_net"]]
    assert estimates.of(lc_net) is None
    assert estimates.of(dense) is not None
    assert estimates.of(l_net) is not None


def test_a_method_that_does_not_fit_is_an_error_of_its_own_run(tmp_path: Path, register: Register) -> None:
    register("unfit", Unfit)
    runs = runs_of(tmp_path, "[unfit, dense]")
    estimates = Estimates(Limits())
    estimates.prepare(runs)
    for run in runs:
        if run.method == "dense":
            assert estimates.of(run) is not None
        else:
            with pytest.raises(UserError, match="unfit does not support resnet8: no backbone will do"):
                estimates.of(run)


def test_a_finished_run_has_cost_what_it_was_estimated_to(finished: Path) -> None:
    for record in ResultsFolder(finished).records():
        told, found = estimate_cost(record.run), recorded_cost(record)
        assert (found.macs, found.macs_dense, found.macs_control) == (told.macs, told.macs_dense, told.macs_control)
        assert (found.own_train_macs, found.epochs) == (told.own_train_macs, told.epochs)


def test_a_configuration_is_a_run_without_its_seed(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, "[{name: lc_net, params: {init: dense, l1_layer: [0.1, 0.2]}}]")
    groups = by_configuration(runs)
    assert [[run.seed for run in group] for group in groups.values()] == [[0, 1, 2]] * 3
    assert len({Configuration.of(run).label for run in runs}) == 3
    newer = runs[0].model_copy(update={"method_version": 99, "suite": "another"})
    assert Configuration.of(newer) not in groups
    assert Configuration.of(newer).identity == Configuration.of(runs[0]).identity
