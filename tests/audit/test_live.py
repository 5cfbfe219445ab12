from __future__ import annotations

from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cnnctl.audit.live import Live


def of(count: int, device: str = "cpu") -> Tensor:
    """A tensor of so many bytes."""
    return torch.empty(count, dtype=torch.uint8, device=device)


def counted(live: Live) -> dict[str, int]:
    return {kind: size for kind, size in live.parts.items() if size}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_storage_counts_from_its_first_tensor_to_its_last(device) -> None:
    live = Live()
    value = torch.empty(3, 5, device=device)
    assert live.add(value, "weights")
    view = value.t()[1:]
    del value
    assert (live.bytes, counted(live)) == (60, {"weights": 60})
    del view
    assert (live.bytes, counted(live), live.known) == (0, {}, {})
    assert live.peak.bytes == 60


def test_a_storage_counts_once_whatever_looks_at_it() -> None:
    live, value = Live(), torch.empty(3, 5)
    assert live.add(value, "weights")
    for view in (
        value,
        value.view(15),
        value[1],
        value.detach(),
        value.add_(1),
        value.expand(3, 5),
    ):
        assert not live.add(view, "activations")
    assert counted(live) == {"weights": 60}
    assert live.add(value.clone(), "activations")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_only_the_graph_keeps_is_alive(device) -> None:
    live = Live()
    image = torch.ones(10, device=device, requires_grad=True)
    kept = image.exp()
    live.add(kept, "activations")
    loss = kept.sum()
    del kept
    assert live.bytes == 40
    loss.backward()
    assert live.bytes == 0


def test_the_whole_storage_counts_if_only_a_part_of_it_is_seen_first() -> None:
    live, value = Live(), of(100)
    assert live.add(value[:7], "activations")
    assert live.bytes == 100


def test_fake_tensors_count_as_their_storages_would() -> None:
    live = Live()
    with FakeTensorMode():
        value = torch.empty(10**9, 1000)
        live.add(value, "weights")
        assert not live.add(value.t(), "weights")
    assert live.bytes == 4 * 10**12
    del value
    assert live.bytes == 0


@pytest.mark.parametrize(("size", "taken"), [(0, 0), (1, 512), (511, 512), (512, 512), (513, 1024)])
def test_a_gpu_gives_blocks_of_512_bytes(size, taken) -> None:
    live, value = Live(block=512), of(size)
    live.add(value, "weights")
    assert live.bytes == live.rounded(size) == taken
    live.rename(value, "gradients")
    assert live.parts["gradients"] == taken
    del value
    assert live.bytes == 0


def test_the_peak_says_when_it_was_and_of_what_it_consisted() -> None:
    places = iter(range(100))
    live = Live(place=lambda: next(places))
    first = of(100)
    live.add(first, "weights")  # a new peak: place 0
    second = of(50)
    live.add(second, "activations")  # place 1
    del second
    third = of(40)
    live.add(third, "activations")  # lower: nobody asks for the place
    assert (live.peak.bytes, live.peak.parts, live.peak.place) == (
        150, {"weights": 100, "activations": 50}, 1,
    )  # fmt: skip
    fourth = of(11)
    live.add(fourth, "batch")
    assert (live.peak.bytes, live.peak.place) == (151, 2)
    assert live.peak.parts == {"weights": 100, "activations": 40, "batch": 11}


def test_a_moment_raises_the_peak_and_leaves_nothing() -> None:
    live, value = Live(place=lambda: "here"), of(10)
    live.add(value, "weights")
    live.moment("workspace", 5)
    assert (live.bytes, counted(live)) == (10, {"weights": 10})
    assert (live.peak.bytes, live.peak.place) == (15, "here")
    assert live.peak.parts == {"weights": 10, "workspace": 5}
    live.moment("workspace", 0)
    live.moment("workspace", 5)
    assert live.peak.bytes == 15


def test_what_is_held_was_there_all_the_time() -> None:
    places = iter("abc")
    live = Live(place=lambda: next(places))
    value = of(70)
    live.add(value, "activations")
    del value
    live.hold("batch", 30)
    assert (live.bytes, counted(live)) == (30, {"batch": 30})
    assert (live.peak.bytes, live.peak.place) == (100, "a")
    assert live.peak.parts == {"activations": 70, "batch": 30}
    other = of(71)
    live.add(other, "activations")
    assert (live.peak.bytes, live.peak.place) == (101, "b")


def test_a_renamed_storage_leaves_under_its_new_name() -> None:
    live, value = Live(), of(9)
    live.add(value, "temporaries")
    live.rename(value[2:], "gradients")
    assert counted(live) == {"gradients": 9}
    live.rename(of(4), "gradients")  # unknown: nothing happens
    assert (live.bytes, counted(live)) == (9, {"gradients": 9})
    del value
    assert (live.bytes, counted(live)) == (0, {})


def test_owners_are_told_what_of_theirs_is_alive() -> None:
    live, first, second, third = Live(), of(1), of(20), of(300)
    for value, owner in ((first, "a"), (second, "b"), (third, "a")):
        live.add(value, "x", owner)
    live.add(of(7), "x", "c")  # freed at once
    assert live.owned() == {"a": 301, "b": 20}
    del first
    assert live.owned() == {"a": 300, "b": 20}


def test_the_number_of_a_freed_storage_may_be_used_again() -> None:
    live, numbers = Live(), Counter()
    for _ in range(200):
        value = of(64)
        numbers[id(value.untyped_storage())] += 1
        assert live.add(value, "x")
        assert live.bytes == 64
        del value
    assert max(numbers.values()) > 1, "no number came back: this test shows nothing"
    assert (live.bytes, live.known) == (0, {})


class Model:
    """The same in the plainest way: a list of what is alive, its sum after every step."""

    def __init__(self, block: int) -> None:
        self.block = block
        self.tensors: list[tuple[Tensor, int]] = []  # tensor, number of its storage
        self.sizes: dict[int, tuple[str, int]] = {}
        self.held = 0
        self.most = 0

    def total(self) -> int:
        alive = {number for _, number in self.tensors}
        return sum(size for number, (_, size) in self.sizes.items() if number in alive)

    def parts(self) -> dict[str, int]:
        sums: defaultdict[str, int] = defaultdict(int)
        for number in {number for _, number in self.tensors}:
            kind, size = self.sizes[number]
            sums[kind] += size
        return {kind: size for kind, size in sums.items() if size}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["make", "make", "view", "free", "free", "moment", "hold", "rename"]),
        st.integers(0, 2000),
        st.sampled_from(["weights", "activations", "gradients"]),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(STEPS, st.sampled_from([1, 512]), st.sampled_from(["cpu", "meta"]))
def test_any_sequence_counts_as_a_plain_list_does(steps, block, device) -> None:
    live, model = Live(block), Model(block)
    for number, (step, size, kind) in enumerate(steps):
        taken = -(-size // block) * block
        extra = 0
        if step == "make":
            value = of(size, device)
            assert live.add(value, kind)
            model.sizes[number] = kind, taken
            model.tensors.append((value, number))
            del value
        elif step == "moment":
            live.moment("workspace", size)
            extra = size
        elif step == "hold":
            live.hold("state", size)
            model.held += size
        elif model.tensors:
            value, owner = model.tensors[size % len(model.tensors)]
            if step == "view":
                assert not live.add(value.view(-1), kind)
                model.tensors.append((value.view(-1), owner))
            elif step == "rename":
                live.rename(value, kind)
                model.sizes[owner] = kind, model.sizes[owner][1]
            else:
                model.tensors.pop(size % len(model.tensors))
            del value
        model.most = max(model.most, model.total() + extra)
        assert live.bytes == model.total() + model.held
        assert counted(live) == model.parts() | ({"state": model.held} if model.held else {})
        assert live.peak.bytes == model.most + model.held
        assert sum(live.peak.parts.values()) == live.peak.bytes
    model.tensors.clear()
    assert live.bytes == model.held
    assert live.known == {}
