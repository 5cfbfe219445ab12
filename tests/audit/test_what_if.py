from __future__ import annotations

from dataclasses import replace

from audited import ADAM, NORMED, subject

from cnnctl.audit.budget import MOMENTUM, what_if
from cnnctl.audit.step import Setting, measure


def test_what_if_tries_other_batches_precisions_and_rules() -> None:
    net, setting = subject("lenet5"), Setting(8, ADAM)
    rows = what_if(net, setting)
    assert [(row["precision"], row["optimizer"], row["batch_size"]) for row in rows] == [
        (precision, rule, batch)
        for precision in ("32-true", "bf16-mixed")
        for rule in ("sgd", "adam")
        for batch in (2, 4, 8, 16, 32)
    ]
    peaks = {tuple(row.values())[:3]: row["peak"] for row in rows}
    for batch in (2, 32):
        for rule in (ADAM, MOMENTUM):
            made = replace(setting, batch_size=batch, optimizer=rule)
            peak = measure(net.net, net.input, made).peak
            assert peaks["32-true", rule.name, batch] == peak
    assert all(peaks["32-true", "adam", n] > peaks["32-true", "sgd", n] for n in (2, 32))
    assert peaks["bf16-mixed", "sgd", 32] < peaks["32-true", "sgd", 32]


def test_what_if_keeps_the_rule_and_the_precision_that_are_set() -> None:
    plain = replace(MOMENTUM, momentum=0)
    rows = what_if(subject("perceptron"), Setting(1, plain, "64-true"))
    assert {row["optimizer"] for row in rows} == {"sgd"}
    assert list(dict.fromkeys(row["precision"] for row in rows)) == [
        "64-true", "32-true", "bf16-mixed",
    ]  # fmt: skip
    assert [row["batch_size"] for row in rows[:3]] == [1, 2, 4]
    net = subject("perceptron")
    assert rows[0]["peak"] == measure(net.net, net.input, Setting(1, plain, "64-true")).peak


def test_what_if_has_null_where_a_batch_cannot_be_trained() -> None:
    rows = what_if(NORMED, Setting(4, MOMENTUM))
    nothing = [(row["precision"], row["batch_size"]) for row in rows if row["peak"] is None]
    assert nothing == [("32-true", 1), ("bf16-mixed", 1)]
