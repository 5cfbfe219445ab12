"""The model card: what a file is, how good it is, that it is the net, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cnnctl.config.schema import Train
from cnnctl.export import snippet
from cnnctl.manifest import PREPROCESS, Manifest
from cnnctl.nets.spec import Spec
from cnnctl.scoring.intervals import wilson

NAME = "README.md"
NEAR = (
    "These lines resize nearly as the net was trained, a few pixels differ; `cnnctl predict` does"
    " it to the bit, and so does a file with `include=preprocess`."
)
RIGHTS = "What that means for the weights is yours to settle; cnnctl claims no right in them."
RESIZED = (
    "The net has seen images whose short side was resized to that length. The file resizes nothing;"
    " these lines do it nearly as in training, `cnnctl predict` does it to the bit."
)
NAMES = {"top1": "top-1", "miou": "mean IoU", "explained": "explained"}
MANY = 20  # classes that are named
Rows = Sequence[Sequence[str]]


def text(
    spec: Spec, train: Train, manifest: Manifest, facts: dict[str, Any],
    figures: dict[str, Any] | None,
) -> str:  # fmt: skip
    """Markdown. `facts` are those of manifest.json, `figures` the run's on its test split."""
    data, (language, code) = train.data, snippet.lines(manifest, facts["file"])
    dense = manifest.margin is not None
    near = language == "python" and PREPROCESS not in manifest.include and not dense
    parts = [
        f"# {spec.name} on {data.name}",
        f"{_kind(manifest)}, exported by cnnctl.",
        _table(("", ""), _about(spec, train, manifest, facts)),
        "## How good it is",
        _good(facts, figures, train),
        "## How near it is to the net that was trained",
        _proof(facts),
        "## How to run it",
        f"```{language}\n{code}```",
        *([NEAR] if near else []),
        *([RESIZED] if dense and manifest.resize is not None else []),
        *(["## Classes", _classes(manifest.classes)] if manifest.task != "reconstruct" else []),
        "## Licence",
        f"Of the images it was trained on ({data.source}): {data.licence}. {RIGHTS}",
    ]
    return "\n\n".join(parts) + "\n"


def _kind(manifest: Manifest) -> str:
    if manifest.task == "reconstruct":
        return "A net that makes images anew from fewer values"
    what = "An image classifier" if manifest.margin is None else "A net that gives each pixel one"
    return f"{what} of {len(manifest.classes)} classes"


def _about(spec: Spec, train: Train, manifest: Manifest, facts: dict[str, Any]) -> Rows:
    size = f"{facts['bytes']:,} bytes, sha256 `{facts['sha256']}`"
    numbers = "int8" if manifest.quantize else manifest.precision
    return [
        ("file", f"`{facts['file']}`, {manifest.format}, {numbers}, {size}"),
        ("net", f"{spec.name} ({spec.family}), {facts['params']:,} parameters"),
        ("paper", spec.paper or "–"),
        ("data", f"{train.data.name}: {train.data.source}"),
        ("input", _contract(manifest.takes)),
        ("output", _contract(manifest.gives)),
        ("from", f"`{manifest.checkpoint}`, weights sha256 `{manifest.weights_sha256}`"),
        ("made with", ", ".join(f"{name} {one}" for name, one in manifest.versions.items())),
    ]


def _contract(side: dict[str, Any]) -> str:
    shape = ", ".join(str(length) for length in side["shape"])
    about = f": {side['about']}" if "about" in side else ""
    return f"`{side['name']}`, {side['type']} ({shape}){about}"


def _good(facts: dict[str, Any], figures: dict[str, Any] | None, train: Train) -> str:
    """The figures of the net and of the file; of top-1 also where it may lie."""
    parity = facts["parity"]
    name = next(one for one in NAMES if f"{one}_eager" in parity)
    shown = f"{parity['split']} images of the proof"
    rows = [
        (f"{who}, {shown}", {key.removesuffix(end): value for key, value in parity.items()})
        for who, end in (("the net", "_eager"), ("this file", "_export"))
    ]
    if figures is not None:
        mirrored = " and their mirror images" if train.trainer.test_flip else ""
        rows.insert(0, (f"the net, all test images{mirrored}", figures))
    cells = [[what, f"{its['n']:,}", _percent(its[name])] for what, its in rows]
    head = ["", "images", NAMES[name]]
    if name in MORE:
        title, tell = MORE[name]
        head.append(title)
        cells = [[*cell, tell(its)] for cell, (_, its) in zip(cells, rows, strict=True)]
    return _table(head, cells)


def _proof(facts: dict[str, Any]) -> str:
    parity, raw = facts["parity"], facts["parity"]["raw"]
    rows = [(f"batches of {row['batch_size']}", row) for row in parity["batches"]]
    if raw is not None:
        rows.append((f"{raw['sizes']} other sizes, one by one", raw))
    cells = [[what, f"{row['n']:,}", f"{row['max_abs_error']:.2g}"] for what, row in rows]
    said = f"Compared with the net in torch, in float32. The error is that of {parity['of']}."
    head = ["", "images", "largest error"]
    if "top1_agreement" in parity:
        head.append("same class" if "top1_eager" in parity else "same class, of all pixels")
        cells = [
            [*cell, _percent(row["top1_agreement"])]
            for cell, (_, row) in zip(cells, rows, strict=True)
        ]
    return f"{said}\n\n{_table(head, cells)}"


def _classes(classes: Sequence[str]) -> str:
    more = f", and {len(classes) - MANY} more: `manifest.json`" if len(classes) > MANY else ""
    return ", ".join(classes[:MANY]) + more


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _interval(figures: dict[str, Any]) -> str:
    found = wilson(round(figures["top1"] * figures["n"]), figures["n"])
    return "–" if found is None else f"{_percent(found[0])} to {_percent(found[1])}"


MORE: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {  # beside a figure
    "top1": ("95 % interval", _interval),
    "explained": ("PSNR", lambda figures: f"{figures['psnr']:.2f} dB"),
}
