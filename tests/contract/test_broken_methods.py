"""Each check of the contract notices what it is there for. That all methods keep all of them: test_contract.py."""

import re

import numpy as np
import pytest
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.contract import CHECKS, Outcome, make_subject
from dynbench.errors import AuditFailed
from dynbench.method import Point
from tests.helpers.broken import CASES, Case, OtherLogits, Raises, Wrapped

BY_NAME = {check.name: check for check in CHECKS}


def tried(case: Case) -> Outcome:
    params = {"strength": 1.0} if case.check == "defaults" else {}
    return BY_NAME[case.check](make_subject(case.kind, "resnet8", 0.25, **params))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.kind.__name__}")
def test_it_is_noticed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "percentile", np.percentile)  # put back at the end
    outcome = tried(case)
    assert outcome.status == "broken"
    assert re.search(case.words, outcome.words), outcome.words


def test_every_check_has_somebody_who_breaks_it() -> None:
    """But for the one that says whether the others saw anything."""
    assert {case.check for case in CASES} == BY_NAME.keys() - {"decisions"}


class Scaled(OtherLogits):
    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return Scaling(Dense.executor(self, model, point))


class Scaling(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.0005


def test_a_run_s_audit_is_stricter_than_the_trial_s() -> None:
    subject = make_subject(Scaled, "resnet8", 0.25)
    assert BY_NAME["audit"](subject).status == "kept"
    (trained,) = subject.models.values()
    with pytest.raises(AuditFailed, match=r"logits differ from infer's by 0\.0005"):
        trained.audit(subject.data.validation.images[:2])


class SaysDynamic(Dense):
    static = False


def test_a_method_that_decides_nothing_is_told_so() -> None:
    outcome = BY_NAME["decisions"](make_subject(SaysDynamic, "resnet8", 0.25))
    assert (outcome.status, outcome.bad) == ("does not apply", False)
    assert outcome.words.startswith("all images spent the same")


def test_the_plugin_s_own_lines_are_shown() -> None:
    subject = make_subject(Raises, "resnet8", 0.25)
    outcome = BY_NAME["training"](subject)
    (frame,) = outcome.frames
    assert frame.startswith("broken.py:")
    assert frame.endswith('in loss: raise ValueError("no such thing")')
    later = BY_NAME["alone"](subject)
    assert (later.status, later.bad) == ("not run", True)


def test_another_name_than_the_entry_point_s() -> None:
    subject = make_subject(Dense, "resnet8", 0.25)
    subject.registered = "thick"
    assert BY_NAME["name"](subject).words == (
        '`name` is "dense", and the entry point is called "thick"; give both the same name'
    )
