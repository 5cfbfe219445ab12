"""Numbers as people read them, always with their unit."""

from __future__ import annotations


def count(value: int) -> str:
    """61706 -> 61,706."""
    return f"{value:,}"


def image_count(value: int) -> str:
    """1 -> 1 image; 1500 -> 1,500 images."""
    return f"{count(value)} image{'' if value == 1 else 's'}"


def percent(fraction: float | None) -> str:
    """0.9861 -> 98.61 %; None -> a dash."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def megabytes(size: int) -> str:
    """Bytes in MB (10^6), and in GB from a thousand of them."""
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"  # noqa: PLR2004 - 10^9


def duration(seconds: float) -> str:
    """12.34 -> 12.3 s; 754 -> 0:12:34."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    return f"{clock(seconds)}"


def clock(seconds: float) -> str:
    """754 -> 0:12:34."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def number(value: float) -> str:
    """A loss or a rate in four digits: 0.003, 1.234, 2e-05."""
    return f"{value:.4g}"


def decibels(value: float) -> str:
    """14.657 -> 14.66 dB."""
    return f"{value:.2f} dB"


def shape(sizes: tuple[int, ...] | list[int]) -> str:
    """(1, 32, 32) -> 1×32×32."""
    return "×".join(str(size) for size in sizes)
