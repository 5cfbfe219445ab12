from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
from zoo import spec

from cnnctl.errors import CheckpointError
from cnnctl.nets import hub


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch) -> None:
    """An empty cache, and a network that is not there."""

    def fail(url: str, *_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)


def told(name: str, library: str, version: str = "") -> str:
    with pytest.raises(CheckpointError) as caught:
        hub.read(spec(name), library, version)
    return str(caught.value)


def test_offline_and_not_cached_is_one_line_with_the_way_out(tmp_path) -> None:
    assert told("resnet18", "torchvision") == (
        "cannot fetch torchvision/resnet18 IMAGENET1K_V1: no network, and it is not in the cache "
        "(put https://download.pytorch.org/models/resnet18-f37072fd.pth into "
        f"{tmp_path}/torch/hub/checkpoints)"
    )


def test_a_download_goes_to_the_cache_and_is_checked_by_the_hash_in_its_name(
    tmp_path, monkeypatch
) -> None:
    asked = []

    def fetch(url: str, file: str, hash_prefix: str) -> None:
        asked.append((url, file, hash_prefix))
        torch.save({"fc.bias": torch.ones(2)}, file)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    source, tensors, mean, std = hub.read(spec("resnet50_v1_5"), "torchvision", "IMAGENET1K_V2")
    file = tmp_path / "torch/hub/checkpoints/resnet50-11ad3fa6.pth"
    url = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    assert asked == [(url, str(file), "11ad3fa6")]
    assert source == "torchvision/resnet50 IMAGENET1K_V2"
    assert torch.equal(tensors["fc.bias"], torch.ones(2))
    assert (mean, std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    inception = hub.read(spec("inception_v3"), "torchvision", "")
    assert (inception.mean, inception.std) == ((0.5,) * 3, (0.5,) * 3)
    asked.pop()
    hub.read(spec("resnet50_v1_5"), "torchvision", "")
    assert len(asked) == 1


def test_a_file_of_another_hash_is_refused(monkeypatch) -> None:
    def spoilt(*_: object, **__: object) -> None:
        raise RuntimeError('invalid hash value (expected "f37072fd", got "00000000")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", spoilt)
    assert 'invalid hash value (expected "f37072fd", got "00000000")' in told(
        "resnet18", "torchvision"
    )


def test_unknown_weights_are_told_with_the_known() -> None:
    assert told("resnet50_v1_5", "torchvision", "IMAGENET1K_V3") == (
        "torchvision/resnet50 has no weights 'IMAGENET1K_V3', only IMAGENET1K_V1, IMAGENET1K_V2 "
        "(did you mean 'IMAGENET1K_V1'?)"
    )


def test_a_net_without_a_twin_has_no_published_weights() -> None:
    assert told("lenet5", "torchvision") == (
        "lenet5 has no twin in torchvision: nobody published weights for these layers "
        "(start from a file or a run of your own)"
    )


def test_the_twin_may_be_in_the_other_library() -> None:
    assert told("resnet18", "timm", "a1_in1k") == (
        "pretrained=timm/a1_in1k: the twin of resnet18 is torchvision/resnet18 "
        "(pretrained=torchvision)"
    )


def test_timm_offline_is_one_line_too(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = told("xception", "timm")
    assert text.startswith("cannot fetch timm/legacy_xception: ")
    assert text.endswith("(it needs a network, or the cache of Hugging Face)")
    assert "\n" not in text


def test_a_damaged_file_in_the_cache_is_told_with_the_way_out(tmp_path) -> None:
    file = tmp_path / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a file")
    assert (
        told("resnet18", "torchvision") == f"{file} cannot be read (delete it: it is fetched anew)"
    )
