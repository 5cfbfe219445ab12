from __future__ import annotations

import sys
from pathlib import Path

import formats
import formats_arrays
import formats_files
import pytest
from formats import got, refusal
from torchvision import datasets

from cnnctl.data import fetch
from cnnctl.data.catalog import SETS
from cnnctl.errors import DataError

ELSEWHERE = "or give the folder that holds it: data.root=FOLDER"
FIRST = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
    "emnist": "EMNIST/raw/emnist-balanced-train-images-idx3-ubyte",
    "cifar10": "cifar-10-batches-py",
    "svhn": "train_32x32.mat",
    "stl10": "stl10_binary",
    "imagenette": "imagenette2",
    "flowers102": "flowers-102/jpg",
    "food101": "food-101/images",
    "oxford_pets": "oxford-iiit-pet/images",
    "gtsrb": "gtsrb/GTSRB/Training",
    "caltech101": "caltech101/101_ObjectCategories",
    "eurosat": "eurosat/2750",
}


@pytest.fixture
def scipy(monkeypatch) -> None:
    """Pretend that it is there: for what is told before it is needed."""
    monkeypatch.setattr(fetch, "find_spec", lambda _: object())


@pytest.mark.parametrize("name", FIRST)
def test_a_missing_set_says_what_was_looked_for_and_where(tmp_path, scipy, name) -> None:
    text = f"{SETS[name].title} is not in {tmp_path}/data: there is no {FIRST[name]}"
    hint = f"(data.download=true gets it, {ELSEWHERE})"
    assert refusal(name, tmp_path / "data") == f"{text} {hint}"
    assert not (tmp_path / "data").exists()


def test_the_first_thing_that_is_missing_is_named(tmp_path) -> None:
    formats_files.gtsrb(tmp_path)
    (tmp_path / "gtsrb/GT-final_test.csv").unlink()
    text = f"GTSRB is not in {tmp_path}: there is no gtsrb/GT-final_test.csv "
    assert refusal("gtsrb", tmp_path).startswith(text)


@pytest.mark.parametrize("download", [True, False])
def test_imagenet_says_which_files_to_get_and_where_to_put_them(tmp_path, download) -> None:
    devkit, train, val = (
        "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar",
    )  # fmt: skip
    page = "https://image-net.org/download-images"
    assert refusal("imagenet", tmp_path, download=download) == (
        f"ImageNet is not in {tmp_path}: there is no meta.bin or {devkit} "
        f"(get {devkit}, {train}, {val} from {page} and put them there, {ELSEWHERE})"
    )
    formats_files.imagenet(tmp_path)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    assert f"there is no val or {val} (get " in refusal("imagenet", tmp_path, download=download)


def test_a_damaged_archive_of_imagenet_is_told_and_may_be_replaced(tmp_path) -> None:
    formats_files.imagenet(tmp_path)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    (tmp_path / "ILSVRC2012_img_val.tar").write_text("half of it")
    text = refusal("imagenet", tmp_path)
    assert text.startswith(f"cannot unpack ImageNet to {tmp_path}: The archive ILSVRC2012_img_val")
    (tmp_path / "elsewhere").rename(tmp_path / "val")
    assert len(got("imagenet", tmp_path, classes=3)["test"].labels) == 3


@pytest.mark.parametrize("name", [name for name in SETS if name != "imagenet"])
def test_offline_a_download_is_one_line(tmp_path, scipy, offline, name) -> None:
    reason = "[Errno -3] Temporary failure in name resolution"
    text = f"cannot download {SETS[name].title} to {tmp_path}: {reason}"
    assert refusal(name, tmp_path, download=True) == f"{text} (try again later, {ELSEWHERE})"
    assert refusal(name, tmp_path, download=True).startswith(text)  # and no mark is in the way


@pytest.mark.parametrize("wrong", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_unpacking_is_not_taken_for_the_set(tmp_path, monkeypatch, wrong) -> None:
    def unpack(self: datasets.EuroSAT) -> None:
        formats_files.eurosat(Path(self.root))
        raise wrong

    monkeypatch.setattr(datasets.EuroSAT, "download", unpack)
    with pytest.raises((KeyboardInterrupt, DataError)):
        got("eurosat", tmp_path, download=True)
    half = tmp_path / "eurosat/2750"
    for download in (True, False):
        assert refusal("eurosat", tmp_path, download=download) == (
            f"EuroSAT in {tmp_path} is incomplete: getting it was interrupted "
            f"(delete {half} and start again, unless another process is at it)"
        )
    half.rename(tmp_path / "gone")
    assert refusal("eurosat", tmp_path).startswith("EuroSAT is not in")


def test_a_wrong_checksum_on_the_disk_is_refused(tmp_path, offline) -> None:
    formats_arrays.cifar10(tmp_path)
    text = f"CIFAR-10 in {tmp_path} is incomplete or damaged: "
    text += "a file is missing, or its checksum differs"
    delete = "(delete its files there, then start again with data.download=true)"
    assert refusal("cifar10", tmp_path) == f"{text} {delete}"
    again = "; downloading it again: [Errno -3] Temporary failure in name resolution"
    assert refusal("cifar10", tmp_path, download=True) == f"{text}{again} {delete}"


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte", "shape '[30, 28, 28]' is invalid"),
        ("food101", "food-101/meta/train.json", "Unterminated string"),
        ("oxford_pets", "oxford-iiit-pet/annotations/test.txt", "not enough values to unpack"),
    ],
)
@pytest.mark.parametrize("download", [True, False])
def test_a_file_cut_short_is_one_line(tmp_path, name, file, reason, download) -> None:
    formats.WRITERS[name](tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: -len(content) // 3])
    text = f"{SETS[name].title} in {tmp_path} is incomplete or damaged: {reason}"
    assert refusal(name, tmp_path, download=download).startswith(text)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("food101", "food-101/images/waffles/3.jpg"),
        ("oxford_pets", "oxford-iiit-pet/images/Abyssinian_4.jpg"),
        ("gtsrb", "gtsrb/GTSRB/Final_Test/Images/00001.ppm"),
        ("caltech101", "caltech101/101_ObjectCategories/wrench/image_0002.jpg"),
    ],
)
def test_a_listed_image_that_is_not_there_is_named(tmp_path, name, file) -> None:
    formats.WRITERS[name](tmp_path)
    (tmp_path / file).rename((tmp_path / file).with_suffix(".part"))
    assert f"damaged: there is no {tmp_path / file} (" in refusal(name, tmp_path)


def test_a_class_folder_without_images_is_one_line(tmp_path) -> None:
    formats_files.eurosat(tmp_path)
    for file in (tmp_path / "eurosat/2750/River").iterdir():
        file.unlink()
    assert "damaged: Found no valid file for the classes River" in refusal("eurosat", tmp_path)


def test_a_root_that_is_a_file_or_may_not_be_written_is_refused(tmp_path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refusal("mnist", file, download=True) == f"data.root is not a folder: {file}"
    text = f"cannot download MNIST to {file / 'data'}: [Errno 20] Not a directory"
    assert refusal("mnist", file / "data", download=True).startswith(text)


@pytest.mark.parametrize("name", ["svhn", "flowers102"])
def test_a_set_of_matlab_files_asks_for_scipy(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    text = f"{SETS[name].title} has files of MATLAB, and torchvision needs scipy for them"
    assert refusal(name, tmp_path, download=True) == f"{text} (pip install 'cnnctl[scipy]')"


def test_imagenet_needs_scipy_only_until_it_is_unpacked(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    formats_files.imagenet(tmp_path)
    assert len(got("imagenet", tmp_path, classes=3)["test"].labels) == 3
    (tmp_path / "meta.bin").rename(tmp_path / "ILSVRC2012_devkit_t12.tar.gz")
    assert refusal("imagenet", tmp_path).startswith("ImageNet has files of MATLAB")
