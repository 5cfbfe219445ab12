"""How to run an exported file in five lines, as its card says it. The tests run these lines."""

from __future__ import annotations

from cnnctl.manifest import PREPROCESS, Manifest

IMAGE = "image.png"
OPENED = {  # the fourth line: the file, and what it says of the image
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
NAMED = 'print(json.loads(pathlib.Path("manifest.json").read_text())["classes"][found.argmax()])'
MADE = "anew.png"
NEEDS = {"onnx": "onnxruntime", "torch_export": "torch", "torchscript": "torch"}


def lines(manifest: Manifest, name: str) -> tuple[str, str]:
    """The language of the lines, and the lines."""
    if manifest.format == "safetensors":
        return "sh", f"cnnctl predict {name} {IMAGE}\n"
    if manifest.margin is not None:
        return "python", _for_masks(manifest, name)
    opened, asked = (line.format(name=name) for line in OPENED[manifest.format])
    size = manifest.size
    remade, needs = manifest.task == "reconstruct", NEEDS[manifest.format]
    needs = f"numpy, {needs}" if remade else f"json, numpy, pathlib, {needs}"
    code = [
        f"import {needs}; from PIL import Image, ImageOps",
        f'picture = Image.open("{IMAGE}"); picture.draft(None, ({size}, {size}))',
        _image(manifest),
        f"{opened}; {asked}",
        _saved(manifest) if remade else NAMED,
    ]
    return "python", "\n".join(code) + "\n"


def _saved(manifest: Manifest) -> str:
    """What is made of the image as a PNG; what is beyond black and white is cut off."""
    made = "numpy.asarray(found)"
    made += "[0]" if manifest.channels == 1 else ".transpose(1, 2, 0)"
    if PREPROCESS not in manifest.include:
        mean, std = (
            numbers[0] if manifest.channels == 1 else list(numbers)
            for numbers in (manifest.mean, manifest.std)
        )
        made = f"({made} * {std} + {mean})"
    return f'Image.fromarray((255 * {made}).round().clip(0, 255).astype("uint8")).save("{MADE}")'


def _image(manifest: Manifest) -> str:
    """One image as the file takes it; a file without the resize gets one that is near to it."""
    mode, turned = ("L", "[None, None]") if manifest.channels == 1 else ("RGB", "")
    turned = turned or ".transpose(2, 0, 1)[None]"
    upright = f'ImageOps.exif_transpose(picture).convert("{mode}")'
    if PREPROCESS in manifest.include:
        return f"image = numpy.array({upright}){turned}"
    mean, std, size = list(manifest.mean), list(manifest.std), manifest.size
    pixels = f"numpy.array(ImageOps.fit({upright}, ({size}, {size}), Image.Resampling.BILINEAR))"
    return f'image = (({pixels} / 255 - {mean}) / {std}).astype("float32"){turned}'


def _for_masks(manifest: Manifest, name: str) -> str:
    """A mask as a PNG whose values are the numbers of the classes."""
    opened, asked = (line.format(name=name) for line in OPENED[manifest.format])
    mode, turned = ("L", "[None, None]") if manifest.channels == 1 else ("RGB", "")
    turned = turned or ".transpose(2, 0, 1)[None]"
    short, code = manifest.resize, []
    if short is not None:
        code.append(
            f"picture = ImageOps.scale(picture, {short} / min(picture.size),"
            " Image.Resampling.BILINEAR)"
        )
    if PREPROCESS in manifest.include:
        code.append(f"image = numpy.array(picture){turned}")
    else:
        code += _bordered(manifest, turned)
    cut = "" if PREPROCESS in manifest.include else "[:, :tall, :wide]"
    whole = [
        f"import numpy, {NEEDS[manifest.format]}; from PIL import Image, ImageOps",
        f'picture = ImageOps.exif_transpose(Image.open("{IMAGE}")).convert("{mode}")',
        *code,
        f"{opened}; {asked}{cut}",
        'Image.fromarray(numpy.asarray(found.argmax(0)).astype("uint8")).save("mask.png")',
    ]
    return "\n".join(whole) + "\n"


def _bordered(manifest: Manifest, turned: str) -> list[str]:
    """The image as the net alone takes it: with mirrored borders, its sides those of the net."""
    assert manifest.least is not None
    assert manifest.margin is not None
    mean, std, margin = list(manifest.mean), list(manifest.std), manifest.margin
    covered, stride = manifest.least - 2 * margin, manifest.stride
    steps = f"-max(0, n - {covered}) // {stride}"
    return [
        f"more = lambda n: {manifest.least - margin} - n - ({steps}) * {stride}",
        f'image = ((numpy.array(picture) / 255 - {mean}) / {std}).astype("float32"){turned}',
        "tall, wide = image.shape[2:]",
        f"borders = ((0, 0), (0, 0), ({margin}, more(tall)), ({margin}, more(wide)))",
        'image = numpy.pad(image, borders, mode="reflect")',
    ]
