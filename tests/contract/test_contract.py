"""What every registered method has to keep, on each kind of block: whoever wrote it."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch

from dynbench.backbones import build_backbone
from dynbench.contract import CHECKS, Check, Subject, digits, make_subject
from dynbench.data.split import Data, Split, TestSplit
from dynbench.guards.tampering import seal
from dynbench.registry import discover, load_method
from dynbench.suite.schema import BackboneSpec

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


BACKBONES: dict[str, tuple[BackboneSpec, Callable[[], Data]]] = {
    "basic": (BackboneSpec(name="resnet8", width=0.5), digits),
    "bottleneck": (BackboneSpec(name="resnet50", width=0.125), coloured),
    "torchvision basic": (BackboneSpec(name="resnet18", width=0.125, stem="imagenet"), coloured),
    "inverted residual": (BackboneSpec(name="mobilenet_v2", width=0.125), coloured),
}


@pytest.fixture(scope="module", autouse=True)
def sealed_anew() -> None:
    """Sealed once, before the first method: a subject lives as long as the module, not as a test."""
    seal.cache_clear()
    seal()


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=sorted(discover()))
def subject(request: pytest.FixtureRequest, backbone: str) -> Iterator[Subject]:
    """A method with its default parameters, trained for a few steps."""
    (spec, data), kind = BACKBONES[backbone], load_method(request.param)
    images = data()
    reason = kind(kind.Config()).unsupported(build_backbone(spec, images.shape, images.num_classes))
    if reason is not None:
        pytest.skip(reason)
    yield make_subject(kind, spec, data=images)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_it_keeps_the_contract(check: Check, subject: Subject) -> None:
    outcome = check(subject)
    assert not outcome.bad, f"{outcome.words} {outcome.frames}"
    if check.name == "decisions":
        assert (outcome.status == "kept") != subject.kind.static
