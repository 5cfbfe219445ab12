from __future__ import annotations

import csv
import io
from pathlib import Path

import audits
import pytest

from cnnctl.report import tabular

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
NETS = ("lenet5", "vgg16", "resnet50", "googlenet")


def rows(*nets) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tabular.csv(nets))))


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each Markdown table; a bar behind a backslash is part of its cell."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("| "):
            cells = line.replace("\\|", "\0")[2:-2].split(" | ")
            found[-1].append([cell.replace("\0", "|").strip() for cell in cells])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.mark.parametrize("name", NETS)
def test_the_rows_of_csv_add_up_to_the_totals(name) -> None:
    net = audits.of(name)
    sums = {
        key: sum(int(row[column]) for row in rows(net))
        for column, key in (
            ("params", "params"), ("weights", "weights"), ("macs", "macs"),
            ("activation_values", "activations"), ("activation_bytes", "bytes"),
        )
    }  # fmt: skip
    assert sums == {key: net["totals"][key] for key in sums}


@pytest.mark.parametrize("name", NETS)
def test_csv_has_a_row_for_each_layer_and_a_column_for_each_key(name) -> None:
    net = audits.of(name)
    written = rows(net)
    assert [row["name"] for row in written] == [layer["name"] for layer in net["layers"]]
    assert {row["net"] for row in written} == {name}
    keys = {key for layer in net["layers"] for key in layer}
    assert keys <= set(tabular.COLUMNS.values())


def test_a_row_of_csv_by_hand() -> None:
    conv = rows(audits.of("vgg16"))[1]
    assert conv == {
        "net": "vgg16", "convention": "rows", "batch_size": "32", "name": "conv1_1",
        "type": "Conv2d", "kind": "conv", "call": "0", "kernel": "3x3", "stride": "1x1",
        "padding": "1x1", "dilation": "1x1", "groups": "1", "transposed": "false",
        "output": "64x224x224", "values": "3211264", "activation_values": "3211264",
        "activation_bytes": "12845056", "kept_bytes": conv["kept_bytes"], "params": "1792",
        "weights": "1728", "macs": "86704128", "receptive_field_px": "3",
        "receptive_field_by_axis_px": "", "jump_px": "1", "sees_all": "false",
        "sees_enough": "false",
    }  # fmt: skip


def test_csv_tells_what_is_not_available_from_what_is_not_there_and_from_nothing() -> None:
    odd = audits.layer("a,b", "join", activations=None, kept_bytes=None, bytes=0)
    (_, row) = rows(audits.net(odd))
    assert (row["name"], row["kernel"]) == ("a,b", "")
    assert (row["activation_values"], row["activation_bytes"], row["kept_bytes"]) == (
        "n/a", "0", "n/a",
    )  # fmt: skip


def test_csv_of_several_nets_has_one_head() -> None:
    written = rows(audits.of("lenet5"), audits.of("mlp", "slides"))
    assert {(row["net"], row["convention"]) for row in written} == {
        ("lenet5", "rows"), ("mlp", "slides"),
    }  # fmt: skip
    assert "convention" not in {row["convention"] for row in written}


def test_markdown_looks_as_it_did(*, overwrite: bool) -> None:
    last = audits.layer(
        "fc", "dense", output=[10], params=330, weights=320, macs=320, activations=10, bytes=40,
        receptive_field=None, jump=None, sees_all=True, kept_bytes=None,
    )  # fmt: skip
    text = tabular.md([audits.net(audits.layer("conv1", receptive_field=3), last)])
    golden = GOLDEN / "audit.md"
    if overwrite:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETS)
def test_each_row_of_a_markdown_table_is_as_wide_as_its_head(name) -> None:
    text = tabular.md([audits.of(name)])
    found = tables(text)
    assert len(found[0]) == len(audits.of(name)["layers"]) + 2
    assert [table[0][0] for table in found] == ["layer", "total", "memory"]
    for table in found:
        assert {len(row) for row in table} == {len(table[0])}
    for block in text.split("\n\n"):
        if block.startswith("| "):
            assert len({len(line) for line in block.splitlines()}) == 1


def test_the_rows_of_markdown_add_up_to_the_totals() -> None:
    net = audits.of("resnet50")
    head, _, *layers = tables(tabular.md([net]))[0]
    for column, key in (("parameters", "params"), ("multiply-adds per image", "macs")):
        cells = [row[head.index(column)].replace(",", "") for row in layers]
        assert sum(map(int, cells)) == net["totals"][key]


def test_names_cannot_break_a_table() -> None:
    odd = audits.layer("a|b*c<d`e\\f", "join")
    head, _, _, row = tables(tabular.md([audits.net(odd)]))[0]
    assert row[0] == "a|b\\*c\\<d\\`e\\\\f"
    assert len(row) == len(head)


def test_a_second_call_is_told() -> None:
    twice = audits.net(audits.layer("conv"), audits.layer("conv", call=1, params=0))
    assert [row[0] for row in tables(tabular.md([twice]))[0][2:]] == [
        "input", "conv", "conv (call 2)",
    ]  # fmt: skip


def test_several_nets_are_compared_first() -> None:
    nets = [audits.net(name="one"), audits.net(name="two", memory=audits.UNTRAINED)]
    text = tabular.md(nets)
    assert tables(text)[0] == [
        ["net", "image", "parameters", "multiply-adds per image", "weight layers",
         "activations of one image", "field", "training step at the peak", "step"],
        ["-" * 3, "-" * 5, "-" * 9 + ":", "-" * 22 + ":", "-" * 12 + ":", "-" * 23 + ":",
         "-" * 4 + ":", "-" * 24 + ":", "-" * 30],
        ["one", "1×4×4", "0", "0", "2", "192 B", "n/a", "12.50 MB",
         "batch 2 · 32-true · adam · cpu"],
        ["two", "1×4×4", "0", "0", "2", "192 B", "n/a", "n/a",
         "batch 2 · 32-true · adam · cpu"],
    ]  # fmt: skip
    assert [line for line in text.splitlines() if line.startswith("#")] == ["## one", "## two"]


def test_budgets_and_other_steps_have_tables_where_they_are_asked_for() -> None:
    fit = {"name": "3GB", "budget": 3 * 10**9, "reserve": 0, "batch_size": 7, "peak": 2_500_000}
    other = {"precision": "bf16-mixed", "optimizer": "sgd", "batch_size": 8, "peak": 1_500_000}
    net = audits.net(budget=[fit | {"wanted": 2, "fits": True}], what_if=[other])
    budget, what_if = tables(tabular.md([net]))[3:]
    assert budget[2] == ["3GB", "0 B", "7", "2.50 MB (2.38 MiB)", "fits"]
    assert (what_if[0][2], what_if[2]) == ("peak, batch 8", ["bf16-mixed", "sgd", "1.50 MB"])
