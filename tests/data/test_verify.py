from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from images import Album, encoded, picture

from cnnctl.data import places, verify
from cnnctl.data.source import Encoded

GOOD = [picture(number, 9, 9) for number in range(4)]
JPEG = picture(9, 60, 60, "RGB", "JPEG")
BAD = {1: b"", 4: b"no image", 5: GOOD[0][:-30], 7: JPEG[: len(JPEG) // 2]}


def images() -> Encoded:
    """Eight images, of which those in BAD are broken, and number 2 cannot be read."""
    files = [BAD.get(number, GOOD[number % 4]) for number in range(8)]
    return encoded(files, missing=[2])


def silent(_: int, __: int) -> None:
    return


def verdicts() -> list[Path]:
    folder = places.cache_dir() / "verified"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_every_broken_image_is_found_with_its_reason() -> None:
    found = verify.broken(images(), silent)
    assert sorted(found) == [1, 2, 4, 5, 7]
    assert all(text.startswith(f"cannot read image album/{n}.png: ") for n, text in found.items())
    reasons = {number: text.partition(".png: ")[2] for number, text in found.items()}
    assert reasons[1] == "the file is empty"
    assert reasons[2] == "Permission denied"
    assert reasons[4] == "not an image"


def test_what_is_told_counts_to_the_end(monkeypatch) -> None:
    monkeypatch.setattr(verify, "PART", 3)
    told: list[tuple[int, int]] = []
    verify.broken(images(), lambda *done: told.append(done))
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_the_verdict_is_kept_until_a_file_changes() -> None:
    album = Album([*GOOD, b"broken"])
    one = Encoded(album, np.zeros(5, np.int64), 3)
    assert verify.known(one) is None
    first = verify.broken(one, silent)
    assert verify.broken(one, silent) == verify.known(one) == first
    assert album.reads == [1] * 5
    album.files[4] = GOOD[0]
    assert verify.known(one) is None
    assert verify.broken(one, silent) == {}
    assert album.reads == [2] * 5


def test_a_verdict_is_that_of_these_images_and_channels() -> None:
    one = images()
    verify.broken(one, silent)
    assert verify.known(one.pick(np.array([0, 1]))) is None
    assert verify.known(Encoded(one.blobs, one.labels, 1)) is None
    part = one.pick(np.array([7, 3]))
    assert list(verify.broken(part, silent)) == [7]  # numbers are those of the blobs
    assert len(verdicts()) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": "y"}', "3", "\xff"])
def test_a_damaged_verdict_is_made_anew(text) -> None:
    one = images()
    expected = verify.broken(one, silent)
    (file,) = verdicts()
    file.write_bytes(text.encode("latin-1"))
    assert verify.known(one) is None
    assert verify.broken(one, silent) == expected
    assert json.loads(file.read_text()) == {str(n): text for n, text in expected.items()}


def test_a_folder_that_cannot_be_written_only_means_to_look_again(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNCTL_CACHE", str(tmp_path / "file"))
    one = images()
    assert verify.broken(one, silent) == verify.broken(one, silent)
    assert verify.known(one) is None
    assert one.blobs.reads == [2] * 8
