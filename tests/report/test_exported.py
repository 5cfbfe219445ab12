from __future__ import annotations

from typing import Any

import pytest
from views import lines

ROW: dict[str, Any] = {
    "n": 256, "max_abs_error": 2.4e-07, "top1_agreement": 1.0, "top1_eager": 0.9453125,
    "top1_export": 0.9453125,
}  # fmt: skip
RAW: dict[str, Any] = {
    **ROW,
    "n": 32,
    "error": 0.0,
    "tolerance": 0.01,
    "sizes": 17,
    "scaled": False,
}
FOLDER = "outputs/export/2026-11-21_14-03-19_lenet5_digits_7f3a"
EXPORTED: dict[str, Any] = {
    "run": "outputs/train/run", "checkpoint": "outputs/train/run/checkpoints/best.ckpt",
    "model": "lenet5", "file": f"{FOLDER}/lenet5.onnx", "format": "onnx", "bytes": 312_345,
    "sha256": "50a60eb4f21f30f1" * 4, "include": ["preprocess", "softmax"], "params": 61706,
    "dynamic_batch": True, "precision": "fp32", "quantize": None,
    "manifest": f"{FOLDER}/manifest.json", "card": f"{FOLDER}/README.md",
    "parity": {
        **ROW, "split": "test", "of": "probabilities", "error": 2.4e-07, "tolerance": 1e-4,
        "batches": [{"batch_size": size, **ROW} for size in (1, 3, 32)], "raw": RAW,
    },
}  # fmt: skip
INT8 = {
    "kind": "int8", "top1_lost": 0.0078125, "interval": [-0.005, 0.0212], "p": 0.53,
    "drop": 0.02, "bytes_before": 450_000,
    "calibrated_on": 128,
}  # fmt: skip


def with_parity(**changes: Any) -> dict[str, Any]:
    return {**EXPORTED, "parity": {**EXPORTED["parity"], **changes}}


@pytest.mark.parametrize("width", [80, 120])
def test_the_proof_fits_the_terminal(width: int) -> None:
    found = lines("exported", EXPORTED, width)
    assert all(len(line) <= width for line in found[:7])
    assert found[0].startswith("256 test images")
    rows = [line.split("  ")[0] for line in found[2:6]]
    assert rows == ["batches of 1", "batches of 3", "batches of 32", "17 own sizes"]
    assert "2.4e-07" in found[2]
    assert "94.53 %" in found[2]


def test_what_it_is_and_where() -> None:
    found = lines("exported", EXPORTED, 120)
    inside = "preprocess and softmax inside"
    assert f"format    onnx · fp32 · any batch · {inside} · 0.31 MB" in found
    assert "error     2.4e-07 of the largest logit, 1.0e-04 is allowed" in found
    assert "sha256    50a60eb4f21f30f1…" in found
    assert f"file      {FOLDER}/lenet5.onnx" in found


@pytest.mark.parametrize("width", [80, 120])
def test_of_images_made_anew_there_is_no_class(width: int) -> None:
    row = {"n": 256, "max_abs_error": 2.4e-07}
    for who in ("eager", "export"):
        row |= {f"explained_{who}": 0.875, f"psnr_{who}": 21.456, f"mse_{who}": 0.007}
    told = {"of": "intensities", "error": 2.4e-07, "tolerance": 1e-4, "split": "test", "raw": None}
    parity = {**row, **told, "batches": [{"batch_size": 1, **row}]}
    found = lines("exported", {**EXPORTED, "include": ["preprocess"], "parity": parity}, width)
    assert "same class" not in found[0]
    assert found[0].endswith("explained net  explained file")
    assert found[2].endswith("87.50 %         87.50 %")
    assert all(len(line) <= width for line in found[:4])
    assert "error     2.4e-07 of the largest intensity, 1.0e-04 is allowed" in found
    assert found[-1] == f"  cnnctl predict {EXPORTED['file']} FOLDER"


def test_commands_are_never_cut_so_that_they_can_be_copied() -> None:
    long = {**EXPORTED, "file": "outputs/" + "r" * 100 + "/net.onnx"}
    assert lines("exported", long, 80)[-2:] == [
        f"  cnnctl evaluate {long['file']}", f"  cnnctl bench {long['file']}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {**EXPORTED, "include": [], "dynamic_batch": False, "precision": "fp16"},
            "format    onnx · fp16 · batches of 1 · 0.31 MB",
        ),
        (
            with_parity(of="logits", error=0.0),
            "error     0 of the largest logit, 1.0e-04 is allowed",
        ),
        (
            with_parity(tolerance=None),
            "error     2.4e-07 of the largest logit; int8 is judged by top-1",
        ),
        (
            {**EXPORTED, "quantize": INT8},
            "int8      top-1 -0.78 points, 95 % -2.12 to +0.50 (p = 0.53)",
        ),
    ],
)
def test_what_is_special_is_told(data: dict[str, Any], line: str) -> None:
    assert line in lines("exported", data, 120)
    assert line not in lines("exported", EXPORTED, 120)


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        ({**RAW, "sizes": 1}, "their own size"),
        ({**RAW, "sizes": 3, "scaled": True}, "scaled to 3 sizes"),
        (None, "batches of 32"),
    ],
)
def test_raw_images_are_named_by_their_sizes(raw: dict[str, Any] | None, start: str) -> None:
    found = lines("exported", with_parity(raw=raw), 120)
    last = found.index("") - 1
    assert found[last].startswith(start)
