"""Image files of any name and content, as somebody may point at them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def written(name: str, data: bytes = b"") -> str:
    """A file of any name, with its folders."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)
    return name


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that claims this size, grey, whatever it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
