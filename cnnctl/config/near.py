"""Did you mean: the nearest known word to a mistyped one."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: it would slow down the start
if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(given: str, known: str) -> int:
    """Edits between two words: insert, drop, replace, or swap of two neighbours.

    Optimal string alignment (Damerau 1964; each neighbouring pair is swapped at most once).
    The standard library's difflib has no swap and ranks `lr` behind longer keys.
    """
    before: list[int] = []
    row = list(range(len(known) + 1))
    for i, a in enumerate(given, start=1):
        before, last, row = row, before, [i]
        for j, b in enumerate(known, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == known[j - 2] and given[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known word closest to `given`, or None if none is near enough.

    Near enough is one edit for every three letters behind the common beginning, and at
    least one: behind `optimizer.` a wrong `lrr` is near `lr`, a wrong `betas` is not.
    Equal distances are settled by the longer common beginning, then by the alphabet. If
    nothing is near, a key that ends in the given word is meant: `lr` is `optimizer.lr`,
    `epochs` is `trainer.max_epochs`.
    """

    def rank(word: str) -> tuple[int, int, str]:
        pairs = zip(given, word, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(given), len(word)))
        return distance(given.lower(), word.lower()), -same, word

    words = list(known)
    best = min(words, key=rank, default=None)
    if best is not None:
        edits, beginning, _ = rank(best)
        if edits <= max(1, (len(given) + beginning) // 3):
            return best
    endings = (f".{given}", f"_{given}")
    return min((word for word in words if word.endswith(endings)), key=len, default=None)


def did_you_mean(given: str, known: Iterable[str]) -> str | None:
    """The hint `did you mean 'X'?`, or None if nothing is near."""
    word = nearest(given, known)
    return f"did you mean '{word}'?" if word else None
