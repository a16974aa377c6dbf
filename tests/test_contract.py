"""What every registered method has to keep, on a basic and a bottleneck backbone: whoever wrote it."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from dynbench.contract import CHECKS, Check, Subject, digits, make_subject
from dynbench.data import Data
from dynbench.data.split import Split, TestSplit
from dynbench.registry import discover, load

SHAPE = (3, 16, 16)
CLASSES = 10


def noise(images: int, seed: int) -> Split:
    """Images of very different contrast, so that gates have something to tell apart."""
    generator = torch.Generator().manual_seed(seed)
    contrast = torch.rand(images, 1, 1, 1, generator=generator)
    x = (torch.randn(images, *SHAPE, generator=generator) * contrast * 64 + 128).clamp(0, 255)
    return Split(x.to(torch.uint8), torch.randint(CLASSES, (images,), generator=generator))


@cache
def coloured() -> Data:
    """Noise of three channels, larger than the digits."""
    mean, std = (0.5, 0.5, 0.5), (0.1, 0.1, 0.1)
    test = TestSplit(lambda: noise(8, 2))
    return Data(noise(64, 0), noise(64, 1), test, mean, std, CLASSES, augment=True)


@pytest.fixture(scope="module", params=["resnet8", "resnet50"])
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=sorted(discover()))
def subject(request: pytest.FixtureRequest, backbone: str) -> Iterator[Subject]:
    """A method with its default parameters, trained for a few steps."""
    kind = load(request.param)
    if backbone == "resnet8":
        yield make_subject(kind, backbone, 0.5, data=digits())
    else:
        yield make_subject(kind, backbone, 0.125, data=coloured())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_it_keeps_the_contract(check: Check, subject: Subject) -> None:
    outcome = check(subject)
    assert not outcome.bad, f"{outcome.words} {outcome.frames}"
    if check.name == "decisions":
        assert (outcome.status == "kept") != subject.kind.static
