from __future__ import annotations

import copy
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cnnctl.report import claims

DECKS = {"000_aab3.txt": "introduction", "002_2882.txt": "basics, the VGG-16 table"}


def claim(name: str, printed: str, computed: Any, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "system": "vgg16", "printed": printed, "computed": computed, "unit": "values",
        "verdict": verdict, "status": "computed", "cause": None, "reason": None,
        "sources": [{"file": "002_2882.txt", "line": "403", "deck": DECKS["002_2882.txt"]}],
    } | more  # fmt: skip


def at(*places: str) -> list[dict[str, str]]:
    return [
        {"file": file, "line": line, "deck": DECKS[file]}
        for file, line in (place.split(":") for place in places)
    ]


DATA: dict[str, Any] = {
    "claims": [
        claim("image.length", "1,166400", 3499200, "differs", system="image",
              cause="arithmetic", reason="The printed length leaves out the three channels."),
        claim("vgg16.conv1_1.shape", "224x224x64", [224, 224, 64], "holds", unit="shape"),
        claim("vgg16.conv1_1.memory", "224*224*64=3.2M", 3211264, "holds_within_rounding",
              sources=at("000_aab3.txt:895", "002_2882.txt:404")),
        claim("vgg16.bytes", "93MB", 60950432, "differs", unit="bytes",
              reason="computed 60950432 bytes, printed '93MB'",
              sources=at("000_aab3.txt:885", "002_2882.txt:426", "002_2882.txt:463")),
        claim("alexnet.top5", "15.3%", 15.3, "holds", system="alexnet", unit="percent",
              status="recorded"),
    ],
    "summary": {"holds": 2, "holds_within_rounding": 1, "differs": 2, "recorded": 1},
    "contradictions": [
        {"id": "vgg-rank", "about": "VGG in ILSVRC-2014", "resolution": "second, behind GoogLeNet",
         "positions": [{"source": "002_2882.txt:386", "says": "won"},
                       {"source": "000_aab3.txt:843-844", "says": "runner-up"}]},
    ],
    "decks": DECKS | {"003_b590.txt": "not named here"},
}  # fmt: skip


def shown(data: dict[str, Any], width: int = 80, **options: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, markup=False, **options)
    claims.claims(console, data)
    return file.getvalue()


def with_claims(*found: dict[str, Any]) -> dict[str, Any]:
    return DATA | {"claims": list(found), "contradictions": []}


def test_the_whole_view() -> None:
    assert shown(DATA).splitlines() == [
        "claim             printed          computed    verdict     source",
        "─" * 69,
        "image",
        "  length          1,166400         3,499,200   ✗ differs   002:403",
        "    arithmetic: The printed length leaves out the three channels.",
        "    002_2882.txt:403",
        "vgg16",
        "  conv1_1.shape   224x224x64       224×224×64  ✓ holds     002:403",
        "  conv1_1.memory  224*224*64=3.2M  3,211,264   ≈ rounding  000:895 +1",
        "  bytes           93MB             60.95 MB    ✗ differs   000:885 +2",
        "    computed 60950432 bytes, printed '93MB'",
        "    000_aab3.txt:885 · 002_2882.txt:426, 463",
        "alexnet",
        "  top5            15.3%            15.3 %*     ✓ holds     002:403",
        "",
        "contradictions between the decks",
        "  VGG in ILSVRC-2014",
        "    002:386      won",
        "    000:843-844  runner-up",
        "    → second, behind GoogLeNet",
        "",
        "000  000_aab3.txt  introduction",
        "002  002_2882.txt  basics, the VGG-16 table",
        "*    recorded in the paper, not computed here",
        "",
        "2 hold · 1 within rounding · 2 differ · 1 recorded only",
    ]


def test_claims_of_a_system_stand_together() -> None:
    first, second, third, *_ = DATA["claims"]
    lines = shown(with_claims(second, first, third)).splitlines()
    assert [line for line in lines[2:8] if not line.startswith("    ")] == [
        "vgg16", *[line for line in lines if "conv1_1" in line], "image", lines[6],
    ]  # fmt: skip
    assert lines.count("vgg16") == 1


def test_the_head_is_there_once() -> None:
    assert shown(DATA).count("computed  ") == 1
    assert shown(DATA).count("───") == shown(DATA).splitlines()[1].count("───")


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (72, "  conv4_1.params  (3*3*256)*512 = 1,179,648  1,179,648  ✓ holds  002:403"),
        (70, "  conv4_1.params  …3*256)*512 = 1,179,648  1,179,648  ✓ holds  002:403"),
        (60, "  …v4_1.params  …12 = 1,179,648  1,179,648  ✓ holds  002:403"),
        (50, "  …params  …1,179,648  1,179,648  ✓ holds  002:403"),
    ],
)
def test_what_is_too_long_keeps_its_end(width: int, row: str) -> None:
    one = claim("vgg16.conv4_1.params", "(3*3*256)*512 = 1,179,648", 1179648, "holds")
    assert shown(with_claims(one), width).splitlines()[3] == row
    assert len(row) <= width


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (138357544, "parameters", "138,357,544"), (0, "parameters", "0"), (-4, "pixels", "-4"),
        (2.333333, "pixels", "2.33333"), (0.0869565, "share", "0.0869565"),
        (1016.087067, "times", "1,016.09"),
        (60950432, "bytes", "60.95 MB"), (6.67, "percent", "6.67 %"), (7, "percent", "7 %"),
        ([27, 27, 96], "shape", "27×27×96"), ([4096], "shape", "4096"),
        ([11, 19], "layers", "11 19"),
        ([-10, 6], "values", "-10 6"), ("vgg19", "network", "vgg19"),
    ],
)  # fmt: skip
def test_a_figure_has_the_form_of_its_unit(value: Any, unit: str, text: str) -> None:
    assert claims.figure(value, unit) == text


def test_colour_is_style_and_marks_are_words() -> None:
    plain = shown(DATA)
    coloured = shown(DATA, force_terminal=True, color_system="standard")
    assert "\x1b[" not in plain
    assert "\x1b[1;31m✗ differs\x1b[0m" in coloured
    assert "\x1b[32m✓ holds\x1b[0m" in coloured
    assert "\x1b[36m≈ rounding\x1b[0m" in coloured
    assert "[bold]" in shown(with_claims(claim("a.b", "[bold]3[/bold]", 3, "holds")))


@pytest.mark.parametrize(
    ("holds", "differs", "text"),
    [
        (0, 0, "0 hold · 4 within rounding · 0 differ · 3 recorded only"),
        (1, 2, "1 holds · 4 within rounding · 2 differ · 3 recorded only"),
        (232, 1, "232 hold · 4 within rounding · 1 differs · 3 recorded only"),
    ],
)
def test_the_last_line_counts(holds: int, differs: int, text: str) -> None:
    told = {"holds": holds, "holds_within_rounding": 4, "differs": differs, "recorded": 3}
    assert shown(DATA | {"summary": told}).splitlines()[-1] == text


def test_without_claims_there_is_only_the_count() -> None:
    empty = {"holds": 3, "holds_within_rounding": 0, "differs": 0, "recorded": 0}
    assert shown(with_claims() | {"summary": empty}) == (
        "3 hold · 0 within rounding · 0 differ · 0 recorded only\n"
    )


def test_a_long_reason_is_a_paragraph_and_no_row() -> None:
    wordy = copy.deepcopy(DATA["claims"][0]) | {"reason": "because of " * 20 + "all that"}
    lines = shown(with_claims(wordy)).splitlines()
    reason = [line for line in lines if "because" in line or "all that" in line]
    assert len(reason) == 4
    assert all(line.startswith("    ") and not line.startswith("     ") for line in reason)
    assert " ".join(line.strip() for line in reason) == f"arithmetic: {wordy['reason']}"


WORDS = st.text("abc 0123=*×", min_size=1, max_size=70)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(WORDS, st.integers(0, 10**12)), min_size=1, max_size=4), st.integers(60, 130)
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, int]], width: int) -> None:
    found = [
        claim(
            f"a.{number}.{text[::-1]}",
            text,
            value,
            "differs",
            reason=f"as {text} is not {text} here",
        )
        for number, (text, value) in enumerate(rows)
    ]
    lines = shown(with_claims(*found), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert sum("✗ differs" in line for line in lines) == len(rows)
    assert [line for line in lines if line != line.rstrip()] == []
