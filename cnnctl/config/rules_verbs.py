"""Rules between the keys of the verbs that take a trained net."""

from __future__ import annotations

from collections.abc import Sequence

from cnnctl.config.images import Data
from cnnctl.config.tasks import Task
from cnnctl.config.verbs import Evaluate
from cnnctl.errors import Problem


def evaluate(typed: Evaluate) -> list[Problem]:
    """What does not go together, or has no effect, whatever the net."""
    found = [*_list("scales", typed.scales, "scales=256,384")]
    found += _list("robustness", typed.robustness, "robustness=shift,rotate")
    if typed.scales and typed.crops == "center":
        text = "scales has no effect with crops=center: the short side is data.size"
        found.append(Problem(text, "crops=ten or crops=dense", "scales"))
    if typed.flip is not None and typed.crops == "ten":
        text = f"flip={str(typed.flip).lower()} has no effect with crops=ten"
        found.append(Problem(text, "five of the ten are mirror images", "flip"))
    if typed.robustness and typed.crops != "center":
        text = f"robustness does not go with crops={typed.crops}"
        found.append(Problem(text, "crops=center", "robustness"))
    return found


def of_task(typed: Evaluate, task: Task) -> list[Problem]:
    """What has no effect on nets that name classes, or on those that give masks."""
    crops = typed.crops if typed.crops != "center" else None
    scales, robustness = (
        None if given is None else ",".join(map(str, given))
        for given in (typed.scales, typed.robustness)
    )
    given = {
        "segment": {"crops": crops, "scales": scales, "robustness": robustness},
        "classify": {"tile": typed.tile, "boundary": typed.boundary},
    }.get(task, {})
    text = "a net for masks, which sees images whole"
    if task == "classify":
        text = "a net that names one class for each image"
    return [
        Problem(f"{name}={value} has no effect on {text}", "leave it out", name)
        for name, value in given.items()
        if value is not None
    ]


def on_images(typed: Evaluate, data: Data) -> list[Problem]:
    """What does not go with the images that the net was made for."""
    found = []
    small = [side for side in typed.scales or () if side < data.size]
    if small and typed.crops == "ten":
        text = f"crops of {data.size}x{data.size} do not fit into a short side of {small[0]}"
        found.append(Problem(text, f"scales from {data.size}", "scales"))
    if data.channels == 1 and "hue" in (typed.robustness or ()):
        text = "robustness=hue has no effect: the net sees no colours"
        found.append(Problem(text, "leave it out", "robustness"))
    return found


def _list(name: str, values: Sequence[object] | None, hint: str) -> list[Problem]:
    """Problems of a list that is there but empty, or names something twice."""
    if values is None:
        return []
    if not values:
        return [Problem(f"{name} is empty", f"{name}=null, or {hint}", name)]
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    return [Problem(f"{name} names {twice[0]} twice", key=name)] if twice else []
