"""The probe that looks whether skipped weights are read: it skips much, sees what is read, and so on every engine. The
contract runs it over all methods."""

import pytest
import torch
from dynbench_methods.lc_net.method import LCNet

from dynbench.contract import Subject, make_subject
from dynbench.contract.same_results import split_batches
from dynbench.contract.skipped import Probe
from dynbench.executors import module_by_module


@pytest.fixture(scope="module")
def subject() -> Subject:
    made = make_subject(LCNet, "resnet8", 0.5)
    assert len(made.models) == 2
    return made


def probes(subject: Subject) -> list[Probe]:
    trained = subject.models["with random gates"]
    return [Probe(trained, point) for point in trained.points]


@torch.no_grad()
def test_much_is_skipped_and_nothing_of_it_read(subject: Subject) -> None:
    """Otherwise the check would say nothing."""
    for probe in probes(subject):
        for image in split_batches(subject.images(2)):
            weights = [probe.trained.model.get_parameter(f"{layer}.weight")[at] for layer, at in probe.skipped(image)]
            assert sum(weight.numel() for weight in weights) > 100
            assert probe.problem(image) is None


@torch.no_grad()
def test_module_by_module_reads_the_same(subject: Subject) -> None:
    with module_by_module():
        assert all(
            probe.problem(image) is None for probe in probes(subject) for image in split_batches(subject.images(2))
        )


@torch.no_grad()
def test_weights_that_are_read_make_a_difference(subject: Subject) -> None:
    for probe in probes(subject):
        layers = [layer.name for layer in probe.trained.costs.layers if layer.kind == "backbone"]
        (image,) = split_batches(subject.images(1))
        assert not torch.equal(probe.logits(image, [(layers[0], (slice(None),))]), probe.logits(image))
