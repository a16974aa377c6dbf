"""`dynbench.audit` says of any module what it executes, and `dynbench audit` shows it."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import dynbench
from dynbench.errors import AuditFailed
from tests.conftest import Call
from tests.helpers.pictures import noise, save

torchvision = pytest.importorskip("torchvision")
IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CONV = 64 * 10 * 3 * 9
TAIL = 64 * 10 * 10 * 9


class Masks(nn.Module):
    """Multiplies 60 % of a layer's outputs by zero, and skips the next layer on dark images."""

    def __init__(self, inside: str = "tensor") -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 10, 3, padding=1), nn.Conv2d(10, 10, 3, padding=1)
        self.inside = inside

    def forward(self, x: Tensor) -> object:
        mask = torch.zeros(1, 10, 1, 1)
        mask[:, :4] = 1
        h = torch.relu(self.first(x)) * mask
        if float(x.mean()) > 0:
            h = self.second(h)
        logits = h.mean((2, 3))
        return {"tensor": logits, "tuple": (logits, h), "dict": {"out": logits}}[self.inside]


@pytest.mark.parametrize("inside", ["tensor", "tuple", "dict"])
def test_macs_of_each_image_and_masks_that_are_no_skips(inside: str) -> None:
    report = dynbench.audit(Masks(inside).eval(), IMAGES, batch_sizes=())
    expected = [CONV + TAIL * (float(image.mean()) > 0) for image in IMAGES]
    assert list(report.macs) == expected
    assert report.dynamic
    assert 0 < report.entropy <= 1
    assert [(one.layer, round(one.share, 6)) for one in report.masked] == [("first", 0.6)]
    assert "60 % of the outputs of first are multiplied by zero afterwards: computed anyway" in report.verdict
    assert report.by_layer["first"] == CONV


def test_a_static_module() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    report = dynbench.audit(module, IMAGES, batch_sizes=(1, 4))
    assert set(report.macs) == {36 * 4 * 27 + 288}
    assert (report.dynamic, report.entropy, report.masked, report.alone) == (False, 0.0, (), 0)
    assert [timing.batch for timing in report.timings] == [1, 4]
    assert all(timing.realised is None for timing in report.timings)


def test_beside_a_dense_module() -> None:
    dense = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Flatten(), nn.Linear(1440, 2))
    report = dynbench.audit(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), IMAGES, dense, batch_sizes=(2,))
    assert report.reference_macs == 36 * 40 * 27 + 2880
    assert report.timings[0].realised is not None


def test_what_cannot_be_counted_is_named() -> None:
    class Solves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.solve(x, x).mean((2, 3))

    with pytest.raises(AuditFailed, match=r"aten::(_linalg_solve_ex|linalg_solve)"):
        dynbench.audit(Solves(), IMAGES)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_macs_are_those_that_torchvision_publishes(name: str) -> None:
    """`_ops` of its weights, in units of 10^9 and three digits; attention is in docs/audit.md."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"]
    module = torchvision.models.get_model(name).eval()
    report = dynbench.audit(module, torch.zeros(1, 3, 224, 224), batch_sizes=())
    assert round(report.macs[0] / 1e9, 3) == published


FILE = """\
from torch import nn
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
def nothing():
    return 3
"""


def test_the_command(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    said = call(
        "audit", f"{file}:net", "--data", "random:3x8x8", "--images", "3", "--batch-sizes", "1",
        "--json", tmp_path / "found.json", "--html", tmp_path / "found.html",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "It is static: every image executes 4.18 k MACs" in said.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["macs"] == [36 * 4 * 27 + 288] * 3
    assert found["verdict"] in (tmp_path / "found.html").read_text()


def test_the_command_on_photographs(call: Call, tmp_path: Path) -> None:
    for index in range(2):
        save(noise(300, 260, index), tmp_path / "photographs" / "deeper" / f"{index}.jpg")
    (tmp_path / "mine.py").write_text("from torch import nn\ndef net():\n    return nn.Conv2d(3, 2, 16, stride=16)\n")
    said = call(
        "audit", f"{tmp_path / 'mine.py'}:net", tmp_path / "photographs", "--data", "imagefolder", "--batch-sizes", "0"
    )
    assert said.exit_code == 0, said.output
    assert ["images", "2"] in [line.split() for line in said.output.splitlines()]
    assert f"{14 * 14 * 2 * 3 * 16 * 16:,}" in said.output


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("net", ["--data", "random:3x8"], "write random:CHANNELSxHEIGHTxWIDTH"),
        ("net", ["--data", "imagefolder"], "imagefolder needs a folder"),
        ("net", ["--data", "what"], 'unknown data "what"'),
        ("no", [], "there is no function no"),
        ("nothing", [], "gives int, not a torch.nn.Module"),
    ],
)
def test_mistakes_are_named(call: Call, tmp_path: Path, target: str, options: list[str], words: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    said = call("audit", f"{file}:{target}", *options)
    assert said.exit_code == 2
    assert words in said.output
