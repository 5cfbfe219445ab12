"""One file per verb, imported when the verb is called. This table is all that help needs."""

from __future__ import annotations

from cnnctl.commands.call import FLAG, OPTIONAL, VALUE, Call, Verb

__all__ = ["COMMON", "FLAG", "OPTIONAL", "SHORT", "VALUE", "VERBS", "Call", "Verb"]

COMMON = {
    "--json": (FLAG, "print one JSON document on stdout and nothing else"),
    "--debug": (FLAG, "show the traceback of an error"),
    "--help": (FLAG, "show this help"),
}
SHORT = {
    "-h": "--help", "-m": "--multirun", "-c": "--cfg", "-i": "--info", "-p": "--package",
    "-cd": "--config-dir",
}  # fmt: skip
_CONFIG_DIR = {"--config-dir": (VALUE, "one more folder with groups of your own")}

_TRAINED = (
    "RUN is a run folder, its name, `latest`, a checkpoint, a weights file or an\n"
    "exported file. The configuration of the run is used."
)

VERBS = {
    "train": Verb(
        "plan, train and test a net",
        "cnnctl train [group=option …] [key=value …]",
        "Prints the plan, trains, tests the best epoch and keeps everything in a folder.\n"
        "Without arguments: LeNet-5 on handwritten digits, under a minute on two cores.\n\n"
        "  cnnctl train optimizer=sgd optimizer.lr=0.05 trainer.max_epochs=10\n"
        "  cnnctl train data=folder data.root=photos\n"
        "  cnnctl train -m model=lenet5,mlp seed=0,1,2\n"
        "  cnnctl train --resume latest",
        flags={
            "--dry-run": (FLAG, "print the plan; train nothing, write nothing"),
            "--resume": (VALUE, "go on with a run that was ended, to the same bits"),
            "--smoke": (FLAG, "try it in seconds: a few made-up images, two epochs"),
            "--config": (VALUE, "replay the config.yaml of a run; keys can be changed"),
            "--multirun": (FLAG, "one run per combination of comma-separated values"),
            **_CONFIG_DIR,
            "--cfg": (VALUE, "Hydra: print the configuration job, hydra or all"),
            "--info": (OPTIONAL, "Hydra: print defaults, searchpath, plugins, …"),
            "--package": (VALUE, "Hydra: with --cfg, only this part"),
            "--resolve": (FLAG, "Hydra: with --cfg, with interpolations resolved"),
        },
    ),
    "evaluate": Verb(
        "measure a net: by class, against another, under changes",
        "cnnctl evaluate RUN… [split=…] [key=value …]",
        f"{_TRAINED} data… and\n"
        "hardware… may be changed.\n\n"
        "  cnnctl evaluate latest\n"
        "  cnnctl evaluate latest split=val checkpoint=last\n"
        "  cnnctl evaluate latest crops=ten\n"
        "  cnnctl evaluate latest robustness=shift,rotate\n"
        "  cnnctl evaluate RUN_A RUN_B --compare\n"
        "  cnnctl evaluate RUN1 RUN2 RUN3 --ensemble\n"
        "  cnnctl evaluate weights.pth model=resnet18 data=imagenet",
        takes_target=True,
        flags={
            "--compare": (FLAG, "two nets on the same images: the difference, and if it is noise"),
            "--ensemble": (FLAG, "several nets together: the mean of their probabilities"),
            **_CONFIG_DIR,
        },
    ),
    "predict": Verb(
        "say what is on images",
        "cnnctl predict RUN FILE|FOLDER|GLOB… [top=5] [format=csv]",
        f"{_TRAINED} hardware… and\n"
        "data.batch_size may be changed.\n"
        "Files that cannot be read are listed and left out; the exit code is then 1.\n"
        "A net for masks writes one for each image, and its colours over the image.\n\n"
        "  cnnctl predict latest cat.jpg\n"
        "  cnnctl predict latest photos top=3\n"
        "  cnnctl predict latest scan.png tile=512 output=masks\n"
        "  cnnctl predict net.onnx 'photos/*.png' format=csv > found.csv\n"
        "  cnnctl predict weights.pth cat.jpg model=resnet18 data=imagenet",
        takes_target=True,
        flags=_CONFIG_DIR,
    ),
    "export": Verb(
        "write a file that other programs run, proven on real images",
        "cnnctl export RUN [format=…] [key=value …]",
        "RUN is a run folder, its name, `latest`, a checkpoint or a weights file. What is\n"
        "written is run on images of the test split and compared with the net first.\n\n"
        "  cnnctl export latest\n"
        "  cnnctl export latest format=torch_export\n"
        "  cnnctl export latest quantize=int8\n"
        "  cnnctl export latest format=safetensors output=mine",
        takes_target=True,
        flags=_CONFIG_DIR,
    ),
    "bench": Verb(
        "measure latency, throughput and memory of a net",
        "cnnctl bench RUN|NET|FILE.onnx… [batch=1,8,32] [device=…] [precision=…]",
        "NET is a net of the zoo; any ONNX file will do. Each is run in torch, compiled\n"
        "by torch and by onnxruntime, in turns. What fails is listed, the rest is\n"
        "measured; exit 1 if it was asked for (engines=…, batch=…, all of a NET).\n\n"
        "  cnnctl bench latest\n"
        "  cnnctl bench resnet18 mobilenet_v2 batch=1\n"
        "  cnnctl bench net.onnx batch=1,16 threads=2\n"
        "  cnnctl bench --zoo --plot zoo.png",
        takes_target=True,
        flags={
            "--zoo": (FLAG, "one net after the other, and two charts of them"),
            "--plot": (VALUE, "with --zoo: the charts, FILE.png or .svg"),
            **_CONFIG_DIR,
        },
    ),
    "list": Verb(
        "list models, data, recipes, optimizers, hardware, runs, …",
        "cnnctl list WHAT",
        "WHAT is models, data, augments, recipes, optimizers, schedules, hardware,\n"
        "loggers, transfers or runs. The options filter models.\n\n"
        "  cnnctl list models --family resnet --max-params 5M\n"
        "  cnnctl list runs outputs=outputs",
        takes_target=True,
        flags={
            "--family": (VALUE, "only the nets of one family"),
            "--max-params": (VALUE, "only nets with at most so many parameters: 500K, 5M"),
            "--year": (VALUE, "only nets of a year, or of years: 2015, 2012-2016"),
            **_CONFIG_DIR,
        },
        module="listing",
    ),
    "show": Verb(
        "show the composed configuration and where each value came from",
        "cnnctl show [SECTION…] [group=option …] [key=value …]",
        "  cnnctl show\n  cnnctl show optimizer schedule model=mlp optimizer.lr=0.01",
        takes_target=True,
        flags=_CONFIG_DIR,
    ),
    "audit": Verb(
        "show what a net costs: layers, parameters, memory, receptive field",
        "cnnctl audit [NET…] [group=option …] [key=value …]",
        "NET is a net of the zoo, timm/NAME, torchvision/NAME, a run, FILE.onnx or\n"
        "FILE.py:CLASS. Nothing is allocated: a training step is predicted on tensors\n"
        "without memory.\n\n"
        "  cnnctl audit vgg16\n"
        "  cnnctl audit vgg16 googlenet resnet50 --plot nets.png\n"
        "  cnnctl audit resnet50 batch_size=64 precision=bf16-mixed budget=3GB,24GB\n"
        "  cnnctl audit resnet50 format=html > resnet50.html\n"
        "  cnnctl audit claims vgg16         the figures that lectures print, recomputed",
        takes_target=True,
        flags={
            "--all": (FLAG, "the whole zoo, side by side"),
            "--against": (VALUE, "paper: beside the published figures, with the deviation"),
            "--what-if": (FLAG, "the peak of a step for other batches, precisions, optimizers"),
            "--strict": (FLAG, "refuse sizes that a stride does not divide, and name the layers"),
            "--plot": (VALUE, "a picture of parameters against multiply-adds: FILE.png or .svg"),
            "--failed": (FLAG, "of the claims, only those that differ"),
            **_CONFIG_DIR,
        },
    ),
    "conv": Verb(
        "show the arithmetic of one layer, with the working",
        "cnnctl conv HEIGHTxWIDTHxCHANNELS kernel=K [key=value …] [--stack N]",
        "Size, parameters, multiply-adds, memory and receptive field of one convolution\n"
        "or pool, and what else could stand in its place. 7x7 has one channel.\n\n"
        "  kernel=5 or 1x7             its height and width\n"
        "  filters=1                   how many\n"
        "  stride=1                    of a pool, unless told, its kernel\n"
        "  padding=0                   pixels, 2x1, or one of same, valid, full\n"
        "  dilation=1 groups=1 bias=true\n"
        "  pool=max or avg             a pool instead of filters\n"
        "  transposed=true             with output_padding=0\n"
        "  reduce=16                   channels of the bottleneck; usually an eighth\n\n"
        "  cnnctl conv 32x32x3 kernel=5 filters=10 padding=2\n"
        "  cnnctl conv 7x7 kernel=3 stride=3\n"
        "  cnnctl conv 56x56x64 kernel=3 filters=64 padding=same --stack 3",
        takes_target=True,
        flags={"--stack": (VALUE, "so many of these layers on top of each other")},
    ),
    "upsample": Verb(
        "show the five ways up side by side, on an image",
        "cnnctl upsample [IMAGE] [by=4] [size=64] [output=FILE.png]",
        "A square of the image is max-pooled and enlarged again as a decoder does it:\n"
        "nearest, bilinear, bicubic, transposed, unpool. Without IMAGE: a digit.\n\n"
        "  by=4                   2, 4 or 8: how much smaller, and larger again\n"
        "  size=64                pixels of a side that the image is resized to\n"
        "  output=upsample.png    the picture\n\n"
        "  cnnctl upsample\n"
        "  cnnctl upsample cat.jpg by=2 output=ways.png",
        takes_target=True,
    ),
    "data": Verb(
        "check a data set, show what training sees of it, keep it decoded",
        "cnnctl data check|show|cache DATA [key=value …]",
        "DATA is an option (digits, cifar10, …), or a folder, archive or table.\n\n"
        "  check   broken and wrongly named images, duplicates, images in two splits,\n"
        "          classes and how they differ in size, mean and deviation. Exit code 1\n"
        "          where training would stop or be misled: broken images, classes that\n"
        "          differ between splits, images in two splits (equal, or alike) or of\n"
        "          two classes\n"
        "  show    a sheet of training images, unchanged and as 7 epochs see them\n"
        "  cache   decode once, as train would; without DATA: list what is kept\n\n"
        "  cnnctl data check photos --report photos.html\n"
        "  cnnctl data check photos --quarantine photos.txt\n"
        "  cnnctl train data=folder data.root=photos data.quarantine=photos.txt\n"
        "  cnnctl data show cifar10 augment=flip_crop\n"
        "  cnnctl data cache --clear",
        takes_target=True,
        flags={
            "--quarantine": (VALUE, "check: write the images to leave out, path and reason"),
            "--report": (VALUE, "check: write a page with the pictures: FILE.html"),
            "--output": (VALUE, "show: the sheet, FILE.png; usually DATA_AUGMENT.png"),
            "--clear": (FLAG, "cache: remove all caches"),
            **_CONFIG_DIR,
        },
    ),
    "completion": Verb(
        "print the completion script of bash, zsh or fish",
        "cnnctl completion bash|zsh|fish",
        '  eval "$(cnnctl completion bash)"        # in ~/.bashrc\n'
        '  eval "$(cnnctl completion zsh)"         # in ~/.zshrc\n'
        "  cnnctl completion fish | source         # in ~/.config/fish/config.fish",
        takes_target=True,
    ),
}
