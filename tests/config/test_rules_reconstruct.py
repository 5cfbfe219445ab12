from __future__ import annotations

from typing import Any

import pytest

from cnnctl.config import compose, preflight, rules_reconstruct, verbs

ANEW = "autoencoder, which makes images anew"


def problems(*words: str) -> list[str]:
    """What is wrong with a training."""
    with compose.opened():
        config, found = compose.compose("train", words)
        _, more = preflight.check(config, found)
    return [str(problem) for problem in more]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (
            "trainer.label_smoothing=0.1",
            f"trainer.label_smoothing=0.1 has no effect on {ANEW} (set trainer.label_smoothing=0)",
        ),
        ("data.balance=loss", f"data.balance=loss has no effect on {ANEW} (data.balance=sample)"),
        (
            "augment=mixup",
            f"augment.mixup=1 mixes labels, which have no effect on {ANEW} (set augment.mixup=0)",
        ),
        (
            "augment=cutmix",
            f"augment.cutmix=1 mixes labels, which have no effect on {ANEW} (set augment.cutmix=0)",
        ),
    ],
)
def test_what_is_about_labels_is_refused_for_nets_that_make_images_anew(word, text) -> None:
    assert problems("model=autoencoder", word) == [text]
    assert text not in problems("model=lenet5", word)


def test_regimes_of_transfer_are_for_nets_that_name_classes() -> None:
    found = problems("model=autoencoder", "transfer=auto", "pretrained=x.ckpt")
    text = f"transfer=auto is for nets that name classes, not for {ANEW}"
    assert found == [f"{text} (transfer=none: all layers learn, from pretrained=… on)"]
    assert problems("model=autoencoder", "pretrained=x.ckpt") == []


@pytest.mark.parametrize("word", ["data=shapes", "loss=dice", "loss=focal"])
def test_masks_and_their_losses_are_refused(word: str) -> None:
    assert len(problems("model=autoencoder", word)) == 1


@pytest.mark.parametrize(
    "word",
    [
        "data.balance=sample", "augment=shift_rotate", "augment=random_erasing", "data=cifar10",
        "trainer.test_flip=true", "trainer.ema=0.9", "schedule=plateau", "model.upsample=unpool",
    ],
)  # fmt: skip
def test_what_has_an_effect_is_allowed(word: str) -> None:
    assert problems("model=autoencoder", word) == []


def evaluated(**changes: Any) -> list[str]:
    usual: dict[str, Any] = {
        "split": "test", "checkpoint": "best", "crops": "center", "scales": None, "flip": None,
        "tile": None, "boundary": None, "robustness": None, "predictions": "csv", "mistakes": 16,
    }  # fmt: skip
    typed = verbs.Evaluate(**(usual | changes))
    return [str(problem) for problem in rules_reconstruct.evaluate(typed)]


def test_keys_of_an_evaluation_that_are_about_classes_or_masks_are_refused() -> None:
    assert evaluated(flip=True, mistakes=0, predictions="none") == []
    text = "has no effect on a net that makes whole images anew (leave it out)"
    assert evaluated(crops="ten", scales=(256, 384)) == [
        f"crops=ten {text}",
        f"scales=256,384 {text}",
    ]
    assert evaluated(boundary=2.0) == [f"boundary=2.0 {text}"]
    assert evaluated(tile=64) == [f"tile=64 {text}"]
    assert evaluated(robustness=("shift", "noise")) == [f"robustness=shift,noise {text}"]
    (line,) = evaluated(predictions="parquet")
    assert line.endswith("kept as csv (predictions=csv)")
