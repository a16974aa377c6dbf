import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.backbones.weights import file_sha256, load_weights, read_weights, save_weights
from dynbench.errors import UserError
from tests.helpers.small import small_backbone


def zeroed(backbone: Backbone) -> Backbone:
    for tensor in backbone.state_dict().values():
        tensor.zero_()
    return backbone


def assert_same(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert torch.equal(value, theirs[key]), key


def refusal(path: Path) -> str:
    """The message with which a file is refused; it is one line and the module is left as it was."""
    backbone, untouched = small_backbone(), small_backbone()
    with pytest.raises(UserError) as raised:
        load_weights(backbone, path)
    assert_same(backbone, untouched)
    message = str(raised.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_round_trip_in_safetensors(tmp_path: Path) -> None:
    backbone = small_backbone().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_weights(backbone, tmp_path / "w.safetensors")
    loaded = zeroed(small_backbone())
    load_weights(loaded, tmp_path / "w.safetensors")
    assert_same(backbone, loaded)


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: state, id="plain"),
        pytest.param(lambda state: {"state_dict": state, "best_prec1": 92.63}, id="wrapped"),
        pytest.param(lambda state: {f"module.{key}": value for key, value in state.items()}, id="prefix"),
        pytest.param(lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}, id="both"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.th"])
def test_round_trip_in_torch_files(
    tmp_path: Path, name: str, wrap: Callable[[dict[str, Tensor]], dict[str, object]]
) -> None:
    backbone = small_backbone()
    torch.save(wrap(backbone.state_dict()), tmp_path / name)
    loaded = zeroed(small_backbone())
    load_weights(loaded, tmp_path / name)
    assert_same(backbone, loaded)


def test_module_prefix_in_safetensors(tmp_path: Path) -> None:
    backbone = small_backbone()
    save_file({f"module.{key}": value for key, value in backbone.state_dict().items()}, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors").keys() == backbone.state_dict().keys()


def test_old_checkpoints_lack_batch_counters(tmp_path: Path) -> None:
    backbone = small_backbone()
    state = {k: v for k, v in backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pt")
    loaded = zeroed(small_backbone())
    load_weights(loaded, tmp_path / "w.pt")
    assert torch.equal(loaded.bn1.running_var, backbone.bn1.running_var)


def test_shared_parameters_are_saved(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.other = self.one

    tied = Tied()
    save_weights(tied, tmp_path / "w.safetensors")
    loaded = Tied()
    load_weights(loaded, tmp_path / "w.safetensors")
    assert_same(tied, loaded)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_truncated(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    backbone = small_backbone()
    if path.suffix == ".safetensors":
        save_weights(backbone, path)
    else:
        torch.save(backbone.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged or not a weight file" in refusal(path)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, writer: str) -> None:
    path, target = tmp_path / "w.pt", tmp_path / "executed"
    content = {"state_dict": small_backbone().state_dict(), "extra": Malicious(target)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    message = refusal(path)
    assert not target.exists()
    assert "hold more than tensors" in message
    assert "trust" not in message


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_not_a_weight_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("a page that says: not found\n" * 20)
    assert "damaged or not a weight file" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({}, id="empty"),
        pytest.param([1, 2], id="list"),
        pytest.param({"epoch": 3}, id="numbers"),
        pytest.param({"state_dict": torch.zeros(2)}, id="tensor-as-state"),
        pytest.param({1: "one"}, id="number-as-key"),
    ],
)
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert "hold no tensors" in refusal(tmp_path / "w.pt")


def test_keys_that_are_no_names(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(2)}, tmp_path / "w.pt")
    assert "they lack bn1.bias" in refusal(tmp_path / "w.pt")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no weights at" in refusal(tmp_path / "absent.pt")
    assert "no weights at" in refusal(tmp_path / "absent.safetensors")
    (tmp_path / "folder.pt").mkdir()
    refusal(tmp_path / "folder.pt")
    with pytest.raises(UserError, match=r"cannot read weights .*absent\.pt"):
        file_sha256(tmp_path / "absent.pt")


def test_keys_and_shapes_must_match(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    state = small_backbone().state_dict()
    torch.save({k: v for k, v in state.items() if k != "linear.bias"}, path)
    assert "they lack linear.bias (1 such keys)" in refusal(path)
    torch.save({**state, "layer9.weight": torch.zeros(1)}, path)
    assert "they have unknown layer9.weight (1 such keys)" in refusal(path)
    torch.save({**state, "conv1.weight": torch.zeros(5, 3, 3, 3)}, path)
    assert "they have other shapes in conv1.weight (1 such keys)" in refusal(path)
