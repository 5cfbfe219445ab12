"""Figures that lectures print, against what the zoo's nets and arithmetic come to.

claims.yaml has what is printed, where, and the formula; whether it holds is worked out here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from cnnctl.audit.formulas import Functions, evaluate, plain
from cnnctl.config.catalog import LOADER
from cnnctl.config.near import did_you_mean
from cnnctl.errors import UsageError

FILE = Path(__file__).with_name("claims.yaml")
HOLDS, ROUNDED, DIFFERS = VERDICTS = ("holds", "holds_within_rounding", "differs")
RECORDED = "paper"  # the method of figures that no arithmetic gives
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, ">": operator.gt, ">=": operator.ge,
    "between": lambda computed, printed: printed[0] <= computed <= printed[1],
}  # fmt: skip
DIGITS = 6  # decimals that are told of a fraction

Facts = dict[str, Any]


def load() -> Facts:
    """The file: decks, papers, nets of each system, claims, contradictions."""
    return yaml.load(FILE.read_text(encoding="utf-8"), LOADER)  # noqa: S506 - both are safe


def chosen(facts: Facts, words: Sequence[str]) -> Facts:
    """The facts about the systems or nets named, or all of them; each net is that of its file.

    Raises UsageError for a name that no claim is about.
    """
    nets: Mapping[str, Sequence[str]] = facts["nets"]
    systems = dict.fromkeys(claim["system"] for claim in facts["claims"])
    known = dict.fromkeys([*systems, *(net for group in nets.values() for net in group)])
    for word in words:
        if word not in known:
            hint = did_you_mean(word, known) or "cnnctl audit claims shows all of them"
            raise UsageError(f"no claims about '{word}'", hint)
    if not words:
        return facts
    wanted = {name for name in systems if {name, *nets.get(name, ())} & set(words)}
    claims = [claim for claim in facts["claims"] if claim["system"] in wanted]
    names = wanted | {claim["id"] for claim in claims}
    return facts | {"claims": claims, "contradictions": _touching(facts["contradictions"], names)}


def judged(facts: Facts) -> dict[str, Any]:
    """Every claim with its computed figure and verdict, and how many there are of each.

    Imports torch, as the formulas read nets.
    """
    from cnnctl.audit.lectures import FUNCTIONS

    claims = [_judged(claim, facts, FUNCTIONS) for claim in facts["claims"]]
    verdicts = [claim["verdict"] for claim in claims]
    summary = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    summary["recorded"] = sum(claim["status"] == "recorded" for claim in claims)
    contradictions = [
        {"claims": [], "systems": [], **contradiction} for contradiction in facts["contradictions"]
    ]
    return {
        "claims": claims,
        "summary": summary,
        "contradictions": contradictions,
        "decks": facts["decks"],
    }


def failed(result: dict[str, Any]) -> dict[str, Any]:
    """The claims that differ, and the contradictions that they are part of; the summary of all."""
    claims = [claim for claim in result["claims"] if claim["verdict"] == DIFFERS]
    found = _touching(result["contradictions"], {claim["id"] for claim in claims})
    return result | {"claims": claims, "contradictions": found}


def verdict(claim: Mapping[str, Any], computed: Any) -> str:
    """Whether the printed value stands: exactly, within its rounding, or not.

    The relation of print and figure (=, >, >=, between) must be met; a single number may miss
    it by the claim's tolerance, the bound included.
    """
    printed, tolerance = _exact(claim["value"]), _exact(claim["tolerance"])
    if RELATIONS[claim.get("relation", "=")](computed, printed):
        return HOLDS
    single = all(isinstance(value, (int, Fraction)) for value in (computed, printed))
    near = single and tolerance > 0 and abs(computed - printed) <= tolerance
    return ROUNDED if near else DIFFERS


def _judged(claim: Mapping[str, Any], facts: Facts, functions: Functions) -> dict[str, Any]:
    """One claim as the JSON contract has it."""
    computed = evaluate(str(claim["compute"]), functions)
    found = verdict(claim, computed)
    cause, reason = _explanation(claim, found, _told(computed))
    sources = [_source(text, facts["decks"]) for text in claim["sources"]]
    variants = [
        variant | {"computed": _told(evaluate(variant["compute"], functions))}
        for variant in claim.get("variants", ())
    ]
    return {
        "id": claim["id"], "system": claim["system"], "quantity": claim["quantity"],
        "layer": claim.get("layer"), "printed": claim["printed"], "value": claim["value"],
        "computed": _told(computed), "unit": claim["unit"], "verdict": found,
        "status": "recorded" if claim["method"] == RECORDED else "computed",
        "cause": cause, "reason": reason,
        "source": ", ".join(claim["sources"]), "deck": sources[0]["deck"], "sources": sources,
        "paper": facts["papers"].get(claim.get("paper")), "method": claim["method"],
        "compute": str(claim["compute"]), "convention": claim.get("convention"),
        "relation": claim.get("relation", "="), "tolerance": claim["tolerance"],
        "rounding": claim["rounding"], "variants": variants, "note": claim.get("note"),
    }  # fmt: skip


def _explanation(
    claim: Mapping[str, Any], found: str, computed: Any
) -> tuple[str | None, str | None]:
    """Why a print differs, as people found; without them, no more than the two figures."""
    if found != DIFFERS:
        return None, None
    if "cause" in claim:
        return claim["cause"], claim["reason"]
    return None, f"computed {computed} {claim['unit']}, printed '{claim['printed']}'"


def _touching(contradictions: Sequence[Facts], names: set[str]) -> list[Facts]:
    """Those about one of the claims or systems named."""
    return [
        one for one in contradictions if names & {*one.get("claims", ()), *one.get("systems", ())}
    ]


def _source(text: str, decks: Mapping[str, str]) -> dict[str, str]:
    """FILE:LINE or FILE:LINE-LINE, and what the deck is about."""
    file, _, line = text.partition(":")
    return {"file": file, "line": line, "deck": decks[file]}


def _exact(value: Any) -> Any:
    """A printed value with its decimals as they are printed."""
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return plain(Fraction(str(value))) if isinstance(value, float) else value


def _told(value: Any) -> Any:
    """A computed value as JSON has it."""
    if isinstance(value, list):
        return [_told(item) for item in value]
    return round(float(value), DIGITS) if isinstance(value, Fraction) else value
