"""Caches of images as tests build and find them."""

from __future__ import annotations

from cnnctl.data import cache
from cnnctl.data.cache import Form, Found
from cnnctl.data.source import Encoded

FORM = Form(8, 3)


def silent(_: int, __: int) -> None:
    return


def built(images: Encoded, form: Form = FORM) -> Found:
    return cache.build(cache.folder_of(images, form), images, form, silent)


def found(images: Encoded, form: Form = FORM) -> Found | None:
    return cache.find(cache.folder_of(images, form), images, form)


def left() -> list[str]:
    """What lies in the folder of all caches beside caches and the empty files that lock them."""
    folder = cache.place()
    entries = folder.iterdir() if folder.exists() else ()
    return [
        path.name
        for path in entries
        if path.name[0] == "." and not (path.name.endswith(".lock") and path.stat().st_size == 0)
    ]
