from __future__ import annotations

from dataclasses import replace
from typing import Any

from exports import cpu, manifest
from zoo import spec

from cnnctl.export import card

ROW: dict[str, Any] = {
    "n": 256, "max_abs_error": 2.4e-07, "top1_agreement": 1.0, "top1_eager": 0.9453125,
    "top1_export": 0.94140625,
}  # fmt: skip
FACTS: dict[str, Any] = {
    "file": "lenet5.onnx", "bytes": 450_892, "sha256": "ab" * 32, "params": 61706,
    "parity": {
        **ROW, "split": "test", "of": "probabilities",
        "batches": [{"batch_size": size, **ROW} for size in (1, 3, 32)],
        "raw": {**ROW, "n": 32, "sizes": 3, "scaled": True},
    },
}  # fmt: skip


def lines(figures: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    train, _ = cpu()
    return card.text(spec("lenet5"), train, manifest(**changes), FACTS, figures).splitlines()


def test_it_names_net_paper_data_and_contract() -> None:
    found = lines()
    assert found[0] == "# lenet5 on digits"
    for line in (
        f"| file | `lenet5.onnx`, onnx, fp32, 450,892 bytes, sha256 `{'ab' * 32}` |",
        "| net | lenet5 (lenet), 61,706 parameters |",
        ("| paper | LeCun et al. 1998, Gradient-based learning applied to document recognition |"),
        (
            "| input | `images`, uint8 (batch, 1, height, width): grey bytes of any size; the"
            " short side becomes 32, the centre is kept |"
        ),
        "| output | `probabilities`, float32 (batch, 10) |",
        f"| from | `best.ckpt`, weights sha256 `{'0' * 64}` |",
        "| made with | cnnctl 0 |",
    ):
        assert line in found


def test_figures_have_intervals() -> None:
    found = lines({"top1": 0.9, "n": 1000})
    assert "| the net, all test images | 1,000 | 90.00 % | 87.98 % to 91.71 % |" in found
    assert "| the net, test images of the proof | 256 | 94.53 % | 91.03 % to 96.71 % |" in found
    assert any(
        line.startswith("| this file, test images of the proof | 256 | 94.14 %") for line in found
    )


def test_what_a_run_measured_with_mirror_images_says_so() -> None:
    train, _ = cpu()
    flipped = replace(train, trainer=replace(train.trainer, test_flip=True))
    figures = {"top1": 0.9, "n": 1000}
    told = card.text(spec("lenet5"), flipped, manifest(), FACTS, figures)
    assert "| the net, all test images and their mirror images | 1,000 | 90.00 % |" in told


def test_lines_that_resize_by_themselves_are_only_near() -> None:
    assert card.NEAR in lines(include=("softmax",))
    assert card.NEAR not in lines()


def test_without_a_run_there_are_only_those_of_the_proof() -> None:
    assert not any("all test images" in line for line in lines())


def test_the_proof_is_a_table() -> None:
    found = lines()
    for size in (1, 3, 32):
        assert f"| batches of {size} | 256 | 2.4e-07 | 100.00 % |" in found
    assert "| 3 other sizes, one by one | 32 | 2.4e-07 | 100.00 % |" in found


def test_the_lines_that_run_it_are_there() -> None:
    found = lines()
    start = found.index("```python")
    assert found.index("```") == start + 6


def test_many_classes_are_cut_and_bars_do_not_break_tables() -> None:
    found = lines(classes=tuple(f"c{number}" for number in range(30)))
    assert any(line.endswith("c19, and 10 more: `manifest.json`") for line in found)
    assert "| a/b |" in card._table(("x",), [("a|b",)])


def test_the_licence_of_the_images_is_told() -> None:
    assert "CC BY 4.0" in lines()[-1]


def test_integers_are_told() -> None:
    assert any("onnx, int8, 450,892 bytes" in line for line in lines(quantize="int8"))
