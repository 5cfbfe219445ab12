from __future__ import annotations

import hashlib

import numpy as np
from masked import cells, folder, load, mask, pairs, save

from cnnctl import data
from cnnctl.data import survey_masks


def test_pixels_of_every_mask_are_counted(tmp_path) -> None:
    cells(tmp_path, 19)
    odd = mask(4, 3)
    odd[odd == 2] = 9
    save(tmp_path / "masks/4.png", odd)
    source = data.load(folder(tmp_path, ignore=9))
    told: list[tuple[int, int]] = []
    found = pairs(source)
    made = survey_masks.survey(found, 2, lambda *done: told.append(done))
    assert made.broken == {}
    assert told == [(8, 17), (16, 17), (17, 17)]
    for row in range(17):
        _, classes = found.pair(row)
        wanted = [int((classes == value).sum()) for value in (0, 1, 255)]
        assert made.pixels[row].tolist() == wanted
        digest = hashlib.blake2b(classes.numpy().tobytes(), digest_size=8).hexdigest()
        assert f"{made.keys[row]:016x}" == digest


def test_a_broken_pair_is_noted_and_the_others_are_read(tmp_path) -> None:
    cells(tmp_path, 3)
    (tmp_path / "images/1.png").write_bytes(b"")
    save(tmp_path / "masks/2.png", mask(2, height=8))
    cells(tmp_path, 3, "other")
    found = pairs(load(tmp_path, split_seed=0))
    made = survey_masks.survey(found, 2, lambda *_: None)
    for row in range(2):
        if "images/0" in found.name(row):
            assert made.pixels[row].sum() == 108
            continue
        assert made.pixels[row].sum() == made.keys[row] == 0
        reason = made.broken[row]
        assert reason == "the file is empty" or reason.startswith(
            f"mask {tmp_path}/masks/2.png has"
        )


def test_masks_in_which_nothing_counts() -> None:
    pixels = np.array([[5, 0, 1], [0, 0, 6], [0, 0, 0]])  # the last could not be read
    assert survey_masks.MaskSurvey(pixels, np.zeros(3, np.uint64)).blank == [1]
