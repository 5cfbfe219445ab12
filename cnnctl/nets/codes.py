"""What the output units of LeNet-5 compare F6 with (LeCun et al. 1998, section II.B, figure 3).

A code has 84 values of 1 or −1: a bitmap of 7x12, as a printer draws a character. The paper has
one for each character of ASCII; these ten digits are drawn for cnnctl.
"""

from __future__ import annotations

import random

LENGTH = 7 * 12
DIGITS = """
.#####. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
##...## ..###.. ##...## ##...## ...###. ##..... .##.... .....## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. .....## ##..##. ######. ##..... ....##. .##.##. ##...##
##...## ...##.. ...##.. ..####. ##..##. .....## ######. ...##.. ..###.. .######
##...## ...##.. ..##... .....## ##..##. .....## ##...## ...##.. .##.##. .....##
##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## .##.... ##...## ....##.
##...## ...##.. ##..... ##...## ....##. ##...## ##...## .##.... ##...## ...##..
.#####. .###### ####### .#####. ....##. .#####. .#####. .##.... .#####. .###...
"""


def codes(classes: int) -> list[list[float]]:
    """A code for each class, no two equal: the digits up to ten classes, pseudo-random above.

    Random codes are the paper's own alternative.
    """
    rows = [row.split() for row in DIGITS.split("\n") if row]
    drawn = ["".join(parts) for parts in zip(*rows, strict=True)]
    if classes > len(drawn):
        draw = random.Random(1998)  # noqa: S311 - codes, not secrets; the same ones in every run
        drawn = ["".join(draw.choices(".#", k=LENGTH)) for _ in range(classes)]
    return [[1.0 if pixel == "#" else -1.0 for pixel in bitmap] for bitmap in drawn[:classes]]
