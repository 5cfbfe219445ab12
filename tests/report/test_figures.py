from __future__ import annotations

import audits
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.report import figures


@pytest.mark.parametrize(
    ("size", "decimal", "both"),
    [
        (None, "n/a", "n/a"),
        (0, "0 B", "0 B"),
        (1023, "1023 B", "1023 B"),
        (1024, "1.0 kB", "1.0 kB (1.0 KiB)"),
        (32_256, "32.3 kB", "32.3 kB (31.5 KiB)"),
        (1_000_000, "1.00 MB", "1.00 MB (0.95 MiB)"),
        (124_356_510_000, "124,356.51 MB", "124,356.51 MB (118,595.61 MiB)"),
    ],
)
def test_bytes_have_both_units(size, decimal, both) -> None:
    assert figures.decimal(size) == decimal
    assert figures.both(size) == both
    assert figures.binary(size) == (both.split("(")[-1].rstrip(")") if "(" in both else decimal)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (4000, "4,000"), (999_999, "999,999"), (1_000_000, "1 M"), (4_073_600, "4.074 M"),
     (15_470_264_320, "15.47 G"), (2.5, "2.5")],
)  # fmt: skip
def test_large_counts_are_shortened(value, text) -> None:
    assert figures.large(value) == text


@pytest.mark.parametrize(
    ("size", "of", "text"),
    [(None, "MB", "n/a"), (0, "MB", "0"), (512, "MB", "<0.001"), (1000, "MB", "0.001"),
     (9, "kB", "<0.01"), (10, "kB", "0.01"), (3_211_264, "MB", "3.211")],
)  # fmt: skip
def test_a_layer_with_some_memory_is_never_shown_with_none(size, of, text) -> None:
    assert figures.memory(size, of) == text


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**13), st.sampled_from(["kB", "MB"]))
def test_memory_is_rounded_but_never_to_nothing(size, of) -> None:
    text = figures.memory(size, of).replace(",", "")
    one, digits = figures.UNITS[of]
    if text.startswith("<"):
        assert size < one * 10**-digits
    else:
        assert float(text) > 0
        assert float(text) == pytest.approx(size / one, abs=0.5 * 10**-digits * 1.001)


def test_small_nets_are_measured_in_kb() -> None:
    assert [figures.unit(audits.of(name)) for name in ("lenet5", "vgg16")] == ["kB", "MB"]


def test_the_cells_of_a_layer() -> None:
    conv = audits.of("vgg16")["layers"][1]
    assert figures.cells(conv | {"kept_bytes": 0}, "MB") == {
        "window": "3×3 p1", "output": "64×224×224", "activations": "3,211,264",
        "bytes": "12.845", "kept_bytes": "0", "params": "1,792", "macs": "86,704,128",
        "field": "3", "jump": "1",
    }  # fmt: skip


def test_what_is_not_available_is_never_0() -> None:
    unknown = dict.fromkeys(("activations", "bytes", "kept_bytes", "receptive_field", "jump"))
    cells = figures.cells(audits.layer("x", "join", **unknown), "MB")
    assert {cells[key] for key in ("activations", "bytes", "kept_bytes", "field", "jump")} == {
        "n/a"
    }


def test_the_heads_say_of_how_many_images_the_memory_is() -> None:
    heads = [figures.heads(audits.of("vgg16", memory)) for memory in ("rows", "saved")]
    assert [head["bytes"] for head in heads] == [("memory", "MB"), ("memory", "MB, batch 32")]
    assert {head["kept_bytes"] for head in heads} == {("kept", "MB, batch 32")}
    assert all(set(head) == set(figures.cells(audits.layer("x"), "MB")) for head in heads)


def test_notes_say_the_convention() -> None:
    rows, saved = (figures.notes(audits.of("vgg16", memory)) for memory in ("rows", "saved"))
    assert rows[0] == (
        "Activations and memory, of one image: outputs of convolutions, pools and dense layers, "
        "and the image, as lectures list them (memory=rows)."
    )
    assert saved[0].startswith("Activations and memory, of the batch: what the forward pass keeps")
    assert "FLOPs are twice as many" in rows[2]


def test_notes_explain_a_mark_where_it_stands() -> None:
    idle = audits.net(audits.layer("conv", sees_enough=True))
    assert "*: the window sees nothing new" in figures.notes(idle)[-1]
    assert "*" not in figures.notes(audits.net(audits.layer("conv")))[-1]


def test_a_reserve_is_explained_where_it_is_estimated() -> None:
    made = audits.MEMORY | {"accelerator": "gpu"}
    assert "not calibrated" in " ".join(figures.notes(audits.net(budget=[], memory=made)))
    assert "not calibrated" not in " ".join(figures.notes(audits.net(budget=[])))
    assert "not calibrated" not in " ".join(figures.notes(audits.net(memory=made)))


def test_the_facts_of_a_net() -> None:
    told = {name: (figure, more) for name, figure, more in figures.facts(audits.of("resnet50"))}
    assert told["parameters"] == ("25,557,032", "25,529,472 without biases, 53,173 in buffers")
    assert told["multiply-adds"][0] == "3.858 G"
    assert told["multiply-adds"][1].endswith("in training, FLOPs 7.716 G")
    assert told["depth"] == ("50", "weight layers on the longest path")
    assert told["receptive field"] == ("483 px", "of the last layer that has one")
    assert told["activations"] == ("43.77 MB", "41.74 MiB; one image, memory=rows")


def test_where_there_is_no_step_its_figures_are_not_available() -> None:
    net = audits.net(memory=audits.UNTRAINED)
    net["totals"]["training_macs"] = None
    told = {name: (figure, more) for name, figure, more in figures.facts(net)}
    assert told["weights"] == ("n/a", "with buffers, 32-true")
    assert told["training step"] == ("n/a", "at the peak, batch 2 · 32-true · adam · cpu")
    assert told["multiply-adds"] == ("0", "per image; FLOPs 0")
    assert figures.where(net) == "not available: a reason"


def test_frozen_and_unused_parameters_are_told() -> None:
    net = audits.net(audits.layer("conv"))
    net["totals"] |= {"frozen": 1200, "unused": {"params": 7, "names": ["x"]}}
    (_, _, more), *_ = figures.facts(net)
    assert more == "36 without biases, 1,200 frozen, 7 not used in this pass"


def test_where_the_peak_is() -> None:
    assert figures.where(audits.net()) == "backward of conv1, convolution_backward"
    made = audits.MEMORY | {"where": {"phase": "loss", "layer": "", "op": "nll_loss_forward"}}
    assert figures.where(audits.net(memory=made)) == "loss, nll_loss_forward"


def test_how_a_step_is_made() -> None:
    made = audits.MEMORY | {"channels_last": True, "accumulate": 4}
    assert figures.setting(audits.net(memory=made)) == (
        "batch 2 · 32-true · adam · cpu · channels last · 4 batches a step"
    )


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([audits.layer("a", receptive_field=5), audits.layer("b", receptive_field=None)], "5 px"),
        ([audits.layer("a", receptive_field=5, sees_all=True, sees_enough=True)], "5 px + all"),
        ([audits.layer("a", receptive_field=7, receptive_field_by_axis=[7, 3])], "7×3 px"),
        ([audits.layer("a", receptive_field=None, sees_all=True)], "all"),
        ([audits.layer("a", receptive_field=None, sees_all=None)], "n/a"),
    ],
)
def test_what_a_net_sees(layers, text) -> None:
    assert figures.sees(audits.net(*layers)) == text


def test_a_budget_without_room_for_an_image() -> None:
    none = {"name": "1MB", "budget": 10**6, "reserve": 5, "batch_size": 0, "peak": 0, "wanted": 4,
            "fits": False}  # fmt: skip
    room = none | {"name": "9GB", "batch_size": 1234, "peak": 2 * 10**6, "fits": True}
    assert figures.budget(audits.net(budget=[none, room])) == (
        ("budget", "reserve", "largest batch", "its tensors", "batch 4"),
        [["1MB", "5 B", "none", "n/a", "does not fit"],
         ["9GB", "5 B", "1,234", "2.00 MB (1.91 MiB)", "fits"]],
    )  # fmt: skip


def test_other_steps_stand_by_batch() -> None:
    rows = [
        {"precision": precision, "optimizer": "sgd", "batch_size": batch, "peak": peak}
        for precision, batch, peak in (
            ("32-true", 8, 3_000_000), ("32-true", 1024, None), ("bf16-mixed", 8, 2_000_000),
            ("bf16-mixed", 1024, 4_000_000),
        )
    ]  # fmt: skip
    assert figures.what_if(audits.net(what_if=rows)) == (
        ("precision", "optimizer", "peak, batch 8", "peak, batch 1,024"),
        [["32-true", "sgd", "3.00 MB", "n/a"], ["bf16-mixed", "sgd", "2.00 MB", "4.00 MB"]],
    )
    assert figures.what_if(audits.net())[1] == figures.budget(audits.net())[1] == []


def test_every_convention_is_told() -> None:
    head, rows = figures.conventions(audits.of("vgg16"))
    assert head == ("memory", "values", "bytes", "images", "counts")
    assert [row[:2] for row in rows[:3]] == [
        ["rows", "15,237,608"], ["slides", "24,352,744"], ["outputs", "28,642,792"],
    ]  # fmt: skip
    assert [(row[0], row[1], row[3]) for row in rows[3:]] == [
        ("saved", "n/a", "32"), ("peak", "n/a", "32"),
    ]  # fmt: skip
