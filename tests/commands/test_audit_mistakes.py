from __future__ import annotations

import pytest

from cnnctl.commands import audit

SIZE = "a size such as 24GB or 8GiB"
MEMORIES = "one of rows, slides, outputs, saved, peak"
HALF = "(1 − 2)/2 + 1 = 0.5"
DATA = "data.size=…"
NO_NET = "which is no net of the zoo"
MISTAKES = [
    (["vgg61"], "no net, run or file 'vgg61' (did you mean 'vgg11'?)"),
    (["claim"], "no net, run or file 'claim' (did you mean 'claims'?)"),
    (["qqqq"], "no net, run or file 'qqqq' (cnnctl list models, or a run's folder)"),
    (["lenet5", "vgg61"], "no net, run or file 'vgg61' (did you mean 'vgg11'?)"),
    (["lenet5", "batch_sise=3"], "unknown key 'batch_sise' (did you mean 'batch_size'?)"),
    (["lenet5", "trainer.clip=3"], "unknown key 'trainer.clip'"),
    (["lenet5", "memory=row"], f"memory must be {MEMORIES}, got 'row' (did you mean 'rows'?)"),
    (["lenet5", "model=vgg16"], "two nets at once: lenet5 and model=vgg16 (leave out one of them)"),
    (["--all", "lenet5", "vgg16"], "--all takes no net, got lenet5, vgg16"),
    (["lenet5", "--failed"], "--failed is an option of: cnnctl audit claims"),
    (["lenet5", "--against", "slides"], "--against takes paper, got 'slides'"),
    (
        ["lenet5", "input=1x32x32", "data=digits"],
        "input has no effect beside data=digits (leave out one of the two)",
    ),
    (["lenet5", "reserve=1GB"], "reserve=1GB has no effect without a budget (budget=24GB)"),
    (["lenet5", "budget=24"], f"budget wants {SIZE}, got '24'"),
    (["lenet5", "budget=3GB,3XB"], f"budget wants {SIZE}, got '3XB'"),
    (["lenet5", "budget="], f"budget wants {SIZE}, got ''"),
    (["lenet5", "budget=[]"], "budget names no memory (budget=3GB,24GB)"),
    (["lenet5", "reserve=1", "budget=1GB"], f"reserve wants {SIZE}, got '1'"),
    (
        ["lenet5", "input=224"],
        "input wants channels x height x width such as 3x224x224, got '224'",
    ),
    (
        ["vgg16", "input=3x20x20"],
        f"vgg16: a 20x20 image is too small for layer 'pool5': {HALF} (its own: input=3x224x224)",
    ),
    (
        ["vgg16", "data=digits", "data.size=3"],
        f"vgg16: a 3x3 image is too small for layer 'pool2': {HALF} (use larger images: {DATA})",
    ),
    (["lenet5", "model.stirct=true"], "unknown key 'model.stirct' (did you mean 'model.strict'?)"),
    (["lenet5", "mlp", "format=svg"], "format=svg draws one net, got 2 (format=html, or one net)"),
    (["latest"], "no finished run in outputs (make one with: cnnctl train)"),
    (["home"], "home is no run: it has no config.yaml (see runs with: cnnctl list runs)"),
    (["no.onnx"], "cannot read no.onnx: No such file or directory"),
    (["no.py:Net"], "there is no file no.py"),
    (["no.py:Net", "model.depth=3"], f"'model.depth=3' has no effect on no.py:Net, {NO_NET}"),
    (["no.onnx", "data=digits"], f"'data=digits' has no effect on no.onnx, {NO_NET}"),
    (["no.py:Net", "classes=5"], "classes=5 has no effect on no.py:Net"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(cnnctl, words: list[str], text: str) -> None:
    assert cnnctl("audit", *words) == (2, "", f"cnnctl: error: {text}\n")


def test_all_mistakes_are_told_at_once(cnnctl) -> None:
    code, out, err = cnnctl("audit", "batch_sise=3", "classes=1", "optimizer.lrr=1", "detail=x")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "cnnctl: error: unknown key 'batch_sise' (did you mean 'batch_size'?)",
        "cnnctl: error: unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)",
        "cnnctl: error: classes must be at least 2, got 1",
        "cnnctl: error: detail must be one of blocks, layers, all, got 'x'",
    ]


def test_a_mistake_is_one_document_with_json(cnnctl) -> None:
    outcome = cnnctl("audit", "vgg61", "--json")
    assert outcome.code == 2
    assert outcome.document["command"] == "audit"
    assert outcome.document["error"] == {
        "kind": "usage", "message": "no net, run or file 'vgg61'",
        "hint": "did you mean 'vgg11'?",
    }  # fmt: skip


def test_a_budget_for_what_cannot_be_trained_is_refused(cnnctl) -> None:
    words = ["resnet18", "input=3x32x32", "batch_size=1"]
    reason = cnnctl("audit", *words, "--json").document["result"]["nets"][0]["memory"]["reason"]
    code, out, err = cnnctl("audit", *words, "budget=1GB")
    assert (code, out, err) == (2, "", f"cnnctl: error: resnet18: {reason}\n")
    assert reason.startswith("a batch of 1 cannot be trained on")


def test_strict_names_every_layer_that_leaves_a_remainder(cnnctl) -> None:
    code, out, err = cnnctl("audit", "alexnet", "input=3x224x224", "--strict")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"cnnctl: error: fractions are illegal, but alexnet: {text}"
        for text in (
            "conv1: (224 − 11)/4 + 1 = 54.25", "pool1: (54 − 3)/2 + 1 = 26.5",
            "pool2: (26 − 3)/2 + 1 = 12.5", "pool3: (12 − 3)/2 + 1 = 5.5",
        )
    ]  # fmt: skip
    assert cnnctl("audit", "alexnet", "--strict").code == 0


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("budget=3GB,24GB", "budget=['3GB','24GB']"),
        ("budget=24GB", "budget=['24GB']"),
        ("budget=null", "budget=null"),
        ("budget=[3GB,24GB]", "budget=[3GB,24GB]"),
        ("input=224", "input='224'"),
        ("input=3x224x224", "input='3x224x224'"),
        ("reserve=1GB", "reserve='1GB'"),
        ("reserve='1GB'", "reserve='1GB'"),
        ("batch_size=32", "batch_size=32"),
        ("model.input=[1,2,3]", "model.input=[1,2,3]"),
    ],
)
def test_sizes_are_texts_for_hydra(given: str, read: str) -> None:
    assert audit._as_text(given) == read
