import hashlib
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.datasets import CIFAR10
from torchvision.transforms.v2 import Normalize

from dynbench.data import DATASETS, cifar10, dataset_info, digits, load_data
from dynbench.data.augment import Normalise, augmented, draw_changes
from dynbench.data.epoch import Augment, epoch_batches
from dynbench.data.split import Split, TestSplit, hold_out, stored_permutation
from dynbench.errors import UserError
from dynbench.suite.recipe import Augmentation
from dynbench.suite.schema import DataSpec
from tests.helpers.small import CPU, random_split, real_cifar10

PERMUTATIONS = {
    "cifar10": (50_000, "b0e0c838e86409017ea3dc326c41825da3b650b0f8ed043d9ee1c2f9b735e2f2"),
    "digits": (1_437, "86485d8c1f6dfb6ccc5137bb5a19798923432b20366ac8c221f288d9d1e08a22"),
    "digits-all": (1_797, "bc92889db5e1d8bcd740998b4b4798569d5b5ed1123e622c57b97cdb2021e3e9"),
}
BATCH_IMAGES = 5
MEAN = torch.tensor([120, 121, 122], dtype=torch.uint8)


def rows(split: Split) -> set[tuple[int, ...]]:
    flat = torch.cat([split.labels[:, None], split.images.flatten(1).long()], dim=1)
    return set(map(tuple, flat.tolist()))


def numbered(images: int) -> Split:
    """A split whose images say which they are."""
    numbers = torch.arange(images)
    return Split(numbers[:, None, None, None], numbers)


# Permutations and splits


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_stored_permutations_never_change(name: str) -> None:
    size, sha256 = PERMUTATIONS[name]
    stored = (files("dynbench.data") / "permutations" / f"{name}.npy").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == sha256
    order = stored_permutation(name, size)
    assert torch.equal(order.sort().values, torch.arange(size))
    assert not torch.equal(order, torch.arange(size))


def test_permutation_of_another_size() -> None:
    with pytest.raises(UserError, match="digits has 100 training images, 1437 expected"):
        stored_permutation("digits", 100)


def test_hold_out_is_disjoint_and_whole() -> None:
    train, validation = hold_out("digits", numbered(1437), 200)
    assert (len(train), len(validation)) == (1237, 200)
    assert torch.equal(torch.cat([train.labels, validation.labels]).sort().values, torch.arange(1437))
    assert torch.equal(train.images.flatten(), train.labels)
    assert set(validation.labels.tolist()) == set(stored_permutation("digits", 1437)[:200].tolist())


@pytest.mark.parametrize("validation", [0, 1437, 2000])
def test_validation_leaves_both_sides_something(validation: int) -> None:
    with pytest.raises(UserError, match="validation must lie between 1 and 1436 images of digits"):
        hold_out("digits", numbered(1437), validation)


def test_test_split_is_read_once() -> None:
    test = TestSplit(lambda: random_split(3))
    assert len(test.read()) == 3
    with pytest.raises(RuntimeError, match="read already"):
        test.read()


# Digits


def test_digits() -> None:
    data = load_data(DataSpec(name="digits"))
    test = data.test.read()
    assert [len(data.train), len(data.validation), len(test)] == [1257, 180, 360]
    assert data.shape == DATASETS["digits"].shape == (1, 8, 8)
    assert not data.augment
    for split in (data.train, data.validation, test):
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) == set(range(10))
    assert int(data.train.images.max()) == 255


def test_digits_splits_are_disjoint_and_cover_the_data_set() -> None:
    from sklearn.datasets import load_digits

    data = load_data(DataSpec(name="digits"))
    parts = [rows(split) for split in (data.train, data.validation, data.test.read())]
    bunch = load_digits()
    pixels = torch.from_numpy(np.round(bunch.images * 255 / 16).astype(np.uint8))[:, None]
    assert set.union(*parts) == rows(Split(pixels, torch.from_numpy(bunch.target)))
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797


def test_digits_are_scikit_learns_with_and_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it takes longer than a short run, in each of whose processes the digits are read."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.datasets", None)  # importing it fails
        read = digits._table()
    monkeypatch.setattr(digits, "find_spec", lambda name: SimpleNamespace(origin="/elsewhere/__init__.py"))
    assert np.array_equal(read, digits._table())


def test_digits_statistics_are_those_of_the_training_images() -> None:
    data = load_data(DataSpec(name="digits"))
    x = data.normalise(CPU)(torch.cat([data.train.images, data.validation.images]))
    assert abs(float(x.mean())) < 0.01
    assert abs(float(x.std()) - 1) < 0.01


def test_validation_of_another_size() -> None:
    assert len(load_data(DataSpec(name="digits", validation=37)).validation) == 37


def test_statistics_must_fit_the_channels() -> None:
    with pytest.raises(UserError, match="digits has 1 channels"):
        load_data(DataSpec(name="digits", mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)))


def test_unknown_data_set() -> None:
    with pytest.raises(UserError, match='unknown data set "cifar"; did you mean "cifar10"'):
        dataset_info(DataSpec(name="cifar"))


# CIFAR-10 on disk: both layouts, made small


def tiny_batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (pixels, labels) of each batch, the test batch last."""
    generator = np.random.default_rng(0)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {
        name: (
            generator.integers(0, 256, (BATCH_IMAGES, 3072), dtype=np.uint8),
            generator.integers(0, 10, BATCH_IMAGES),
        )
        for name in names
    }


def write_binary(root: Path) -> dict[str, bytes]:
    contents = {
        f"{name}.bin": np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()
        for name, (pixels, labels) in tiny_batches().items()
    }
    return write_files(root / "cifar-10-batches-bin", contents)


def write_python(root: Path) -> dict[str, bytes]:
    contents = {
        name: pickle.dumps({"data": pixels, "labels": labels.tolist()})
        for name, (pixels, labels) in tiny_batches().items()
    }
    return write_files(root / "cifar-10-batches-py", contents)


def write_files(folder: Path, contents: dict[str, bytes]) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


WRITERS = {"bin": write_binary, "py": write_python}
FIRST_FILE = {"bin": "data_batch_1.bin", "py": "data_batch_1"}
TEST_FILE = {"bin": "test_batch.bin", "py": "test_batch"}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """CIFAR-10 of a few images: their hashes count as the published ones, and nothing is downloaded."""
    for name, write in (("BINARY", write_binary), ("PYTHON", write_python)):
        layout = getattr(cifar10, name)
        contents = write(tmp_path / "originals")
        hashes = {file: hashlib.new(layout.algorithm, content).hexdigest() for file, content in contents.items()}
        assert list(hashes) == list(layout.hashes)
        monkeypatch.setattr(cifar10, name, replace(layout, hashes=hashes))
    monkeypatch.setattr(cifar10, "_download", no_download)
    monkeypatch.delenv("DYNBENCH_DATA", raising=False)
    yield


def no_download(root: Path) -> None:
    raise AssertionError(f"{root} is complete enough not to be downloaded")


def read_raw(root: Path) -> tuple[Split, Split]:
    raw = cifar10.load_cifar10(DataSpec(name="cifar10", root=root))
    return raw.train, raw.test()


@pytest.mark.usefixtures("tiny")
def test_both_layouts_hold_the_same(tmp_path: Path) -> None:
    train, test = read_raw_from(tmp_path / "one", "bin")
    other_train, other_test = read_raw_from(tmp_path / "other", "py")
    for mine, theirs in ((train, other_train), (test, other_test)):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)
    assert train.images.shape == (5 * BATCH_IMAGES, 3, 32, 32)
    pixels, labels = tiny_batches()["data_batch_2"]
    second = train.take(torch.arange(BATCH_IMAGES, 2 * BATCH_IMAGES))
    assert second.images[3, 1, 4, 5] == pixels[3, 1 * 1024 + 4 * 32 + 5]
    assert second.labels.tolist() == labels.tolist()
    assert rows(test) == rows(Split(torch.from_numpy(tiny_batches()["test_batch"][0]), test.labels))


def read_raw_from(root: Path, layout: str) -> tuple[Split, Split]:
    WRITERS[layout](root)
    return read_raw(root)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("layout", WRITERS)
def test_root_may_be_the_folder_itself(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path / "here")
    (folder,) = (tmp_path / "here").iterdir()
    assert len(read_raw(folder)[0]) == 5 * BATCH_IMAGES


@pytest.mark.usefixtures("tiny")
def test_root_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_binary(tmp_path / "elsewhere")
    monkeypatch.setenv("DYNBENCH_DATA", str(tmp_path / "elsewhere"))
    assert len(cifar10.load_cifar10(DataSpec(name="cifar10")).train) == 5 * BATCH_IMAGES


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("damage", ["bit", "truncated", "empty", "missing"])
@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize("layout", WRITERS)
def test_damage_is_found_before_training(tmp_path: Path, layout: str, which: str, damage: str) -> None:
    WRITERS[layout](tmp_path / "here")
    name = (FIRST_FILE if which == "train" else TEST_FILE)[layout]
    (path,) = (tmp_path / "here").glob(f"*/{name}")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes({"bit": flipped, "truncated": content[:-9], "empty": b""}[damage])
    with pytest.raises(UserError) as raised:
        cifar10.load_cifar10(DataSpec(name="cifar10", root=tmp_path / "here"))
    message = str(raised.value)
    assert str(path) in message
    assert "delete it to download it again, or put a complete copy there" in message
    assert "\n" not in message


def test_a_pickle_with_another_hash_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "loads", no_download)
    write_python(tmp_path)
    with pytest.raises(UserError, match="does not have its published hash"):
        read_raw(tmp_path)


def test_absent_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(UserError) as raised:
        read_raw(tmp_path / "nowhere")
    message = str(raised.value)
    assert f"CIFAR-10 is not in {tmp_path / 'nowhere'} and could not be downloaded" in message
    assert "Name or service not known" in message
    assert "--data" in message
    assert "\n" not in message


@pytest.mark.usefixtures("tiny")
def test_absent_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "_download", write_python)
    train, test = read_raw(tmp_path / "new")
    assert (len(train), len(test)) == (5 * BATCH_IMAGES, BATCH_IMAGES)


# The real CIFAR-10


def test_real_cifar10(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = load_data(DataSpec(name="cifar10", root=real_cifar10(tmp_path_factory)))
    test = data.test.read()
    assert test.labels.bincount().tolist() == [1000] * 10
    assert (torch.cat([data.train.labels, data.validation.labels]).bincount() == 5000).all()
    assert [len(data.train), len(data.validation), len(test)] == [45_000, 5_000, 10_000]
    x = data.normalise(CPU)(data.validation.images)
    assert float(x.mean((0, 2, 3)).abs().max()) < 0.02
    assert float((x.transpose(0, 1).flatten(1).std(1) - 1).abs().max()) < 0.05


# Augmentation and normalisation


def changed(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """What a training step makes of the images."""
    size = images.shape[2], images.shape[3]
    return augmented(images, draw_changes(len(images), generator, how, size), how, MEAN[: images.shape[1]])


def crop_flip_one_by_one(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    """What it is said to be, image by image, with the same random numbers."""
    batch, channels, height, width = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator)
    flips = torch.rand(batch, generator=generator) < 0.5
    out = torch.empty_like(images)
    for i in range(batch):
        padded = images.new_zeros(channels, height + 2 * padding, width + 2 * padding)
        padded[:, padding : padding + height, padding : padding + width] = images[i]
        down, right = int(shifts[0, i]), int(shifts[1, i])
        crop = padded[:, down : down + height, right : right + width]
        out[i] = crop.flip(-1) if flips[i] else crop
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("shape", "padding"), [((3, 32, 32), 4), ((1, 5, 9), 2)])
def test_crop_and_flip_equal_a_loop(shape: tuple[int, int, int], padding: int, dtype: torch.dtype) -> None:
    images = random_split(64, shape).images.to(dtype)
    found = changed(images, torch.Generator().manual_seed(3), Augmentation(padding=padding))
    expected = crop_flip_one_by_one(images, torch.Generator().manual_seed(3), padding)
    assert found.dtype == dtype
    assert found.shape == images.shape
    assert torch.equal(found, expected)


def test_crops_differ_between_images() -> None:
    images = random_split(1, (1, 16, 16)).images.expand(400, 1, 16, 16)
    different = {
        tuple(row) for row in changed(images, torch.Generator().manual_seed(0), Augmentation()).flatten(1).tolist()
    }
    assert len(different) > 100  # of 9 * 9 * 2


@pytest.mark.parametrize(("padding", "size"), [(2, (32, 32)), (4, (5, 9))])
def test_reflect_padding_is_that_of_torch(padding: int, size: tuple[int, int]) -> None:
    images = random_split(64, (3, *size)).images
    how = Augmentation(padding=padding, padding_mode="reflect")
    changes = draw_changes(64, torch.Generator().manual_seed(3), how, size)
    padded = pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    found = augmented(images, changes, how)
    for i, (down, right) in enumerate(changes.shifts.T.tolist()):
        crop = padded[i, :, down : down + size[0], right : right + size[1]]
        assert torch.equal(found[i], crop.flip(-1) if changes.flips[i] else crop)


def test_cutout_is_a_square_of_the_mean_colour_cut_off_at_the_borders() -> None:
    images = random_split(200, (3, 16, 16)).images.clamp(max=99)
    how = Augmentation(padding=0, flip="none", cutout=6)
    changes = draw_changes(200, torch.Generator().manual_seed(3), how, (16, 16))
    assert changes.centres is not None
    found = augmented(images, changes, how, MEAN)
    for i, (row, column) in enumerate(changes.centres.T.tolist()):
        expected = images[i].clone()
        expected[:, max(0, row - 3) : row + 3, max(0, column - 3) : column + 3] = MEAN[:, None, None]
        assert torch.equal(found[i], expected)


def test_no_flip_leaves_images_as_they_were() -> None:
    images = random_split(64).images
    assert torch.equal(changed(images, torch.Generator(), Augmentation(padding=0, flip="none")), images)


def test_an_option_changes_nothing_of_what_the_others_draw() -> None:
    images = random_split(64).images
    plain = draw_changes(64, torch.Generator().manual_seed(1), Augmentation(), (32, 32))
    cut = draw_changes(64, torch.Generator().manual_seed(1), Augmentation(cutout=8), (32, 32))
    assert torch.equal(plain.shifts, cut.shifts)
    assert torch.equal(plain.flips, cut.flips)
    assert len(images) == 64


def test_alternating_flips_show_an_image_both_ways_in_two_epochs() -> None:
    train = random_split(40, (3, 8, 8))
    first = torch.rand(40, generator=torch.Generator().manual_seed(1)) < 0.5
    how = Augmentation(padding=0, flip="alternating")
    seen: list[dict[int, Tensor]] = []
    for epoch in range(2):
        train_labelled = Split(train.images, torch.arange(40))
        batches = list(epoch_batches(train_labelled, 8, epoch, Augment(how, first ^ bool(epoch % 2))))
        seen.append(
            {int(label): image for images, labels in batches for image, label in zip(images, labels, strict=True)}
        )
    for label in range(40):
        assert torch.equal(seen[0][label], seen[1][label].flip(-1))
        assert torch.equal(seen[int(first[label])][label], train.images[label])


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise_equals_torchvision(channels_last: bool) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = random_split(6, (3, 9, 7)).images
    x = Normalise(mean, std, CPU, channels_last)(images)
    expected = Normalize(mean, std)(images.float() / 255)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)
    assert x.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert images.dtype == torch.uint8
