"""Images in files: what is cut out of them, by whom, and in which batches."""

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from dynbench_methods.dense import Dense
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms.functional import resized_crop

from dynbench.data import decoders, pixels
from dynbench.data.decoders import thread_count
from dynbench.data.epoch import Augment, Share, epoch_batches
from dynbench.data.image_files import AHEAD, in_batches
from dynbench.data.pixels import centre_crop, draw_box, random_crop
from dynbench.data.split import Data, Split, TestSplit
from dynbench.errors import AuditFailed, UserError
from dynbench.guards.side_effects import watched
from dynbench.stage import recipe_stage
from dynbench.suite.recipe import Augmentation, Recipe, Sgd
from dynbench.train.trainer import StageTrainer
from tests.helpers.pictures import grey_files, noise, noise_files, save
from tests.helpers.small import CPU, random_split, small_backbone

SIZES = [(300, 200), (200, 300), (256, 256), (1, 1), (3, 70), (255, 257), (901, 17)]


# One image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA"])
def test_the_centre_crop_is_torchvisions_bit_for_bit(size: tuple[int, int], mode: str, tmp_path: Path) -> None:
    path = save(noise(*size).convert(mode), tmp_path / "image")
    with Image.open(path) as image:
        assert image.mode == mode
        expected = Compose([Resize(256), CenterCrop(224)])(image.convert("RGB"))
    assert np.array_equal(centre_crop(path, 224), np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("size", SIZES)
def test_random_crops_lie_in_the_image_and_have_torchvisions_areas_and_ratios(size: tuple[int, int]) -> None:
    boxes = [draw_box(*size, Random(seed)) for seed in range(300)]
    assert all(x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= size[0] and y + h <= size[1] for x, y, w, h in boxes)
    if min(size) > 100:
        areas = [w * h / (size[0] * size[1]) for _, _, w, h in boxes]
        ratios = [w / h for _, _, w, h in boxes]
        assert 0.075 < min(areas) < 0.12
        assert 0.8 < max(areas) <= 1
        assert 0.74 < min(ratios) < 0.8
        assert 1.25 < max(ratios) < 1.35


def test_the_random_crop_is_the_drawn_part_scaled_as_torchvision_does(tmp_path: Path) -> None:
    path = save(noise(320, 240), tmp_path / "image.JPEG")
    for seed in range(20):
        draw = Random(seed)
        left, top, w, h = draw_box(320, 240, draw)
        flipped = draw.random() < 0.5
        with Image.open(path) as image:
            expected = np.asarray(resized_crop(image.convert("RGB"), top, left, h, w, [170, 170])).astype(int)
        found = random_crop(path, 170, Random(seed)).astype(int).transpose(1, 2, 0)
        assert np.abs(found - (expected[:, ::-1] if flipped else expected)).max() <= 2


def test_large_images_are_decoded_at_a_fraction_and_look_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(noise(1600, 1200), tmp_path / "image.JPEG")
    decoded: list[tuple[int, int]] = []
    rgb = pixels._rgb
    monkeypatch.setattr(pixels, "_rgb", lambda image: decoded.append(image.size) or rgb(image))
    small = random_crop(path, 32, Random(1)).astype(int)
    assert decoded[0][0] <= 400
    monkeypatch.setattr(Image.Image, "draft", lambda *_: None)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    whole = random_crop(path, 32, Random(1)).astype(int)
    assert decoded[1] == (1600, 1200)
    assert np.abs(small - whole).mean() < 1


def test_half_of_the_random_crops_are_flipped(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    path = save(Image.fromarray(ramp), tmp_path / "ramp.JPEG")
    crops = [random_crop(path, 8, Random(seed)).astype(int) for seed in range(200)]
    assert 70 < sum(crop[..., 0].mean() > crop[..., -1].mean() for crop in crops) < 130


# Batches of them


def test_files_are_indexed_like_a_tensor(tmp_path: Path) -> None:
    images = grey_files(tmp_path, 20)
    assert (len(images), images.shape) == (20, (20, 3, 8, 8))
    for which in (slice(None, 4), torch.tensor([7, 3]), [19, 0, 19], slice(0, 0)):
        found = images[which]
        expected = 3 * torch.arange(20)[which]
        assert found.dtype == torch.uint8
        assert found.shape == (len(expected), 3, 8, 8)
        assert (found - expected[:, None, None, None]).abs().max() <= 1 if len(expected) else True


def test_batches_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    numbers = list(torch.split(torch.randperm(12), 5))
    one, four = noise_files(tmp_path, 12, threads=1), noise_files(tmp_path, 12, threads=4)
    for seed in (None, 3):
        streams = zip(one.stream(numbers, seed), four.stream(numbers, seed), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in streams)


def test_an_image_is_augmented_by_seed_and_number_alone(tmp_path: Path) -> None:
    images = noise_files(tmp_path, 6)
    (together,) = images.stream([torch.arange(6)], 3)
    (alone,) = images.stream([torch.tensor([4])], 3)
    (otherwise,) = images.stream([torch.tensor([4])], 4)
    assert torch.equal(alone[0], together[4])
    assert not torch.equal(alone, otherwise)


def test_only_a_few_batches_are_decoded_ahead(tmp_path: Path) -> None:
    images, asked = grey_files(tmp_path, 2), []

    def numbers() -> "list[torch.Tensor]":
        for batch in range(100):
            asked.append(batch)
            yield torch.tensor([0, 1])

    stream = images.stream(numbers())
    next(stream)
    assert len(asked) == AHEAD + 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no image at all", "it is not an image"), (b"", "it is not an image")],
)
def test_a_file_that_cannot_be_decoded_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    images = grey_files(tmp_path, 4)
    path = tmp_path / "2.JPEG"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        images[:4]
    assert str(error.value) == f"cannot decode {path} ({reason}); put a complete copy there"
    assert len(images[torch.tensor([0, 1, 3])]) == 3


@pytest.mark.parametrize(
    ("make", "reason"), [(os.mkfifo, "it is a pipe, not a file"), (os.mkdir, "Is a directory"), (None, "No such file")]
)
def test_what_is_no_file_is_named(make: Callable[[Path], None] | None, reason: str, tmp_path: Path) -> None:
    images = grey_files(tmp_path, 4)
    path = tmp_path / "2.JPEG"
    path.unlink()
    if make:
        make(path)
    with pytest.raises(UserError, match=f"cannot read image {path}: {reason}.*; put a complete copy there"):
        images[:4]


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    images = noise_files(tmp_path, 3)
    path = tmp_path / "1.JPEG"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match=r"1\.JPEG \(.*truncated"):
        images[:3]
    with pytest.raises(UserError, match=r"1\.JPEG \(.*truncated"):
        list(images.stream([torch.tensor([1])], 0))


def test_threads_end_with_the_last_who_reads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    images = grey_files(tmp_path, 2, threads=3)
    own = set(threading.enumerate()) - before
    moved = images.to(CPU)
    del images
    assert len(moved[:2]) == 2
    assert [thread.is_alive() for thread in own] == [True] * 3
    del moved
    gc.collect()
    for thread in own:
        thread.join(10)
    assert not any(thread.is_alive() for thread in own)


def test_names_of_files_are_out_of_reach(tmp_path: Path) -> None:
    images = grey_files(tmp_path, 2)
    images[:2]
    known = [vars(images), vars(images._decoders), *map(vars, threading.enumerate())]
    assert not any(".JPEG" in str(one) for one in known)
    assert all(thread._args[0].empty() for thread in threading.enumerate() if thread.name.startswith("decoder"))


def test_decoders_are_at_work_before_a_plugin_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes up while a plugin is watched would pass for a thread of the plugin's."""
    work, begun = decoders._work, []

    def late(*arguments: Any) -> None:
        time.sleep(0.05)
        begun.append(1)
        work(*arguments)

    grey_files(tmp_path, 1, threads=3, work=late)
    assert len(begun) == 3


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNBENCH_DECODERS", "3")
    assert thread_count() == 3
    monkeypatch.setenv("DYNBENCH_DECODERS", "none")
    with pytest.raises(UserError, match="DYNBENCH_DECODERS=none: expected a whole number above 0, or nothing"):
        thread_count()
    monkeypatch.setenv("DYNBENCH_DECODERS", "")
    alone = thread_count()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert thread_count() == max(1, alone // 2)


def test_a_plugin_that_opens_images_by_itself_is_found(tmp_path: Path) -> None:
    images = grey_files(tmp_path, 2)
    with watched("while it was tested"):
        images[:2]  # through the harness it may
    with pytest.raises(AuditFailed, match=r"read the data set's file 1\.JPEG"), watched("while it was tested"):
        (tmp_path / "1.JPEG").read_bytes()


# Epochs


def split_of(kind: str, folder: Path, count: int = 22) -> Split:
    """Of images that all differ, in memory or in files; the labels are their numbers."""
    images = random_split(count).images if kind == "tensors" else noise_files(folder, count)
    return Split(images, torch.arange(count))


KINDS = pytest.mark.parametrize("kind", ["tensors", "files"])


ALTERNATING = Augment(Augmentation(flip="alternating", cutout=4), torch.arange(22) % 2 == 0)


@KINDS
@pytest.mark.parametrize("augment", [Augment(), ALTERNATING, None])
def test_shares_of_an_epoch_put_together_are_the_epoch(kind: str, augment: Augment | None, tmp_path: Path) -> None:
    train = split_of(kind, tmp_path)
    whole = list(epoch_batches(train, 6, 1, augment))
    ranks = [list(epoch_batches(train, 6, 1, augment, Share(rank, 3))) for rank in range(3)]
    assert len(whole) == 3
    assert len(torch.cat([labels for _, labels in whole]).unique()) == 18
    for step, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([rank[step][0] for rank in ranks]), images)
        assert torch.equal(torch.cat([rank[step][1] for rank in ranks]), labels)


@KINDS
def test_an_epoch_that_is_taken_up_has_the_steps_that_were_left(kind: str, tmp_path: Path) -> None:
    train = split_of(kind, tmp_path)
    whole = list(epoch_batches(train, 5, 1, Augment()))
    left = list(epoch_batches(train, 5, 1, Augment(), Share(start=2)))
    assert len(left) == 2
    for (images, labels), (expected, truth) in zip(left, whole[2:], strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, truth)


@KINDS
def test_images_come_with_their_labels_in_an_order_of_the_seed(kind: str, tmp_path: Path) -> None:
    train = split_of(kind, tmp_path)
    batches = list(epoch_batches(train, 11, 1, None))
    for images, labels in batches:
        assert torch.equal(images, train.images[labels])
    others = list(epoch_batches(train, 11, 2, None))
    assert not torch.equal(batches[0][1], others[0][1])


def test_impossible_shares() -> None:
    for wrong in ({"rank": 2, "world": 2}, {"rank": -1}, {"start": -1}):
        with pytest.raises(ValueError, match="no such share"):
            Share(**wrong)
    with pytest.raises(ValueError, match="7 images a step cannot be divided among 2"):
        next(epoch_batches(random_split(20), 7, 0, None, Share(0, 2)))


def test_training_on_files_is_training_on_their_pixels(tmp_path: Path) -> None:
    files = noise_files(tmp_path, 12, side=8)
    labels = torch.arange(12) % 4
    recipe = Recipe(epochs=2, batch_size=5, optimizer=Sgd(name="sgd", lr=0.1), channels_last=False)

    def trained(train: Split) -> dict[str, torch.Tensor]:
        data = Data(train, train, TestSplit(lambda: train), (0.5,) * 3, (0.25,) * 3, 4, augment=False)
        model = small_backbone()
        trainer = StageTrainer(recipe_stage(Dense(Dense.Config()), recipe), model, data, train, recipe, 0, CPU)
        losses = [trainer.epoch(epoch, lambda *_: None).loss for epoch in range(2)]
        return {**model.state_dict(), "losses": torch.tensor(losses)}

    tensors = torch.cat(list(in_batches(files, 5))).contiguous()
    one, other = trained(Split(files, labels)), trained(Split(tensors, labels))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
