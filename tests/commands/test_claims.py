from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from cnnctl.commands import Call, claims
from cnnctl.errors import EXIT_USER, UsageError
from cnnctl.report import claims as view
from cnnctl.report.result import Result

PRINT_MODULES = """
import sys
from cnnctl.cli import main
code = main(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
KEYS = {
    "id", "system", "quantity", "layer", "printed", "value", "computed", "unit", "verdict",
    "status", "cause", "reason", "source", "deck", "sources", "paper", "method", "compute",
    "convention", "relation", "tolerance", "rounding", "variants", "note",
}  # fmt: skip


def asked(*words: str, overrides: tuple[str, ...] = (), **flags: str) -> Result:
    named = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    return claims.run(Call("audit", ["claims", *words], overrides, named))


def test_figures_that_differ_are_a_finding_and_no_failure() -> None:
    result = asked("googlenet")
    assert (result.view, result.code) == ("claims", 0)
    assert result.data["summary"] == {
        "holds": 3, "holds_within_rounding": 4, "differs": 5, "recorded": 1,
    }  # fmt: skip


def test_the_contract(cnnctl) -> None:
    code, _, err = outcome = cnnctl("audit", "claims", "vgg16", "--json")
    assert (code, err) == (0, "")
    assert outcome.document["command"] == "audit"
    result = outcome.document["result"]
    assert list(result) == ["claims", "summary", "contradictions", "decks"]
    assert {frozenset(claim) for claim in result["claims"]} == {frozenset(KEYS)}
    (total,) = (claim for claim in result["claims"] if claim["id"] == "vgg16.activation_bytes.93")
    assert (total["printed"], total["computed"], total["verdict"]) == (
        "93MB",
        60_950_432,
        "differs",
    )
    assert (total["cause"], total["unit"]) == ("arithmetic", "bytes")
    assert total["source"] == "002_28822be7ad278ade.txt:426, 002_28822be7ad278ade.txt:463"
    assert total["variants"][0]["computed"] == 58.126862
    assert {one["id"] for one in result["contradictions"]} >= {"vgg16-memory", "vgg-rank"}
    assert set(result["contradictions"][0]) == {
        "id", "about", "positions", "resolution", "claims", "systems",
    }  # fmt: skip


def test_failed_shows_those_that_differ() -> None:
    found = asked("vgg16", "simple_cnn", failed="").data
    assert [claim["id"] for claim in found["claims"]] == [
        "vgg16.sketch.depth", "vgg.rank.won", "vgg16.activation_total",
        "vgg16.activation_bytes.93", "vgg16.activation_bytes.96", "simple_cnn.conv1_1.params",
        "simple_cnn.conv3_1.params", "simple_cnn.conv3_2.params", "simple_cnn.features.params",
        "simple_cnn.fc1.params", "simple_cnn.fc.params", "simple_cnn.params",
        "simple_cnn.first_width",
    ]  # fmt: skip
    assert sum(found["summary"].values()) - found["summary"]["recorded"] == 89 + 28


def test_a_result_is_json_as_it_stands() -> None:
    data = asked("hardware", "efficientnet", "conv1x1").data
    assert json.loads(json.dumps(data)) == data
    assert [claim["computed"] for claim in data["claims"][-3:]] == [12.14976, 1.342604, 1.92027]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_has_a_row_for_each_and_a_reason_for_some(width: int) -> None:
    file = io.StringIO()
    data = asked("vgg16").data
    view.claims(Console(file=file, width=width, highlight=False, markup=False), data)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("✓ holds" in line for line in lines) == 61
    assert sum("≈ rounding" in line for line in lines) == 23
    assert sum("✗ differs" in line for line in lines) == 5
    assert sum("arithmetic: " in line for line in lines) == 3
    assert lines[-1] == "61 hold · 23 within rounding · 5 differ · 3 recorded only"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vg16", "no claims about 'vg16' (did you mean 'vgg16'?)"),
        ("mlp", "no claims about 'mlp' (cnnctl audit claims shows all of them)"),
    ],
)
def test_a_name_that_no_claim_is_about_is_refused(cnnctl, word: str, message: str) -> None:
    code, out, err = cnnctl("audit", "claims", word)
    assert (code, out, err) == (EXIT_USER, "", f"cnnctl: error: {message}\n")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--plot", "a.png"), "--plot"), (("--all",), "--all"), (("batch_size=8",), "batch_size=8"),
        (("--against", "paper"), "--against"), (("--failed", "--strict"), "--strict"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_refused(cnnctl, words: tuple[str, ...], what: str) -> None:
    code, out, err = cnnctl("audit", "claims", *words)
    said = f"cnnctl: error: '{what}' has no effect on: cnnctl audit claims\n"
    assert (code, out, err) == (EXIT_USER, "", said)


def test_a_mistake_is_told_without_torch() -> None:
    command = [sys.executable, "-c", PRINT_MODULES, "audit", "claims", "vg16"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, *names = done.stderr.splitlines()[-1].split()
    assert code == str(EXIT_USER)
    assert {"torch", "torchvision", "pytorch_lightning"} & set(names) == set()


def test_a_mistake_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'--debugg' has no effect"):
        asked(debugg="")
