from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cnnctl.report.console import VIEWS


def shown(view: str, document: dict[str, Any], width: int = 120) -> str:
    file = io.StringIO()
    VIEWS[view](Console(file=file, width=width, highlight=False, markup=False), document)
    return file.getvalue()


def test_how_each_split_is_read() -> None:
    feed = {"kind": "map", "bytes": 3072000, "workers": 0, "file": "/c/1", "why": None}
    document = {
        "seconds": 3.21, "images": {"train": 1000, "val": 50, "test": 20},
        "splits": {"train": feed, "val": {**feed, "kind": "memory", "bytes": 2000},
                   "test": {**feed, "kind": "decode", "why": "random crops want whole images"}},
        "caches": [{"cache": "/c/1", "images": 1000, "bytes": 3072000, "built": True}],
    }  # fmt: skip
    assert shown("cached", document).splitlines() == [
        "train  1,000 images, 3.07 MB of the cache",
        "val    50 images in memory, 2.0 kB: no cache is needed",
        "test   20 images, decoded each time: random crops want whole images",
        "cache  /c/1",
        "       1,000 images, 3.07 MB, built in 3.2 s",
    ]
    document["caches"][0]["built"] = False
    assert "was there already" in shown("cached", document)


def test_all_caches() -> None:
    row = {"cache": "/c/pixels/0123456789ab", "images": 1000, "size": 32, "channels": 3,
           "first": "/data/train/cat/0.jpg", "bytes": 3072000}  # fmt: skip
    out = shown("caches", {"place": "/c/pixels", "caches": [row, row], "bytes": 6144000}, 80)
    assert out.count("01234567   1,000  3×32×32  3.07 MB  /data/train/cat/0.jpg") == 2
    assert out.endswith("total  6.14 MB\nplace  /c/pixels\n")
    none = {"place": "/c/pixels", "caches": [], "bytes": 0}
    assert shown("caches", none) == "no caches in /c/pixels\n"


@pytest.mark.parametrize(
    ("count", "line"),
    [(0, "no caches in /c"), (1, "removed 1 cache, 3.07 MB are free now in /c"),
     (2, "removed 2 caches, 3.07 MB are free now in /c")],
)  # fmt: skip
def test_caches_that_were_removed(count: int, line: str) -> None:
    assert (
        shown("cleared", {"place": "/c", "caches": [{}] * count, "freed": 3072000}) == line + "\n"
    )
