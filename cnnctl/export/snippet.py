"""How to run an exported file in five lines, as its card says it. The tests run these lines."""

from __future__ import annotations

from cnnctl.manifest import PREPROCESS, Manifest

IMAGE = "image.png"
OPENED = {  # the third and the fourth line: the file, and what it says of the image
    "onnx": (
        'file = onnxruntime.InferenceSession("{name}")',
        'found = file.run(None, {{"images": image}})[0][0]',
    ),
    "torch_export": (
        'file = torch.export.load("{name}").module()',
        "found = file(torch.tensor(image))[0]",
    ),
    "torchscript": ('file = torch.jit.load("{name}")', "found = file(torch.tensor(image))[0]"),
}
NEEDS = {"onnx": "onnxruntime", "torch_export": "torch", "torchscript": "torch"}


def lines(manifest: Manifest, name: str) -> tuple[str, str]:
    """The language of the lines, and the lines."""
    if manifest.format == "safetensors":
        return "sh", f"cnnctl predict {name} {IMAGE}\n"
    opened, asked = (line.format(name=name) for line in OPENED[manifest.format])
    code = [
        f"import json, numpy, {NEEDS[manifest.format]}, PIL.Image",
        _image(manifest),
        opened,
        asked,
        'print(json.load(open("manifest.json"))["classes"][found.argmax()])',
    ]
    return "python", "\n".join(code) + "\n"


def _image(manifest: Manifest) -> str:
    """One image as the file takes it; a file without the resize gets a plain one."""
    mode, turned = ("L", "[None, None]") if manifest.channels == 1 else ("RGB", "")
    turned = turned or ".transpose(2, 0, 1)[None]"
    opened = f'PIL.Image.open("{IMAGE}").convert("{mode}")'
    if PREPROCESS in manifest.include:
        return f"image = numpy.array({opened}){turned}"
    mean, std = list(manifest.mean), list(manifest.std)
    pixels = f"numpy.array({opened}.resize(({manifest.size}, {manifest.size})))"
    return f'image = (({pixels} / 255 - {mean}) / {std}).astype("float32"){turned}'
