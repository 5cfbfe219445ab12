from __future__ import annotations

from pathlib import Path

import formats
import formats_arrays
import numpy as np
import pytest
import torch
from formats import content, expected, opened
from PIL import Image

from cnnctl.config.images import Published
from cnnctl.data import decode, published
from cnnctl.data.catalog import SETS
from cnnctl.data.source import Encoded, Stored

ARRAYS = {"mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", "svhn", "stl10"}
UNDIVIDED = {"caltech101", "eurosat"}
CAPITALS = "0 1 2 3 4 5 6 7 8 9 A B C D E F G H I J K L M N O P Q R S T U V W X Y Z"
LUMA = np.random.default_rng(0).integers(0, 256, (3000, 3, 4, 5), dtype=np.uint8)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Write a tiny set: tiny("mnist") -> (root, what was written)."""
    formats.trust(monkeypatch)

    def write(name: str) -> tuple[Path, formats.Written]:
        root = tmp_path / "data"
        return root, formats.WRITERS[name](root)

    return write


@pytest.mark.parametrize("name", SETS)
def test_every_image_and_label_is_the_one_in_the_files(tiny, name) -> None:
    root, written = tiny(name)
    source = opened(name, root)
    assert list(source.splits) == ["train", "val", "test"]
    if name in UNDIVIDED:
        assert content(*source.splits.values()) == expected(written["train"])
        return
    drawn = [source.splits["train"]] + ([] if "val" in written else [source.splits["val"]])
    assert content(*drawn) == expected(written["train"])
    for part in written.keys() - {"train", "extra"}:
        assert content(source.splits[part]) == expected(written[part])


@pytest.mark.parametrize("name", ["mnist", "cifar10", "stl10"])
def test_images_that_were_drawn_keep_their_number_in_the_whole_set(tiny, name) -> None:
    source = opened(name, tiny(name)[0])
    assert source.drawn == ("val",)
    train = source.splits["train"]
    names = [train.name(index) for index in range(len(train.labels))] + source.cut()["val"]
    assert sorted(names) == sorted(f"image {number}" for number in range(len(names)))


@pytest.mark.parametrize("name", SETS)
def test_arrays_are_stored_and_files_are_not_decoded_when_loading(tiny, name, monkeypatch) -> None:
    root, _ = tiny(name)
    monkeypatch.setattr(decode, "image", lambda *_: pytest.fail("an image was decoded"))
    for images in opened(name, root).splits.values():
        assert images.name(0).startswith("image " if name in ARRAYS else f"{root}/")
        assert type(images) is (Stored if name in ARRAYS else Encoded)
        assert images.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("mnist", "0 1 2 3 4 5 6 7 8 9"),
        ("kmnist", "o ki su tsu na ha ma ya re wo"),
        ("emnist", f"{CAPITALS} a b d e f g h n q r t"),
        ("stl10", "a b c d e f g h i j"),
        ("food101", "apple_pie baby_back_ribs waffles"),
        ("gtsrb", "00000 00001 00002"),
        ("caltech101", "Faces accordion wrench"),
        ("eurosat", "AnnualCrop Forest River"),
    ],
)  # fmt: skip
def test_classes_have_the_names_of_the_set(tiny, name, classes) -> None:
    root, _ = tiny(name)
    assert opened(name, root).classes == tuple(classes.split())


def test_names_of_more_than_one_word(tiny) -> None:
    root, _ = tiny("fashion_mnist")
    assert opened("fashion_mnist", root).classes[:2] == ("T-shirt/top", "Trouser")
    root, _ = tiny("oxford_pets")
    assert opened("oxford_pets", root).classes == ("Abyssinian", "Great Pyrenees")
    root, _ = tiny("imagenette")
    assert opened("imagenette", root).classes[1:3] == (
        "English springer",
        "cassette player",
    )


def test_flowers_have_names_and_the_val_of_the_set(tiny) -> None:
    root, _ = tiny("flowers102")
    source = opened("flowers102", root)
    assert (source.classes[0], source.classes[101]) == ("pink primrose", "blackberry lily")
    assert source.sizes == {"train": 4, "val": 2, "test": 2}


def test_two_classes_of_imagenet_with_one_name_are_told_apart(tiny) -> None:
    root, _ = tiny("imagenet")
    source = opened("imagenet", root)
    assert source.classes == ("crane (n02012849)", "Pomeranian", "crane (n03126707)")
    assert source.splits["test"].name(0) == str(root / "val/n02012849/1.JPEG")


@pytest.mark.parametrize(("selection", "classes", "first"), [
    ("letters", 26, 1), ("digits", 10, 0), ("mnist", 10, 0), ("byclass", 62, 0), ("bymerge", 47, 0),
])  # fmt: skip
def test_every_selection_of_emnist_is_upright_and_counts_from_0(
    tmp_path, selection, classes, first
) -> None:
    written = formats_arrays.emnist(tmp_path, selection, classes, first)
    source = opened("emnist", tmp_path, split=selection, classes=classes)
    assert content(source.splits["test"]) == expected(written["test"])
    assert len(source.classes) == classes
    assert source.classes[:2] == (("a", "b") if selection == "letters" else ("0", "1"))


def test_the_easier_house_numbers_are_trained_on_when_asked_for(tiny) -> None:
    root, written = tiny("svhn")
    assert opened("svhn", root).sizes == {"train": 20, "val": 10, "test": 20}
    source = opened("svhn", root, extra=True)
    drawn = content(source.splits["train"], source.splits["val"])
    assert drawn == expected(written["train"], written["extra"])


def test_a_subset_of_stl10(tiny) -> None:
    root, written = tiny("stl10")
    source = opened("stl10", root, subset=3)
    wanted = [written["train"][number] for number in (3, 13, 23, 33)]
    assert content(source.splits["train"], source.splits["val"]) == expected(wanted)
    assert source.sizes["test"] == 10


def test_val_is_drawn_from_train_by_class_and_seed(tiny) -> None:
    root, _ = tiny("cifar10")
    first, again, other = (opened("cifar10", root, split_seed=seed) for seed in (0, 0, 1))
    assert first.sizes == {"train": 90, "val": 10, "test": 20}
    assert sorted(first.splits["val"].labels) == list(range(10))
    assert content(first.splits["val"]) == content(again.splits["val"])
    assert content(first.splits["val"]) != content(other.splits["val"])


def test_what_a_ratio_made_is_named(tiny) -> None:
    for name, drawn in [("mnist", ("val",)), ("eurosat", ("val", "test"))]:
        root, _ = tiny(name)
        assert opened(name, root).drawn == drawn
    root, _ = tiny("flowers102")
    assert opened("flowers102", root).drawn == ()


def test_folds_share_out_train_and_leave_the_test_alone(tiny) -> None:
    root, written = tiny("mnist")
    folds = [opened("mnist", root, folds=3, fold=fold) for fold in range(3)]
    assert content(*(source.splits["val"] for source in folds)) == expected(written["train"])
    assert all(content(s.splits["test"]) == expected(written["test"]) for s in folds)


def test_folds_take_in_a_published_val(tiny) -> None:
    root, written = tiny("flowers102")
    folds = [opened("flowers102", root, folds=2, fold=fold) for fold in range(2)]
    whole = expected(written["train"], written["val"])
    assert content(*(source.splits["val"] for source in folds)) == whole
    assert [source.sizes for source in folds] == [{"train": 3, "val": 3, "test": 2}] * 2


def test_a_set_without_a_test_split_need_not_get_one(tiny) -> None:
    root, _ = tiny("eurosat")
    assert opened("eurosat", root, test_fraction=0.5).sizes == {
        "train": 3,
        "val": 3,
        "test": 6,
    }
    assert opened("eurosat", root, test_fraction=None).sizes == {"train": 9, "val": 3}


def test_grey_as_colour_takes_no_memory(tiny) -> None:
    root, _ = tiny("mnist")
    numbers = {"mean": [0, 0, 0], "std": [1, 1, 1]}
    grey, colour = (
        opened("mnist", root),
        opened("mnist", root, channels=3, **numbers),
    )
    for name, images in colour.splits.items():
        assert isinstance(images, Stored)
        assert images.pixels.shape[1] == 3
        assert images.pixels.untyped_storage().nbytes() == len(images.labels) * 28 * 28
        assert torch.equal(images.pixels[:, 2:], grey.splits[name].pixels)


def test_colour_as_grey_is_what_pil_makes_of_it(tiny) -> None:
    found = published._in_channels(torch.from_numpy(LUMA), 1)
    wanted = [
        np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L")) for pixels in LUMA
    ]
    assert np.array_equal(found[:, 0].numpy(), np.stack(wanted))
    root, written = tiny("cifar10")
    image = opened("cifar10", root, channels=1, mean=[0], std=[1]).splits["test"][0]
    pixels = Image.fromarray(written["test"][0][0].transpose(1, 2, 0))
    assert np.array_equal(image[0].numpy(), np.asarray(pixels.convert("L")))


@pytest.mark.parametrize("name", ["mnist", "cifar10", "stl10"])
def test_a_batch_of_pixels_is_one_piece_of_memory(tiny, name) -> None:
    root, _ = tiny(name)
    for images in opened(name, root).splits.values():
        assert isinstance(images, Stored)
        assert images.pixels.is_contiguous()


def test_the_root_may_be_meant_with_a_tilde(monkeypatch, tiny) -> None:
    root, _ = tiny("mnist")
    monkeypatch.setenv("HOME", str(root.parent))
    assert opened("mnist", Path("~/data")).sizes == {"train": 20, "val": 10, "test": 10}
    section = formats.section("mnist")
    assert isinstance(section, Published)
    assert section.root == "~/data"
