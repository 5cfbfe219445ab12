from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masked import cells, folder, mask, photo, save, section

from cnnctl import data
from cnnctl.data import check_masks, strays


def checked(root: Path, **changes: Any) -> dict[str, Any]:
    numbers = folder(root, **({"val_fraction": 0.2} | changes))
    return check_masks.masks(strays.load(numbers).source, numbers, lambda *_: None)


def shown(finding: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(Path(one["name"]).name, one["reason"]) for one in finding]


def test_good_masks_have_counts_and_no_findings(tmp_path) -> None:
    document = checked(cells(tmp_path, 15))
    assert document["wrong"] == []
    assert not any(document["findings"].values())
    assert document["classes"] == ["background", "cell"]
    masks = [mask(number) for number in range(15)]
    total = dict.fromkeys(document["classes"], 0)
    for split in document["splits"].values():
        for name, count in split["pixels"].items():
            total[name] += count
    assert total == {"background": sum((one == 0).sum() for one in masks),
                     "cell": sum((one == 1).sum() for one in masks)}  # fmt: skip
    train = document["splits"]["train"]
    assert (train["images"], train["ignored"], train["broken"]) == (12, 0, 0)
    assert train["holding"] == {"background": 12, "cell": 12}
    assert document["drawn"] == ["val"]
    assert (document["formats"], document["modes"]) == ({"PNG": 15}, {"RGB": 15})
    assert document["sizes"]["min"] == {"height": 9, "width": 12}


def test_examples_are_the_images_with_most_of_a_class(tmp_path) -> None:
    cells(tmp_path, 15)
    for number in range(15):
        pixels = np.zeros((9, 12), np.uint8)
        pixels.reshape(-1)[: 2 * (number - 5) if number > 5 else 0] = 1
        save(tmp_path / f"masks/{number}.png", pixels)
    numbers = folder(tmp_path, val_fraction=0.1)
    document = check_masks.masks(data.load(numbers), numbers, lambda *_: None)
    found = data.load(numbers).splits["train"]
    order = [int(Path(found.name(row)).stem) for row in document["examples"]["cell"]]
    assert order == sorted(order, reverse=True)
    assert len(order) == 6
    assert min(order) > 5


@pytest.mark.parametrize(("resize", "size", "smaller"), [
    (None, 8, 0), (None, 10, 15), (12, 10, 0), (8, 10, 15), (8, 8, 0),
])  # fmt: skip
def test_images_smaller_than_a_window_are_counted(tmp_path, resize, size, smaller) -> None:
    document = checked(cells(tmp_path, 15), resize=resize, size=size)
    assert document["sizes"]["enlarged"] == smaller


def test_mean_and_deviation_are_those_of_the_whole_images(tmp_path) -> None:
    numbers = folder(cells(tmp_path, 15))
    source = data.load(numbers)
    found = source.splits["train"]
    pixels = torch.stack([found[index] for index in range(source.sizes["train"])]).double() / 255
    channels = check_masks.masks(source, numbers, lambda *_: None)["channels"]
    assert channels["mean"] == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-4)
    wanted = pixels.transpose(0, 1).flatten(1).std(1, correction=0)
    assert channels["std"] == pytest.approx(wanted.tolist(), abs=1e-4)


def test_everything_that_cannot_be_used_is_named(tmp_path) -> None:
    cells(tmp_path, 12)
    (tmp_path / "masks/1.png").unlink()
    (tmp_path / "images/2.png").unlink()
    save(tmp_path / "masks/3.png", mask(3) + np.uint8(5))
    save(tmp_path / "masks/4.png", mask(4, height=8))
    (tmp_path / "images/5.png").write_bytes(b"")
    document = checked(tmp_path)
    reasons = dict(shown(document["findings"]["broken"]))
    assert reasons["1.png"] == "has no mask: there is no masks/1.png"
    assert reasons["2.png"] == "has no image: there is no images/2.*"
    assert "has the unknown value" in reasons["3.png"]
    assert "has 12x8 pixels" in reasons["4.png"]
    assert reasons["5.png"] == "the file is empty"
    assert len(reasons) == 5
    assert document["wrong"] == ["broken"]
    assert sum(split["broken"] for split in document["splits"].values()) == 3


def test_equal_images_with_other_masks(tmp_path) -> None:
    cells(tmp_path, 12)
    save(tmp_path / "images/x.png", photo(3))
    shutil.copy(tmp_path / "masks/3.png", tmp_path / "masks/x.png")
    save(tmp_path / "images/y.png", photo(4))
    save(tmp_path / "masks/y.png", 1 - mask(4))
    findings = checked(tmp_path, val_fraction=0.01)["findings"]
    (group,) = findings["conflicts"]
    assert {(Path(one["name"]).name, one["class"]) for one in group["images"]} == {
        ("4.png", "mask 4.png"), ("y.png", "mask y.png")
    }  # fmt: skip
    assert len(findings["duplicates"] + findings["leaks"]) == 2
    (tmp_path / "masks/y.png").write_bytes(b"")  # then nobody knows what it says
    assert checked(tmp_path, val_fraction=0.01)["findings"]["conflicts"] == []


def test_masks_of_which_nothing_is_learned(tmp_path) -> None:
    cells(tmp_path, 12)
    save(tmp_path / "masks/7.png", np.full((9, 12), 9, np.uint8))
    names = ["background", "cell", "never"]
    document = checked(tmp_path, classes=names, ignore=9)
    assert [Path(one["name"]).name for one in document["findings"]["blank"]] == ["7.png"]
    assert document["findings"]["absent"] == [{"class": "never", "images": 0}]
    assert {one["class"] for one in document["findings"]["rare"]} <= {"background", "cell"}
    assert document["wrong"] == []
    assert sum(split["ignored"] for split in document["splits"].values()) == 108


def test_classes_in_few_images(tmp_path) -> None:
    cells(tmp_path, 15)
    for number in range(12):
        save(tmp_path / f"masks/{number}.png", np.zeros((9, 12), np.uint8))
    document = checked(tmp_path)
    (rare,) = document["findings"]["rare"]
    assert rare == {"class": "cell", "images": document["splits"]["train"]["holding"]["cell"]}
    assert rare["images"] <= 3


def test_a_class_in_every_image_is_not_rare(tmp_path) -> None:
    cells(tmp_path, 5)
    for number in range(5):
        mask = np.zeros((9, 12), np.uint8)
        mask[2:5, 2:5] = 1
        save(tmp_path / f"masks/{number}.png", mask)
    document = checked(tmp_path)
    images = document["splits"]["train"]["images"]
    assert document["splits"]["train"]["holding"] == {"background": images, "cell": images}
    assert document["findings"]["rare"] == []


def test_shapes_are_good() -> None:
    numbers = section("shapes", images=60, size=32)
    document = check_masks.masks(data.load(numbers), numbers, lambda *_: None)
    assert document["wrong"] == []
    assert document["findings"]["broken"] == document["findings"]["absent"] == []
