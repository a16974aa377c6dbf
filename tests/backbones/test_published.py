"""Weights by torchvision's names."""

import shutil
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from dynbench.backbones.published import is_name, published_file, published_sha256
from dynbench.backbones.weights import file_sha256, read_weights
from dynbench.errors import UserError
from tests.helpers.small import SHARED

MOBILENET = "MobileNet_V2_Weights.IMAGENET1K_V1"
FILE = "mobilenet_v2-b0353104.pth"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps what it has downloaded: empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def published(folder: Path) -> Path:
    """The real file, where torchvision would have put it."""
    source = SHARED / "weights" / FILE
    if not source.is_file():
        pytest.skip(f"no {source}")
    folder.mkdir(parents=True)
    return Path(shutil.copyfile(source, folder / FILE))


def test_a_name_is_read_as_its_file(published: Path) -> None:
    by_name, by_path = read_weights(Path(MOBILENET)), read_weights(published)
    assert by_name.keys() == by_path.keys()
    assert torch.equal(by_name["classifier.1.bias"], by_path["classifier.1.bias"])
    assert file_sha256(published).startswith(published_sha256(MOBILENET))


def test_a_run_is_named_before_its_weights_are_there(folder: Path) -> None:
    assert file_sha256(Path(MOBILENET)) == "b0353104"
    assert not folder.exists()


def test_a_file_that_is_not_what_was_published(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"something else")
    with pytest.raises(UserError, match=r"b0353104\.pth are not the published .* delete the file"):
        published_file(MOBILENET)


def test_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    with pytest.raises(UserError, match=rf"no route to host; put https://\S+{FILE} into {folder}"):
        read_weights(Path(MOBILENET))


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match=r'no weights "ResNet50_Weights\.IMAGENET"; did you mean "ResNet50_Weights\.'):
        read_weights(Path("ResNet50_Weights.IMAGENET"))


def test_a_file_of_such_a_name_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ResNet50_Weights.IMAGENET1K_V2"
    assert is_name(Path(path.name))
    path.touch()
    assert not is_name(path)
