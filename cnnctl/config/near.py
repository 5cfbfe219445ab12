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

    Near enough is one edit for every three letters, and at least one. Equal distances are
    settled by the longer common beginning, then by the alphabet, so the answer is stable.
    """

    def rank(word: str) -> tuple[int, int, str]:
        same = next(
            (i for i, (a, b) in enumerate(zip(given, word, strict=False)) if a != b), len(given)
        )
        return distance(given.lower(), word.lower()), -same, word

    best = min(known, key=rank, default=None)
    if best is None or rank(best)[0] > max(1, len(given) // 3):
        return None
    return best


def did_you_mean(given: str, known: Iterable[str]) -> str | None:
    """The hint `did you mean 'X'?`, or None if nothing is near."""
    word = nearest(given, known)
    return f"did you mean '{word}'?" if word else None
