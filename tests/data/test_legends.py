from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from masked import cells, load, mask, refusal, save

from cnnctl.config.legend import Legend
from cnnctl.data import legends


def saying(root: Path, text: str, **changes: object) -> Legend:
    """What root/classes.txt with this text means."""
    cells(root, 3)
    (root / "classes.txt").write_text(text, encoding="utf-8")
    found = load(root, classes=None, **changes).splits["train"]
    return found.masks.legend  # pyright: ignore[reportAttributeAccessIssue]


def told(root: Path, text: str) -> str:
    cells(root, 3)
    (root / "classes.txt").write_text(text, encoding="utf-8")
    return refusal(lambda: load(root, classes=None))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\nb\n", (["a", "b"], [], [])),
        ("a 0\nb 255", (["a", "b"], [0, 255], [])),
        ("a #ff0000\nb #00FF00", (["a", "b"], ["#ff0000", "#00FF00"], [])),
        ("traffic light 7\ntraffic  sign  9", (["traffic light", "traffic  sign"], [7, 9], [])),
        ("# names\n\n  a  \nb\n#", (["a", "b"], [], [])),
        ("a\nignore 255\nb\nignore 4\nignore #000000", (["a", "b"], [], [255, 4, "#000000"])),
        ("ignore\nb", (["ignore", "b"], [], [])),
        ("7\nb", (["7", "b"], [], [])),
        ("a -1\nb 1.5\nc #ff00\nd ٣", (["a -1", "b 1.5", "c #ff00", "d ٣"], [], [])),
        ("a 0\r\nb 1\r\n", (["a", "b"], [0, 1], [])),
        ("", ([], [], [])),
    ],
)
def test_lines_are_names_values_and_what_is_ignored(text, found) -> None:
    assert legends.lines(text) == found


def test_the_file_says_it_where_the_configuration_does_not(tmp_path) -> None:
    file = str(tmp_path / "classes.txt")
    assert saying(tmp_path, "a\nb") == Legend(("a", "b"), (0, 1), file=file)
    assert saying(tmp_path, "a 1\nb 0\nignore 9") == Legend(("a", "b"), (1, 0), (9,), file=file)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path) -> None:
    assert saying(tmp_path, "\ufeffgröße\nb").classes == ("größe", "b")


def test_the_configuration_comes_before_the_file(tmp_path) -> None:
    (cells(tmp_path, 3) / "classes.txt").write_text("x\ny\nz")
    assert load(tmp_path).classes == ("background", "cell")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "classes must be 2 to 255 names, got 1"),
        ("", "classes must be 2 to 255 names, got 0"),
        ("a\na", "classes has 'a' twice (every class needs a name of its own)"),
        ("a 1\nb 1", "values has one value twice: 1"),
        ("a 1\nb #ff0000", "values mixes numbers and colours (all of them must be the one or the"),
        ("a 0\nb 1\nignore 1", "ignore has 1, which is the value of a class"),
        ("a 0\nb 70000", "values must be numbers from 0 to 65535 or colours, got 70000"),
        ("a 0\nb", "1 of 2 classes have a value (give all of them one, or none: then they are 0,"),
    ],
)
def test_a_file_with_faults_is_named(tmp_path, text, message) -> None:
    assert told(tmp_path, text).startswith(f"{tmp_path / 'classes.txt'}: {message}")


def test_a_file_that_is_no_text(tmp_path) -> None:
    (cells(tmp_path, 3) / "classes.txt").write_bytes(b"\xff\xfe\x00")
    text = f"cannot read {tmp_path / 'classes.txt'}: it is not text in UTF-8"
    assert refusal(lambda: load(tmp_path, classes=None)) == text


def test_a_hint_about_a_value_names_the_file(tmp_path) -> None:
    saying(tmp_path, "a\nb\nc")
    save(tmp_path / "masks/0.png", mask(0) + np.uint8(7))
    source = load(tmp_path, classes=None, val_fraction=0.4)
    pairs = source.splits["train"]
    text = refusal(lambda: [pairs.masks[index] for index in range(2)])  # pyright: ignore[reportAttributeAccessIssue]
    assert f"to leave it out: a line in {tmp_path / 'classes.txt'}: ignore " in text


def missing(root: Path) -> str:
    text = refusal(lambda: load(root, classes=None))
    start = "what the masks mean is not said: data.classes is null, and there is no "
    assert text.startswith(f"{start}{root / 'classes.txt'}; ")
    return text.partition("; ")[2]


def test_without_a_legend_the_values_are_told_and_what_to_type(tmp_path) -> None:
    cells(tmp_path, 3)
    share = sum(mask(number).mean() for number in range(3)) / 3
    text = f"3 masks hold the values 0 ({1 - share:.1%}), 1 ({share:.1%})"
    assert missing(tmp_path) == f"{text} (data.classes=[background,class1])"


@pytest.mark.parametrize(
    ("numbers", "hint"),
    [
        ([0, 255], "data.classes=[background,class1] data.values=[0,255]"),
        ([0, 1, 2], "data.classes=[background,class1,class2]"),
        ([0, 1, 255], "data.classes=[background,class1] data.ignore=255"),
        ([3, 9, 255], "data.classes=[background,class1] data.values=[3,9] data.ignore=255"),
    ],
)
def test_a_proposal_for_numbers(tmp_path, numbers, hint) -> None:
    cells(tmp_path, 3)
    save(tmp_path / "masks/0.png", np.array([numbers], np.uint8))
    for number in (1, 2):
        save(tmp_path / f"masks/{number}.png", np.array([numbers[:2]], np.uint8))
    assert missing(tmp_path).endswith(f" ({hint})")


def test_a_proposal_for_colours(tmp_path) -> None:
    cells(tmp_path, 3)
    for number in range(3):
        save(tmp_path / f"masks/{number}.png", np.array([[[0, 0, 0], [255, 0, 10]]], np.uint8))
    assert missing(tmp_path) == (
        "3 masks hold the values '#000000' (50.0%), '#ff000a' (50.0%) "
        "(data.classes=[background,class1] data.values=['#000000','#ff000a'])"
    )


def test_photos_are_no_masks(tmp_path) -> None:
    cells(tmp_path, 3)
    for number in range(3):
        save(tmp_path / f"masks/{number}.png", mask(number, 256))
    count = len(np.unique([mask(number, 256) for number in range(3)]))
    assert missing(tmp_path) == f"3 masks have {count} values: are these masks?"


def test_masks_that_cannot_be_read_tell_nothing(tmp_path) -> None:
    cells(tmp_path, 3)
    for file in (tmp_path / "masks").iterdir():
        file.write_bytes(b"")
    text = refusal(lambda: load(tmp_path, classes=None))
    assert text.endswith("(give the names of the classes: data.classes=[background,…])")
