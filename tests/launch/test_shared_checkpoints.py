"""Public checkpoints through dynbench's own loading and evaluation give exactly their published test errors."""

import pytest

from dynbench.evaluation.reevaluate import evaluate_weights
from dynbench.suite.schema import BackboneSpec, DataSpec
from tests.helpers.small import SHARED, real_cifar10


@pytest.mark.parametrize(
    ("backbone", "file", "wrong"),
    [("resnet32", "resnet32-d509ac18.th", 737), ("resnet56", "resnet56-4bfd9763.th", 661)],
)
def test_published_test_error(backbone: str, file: str, wrong: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    weights = SHARED / "weights" / file
    if not weights.is_file():
        pytest.skip(f"no {weights}")
    root = real_cifar10(tmp_path_factory)
    data = DataSpec(name="cifar10", root=root, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    result = evaluate_weights(weights, BackboneSpec(name=backbone), data, "test", "cpu", 500)
    assert len(result.correct) == 10_000
    assert int((~result.correct).sum()) == wrong
