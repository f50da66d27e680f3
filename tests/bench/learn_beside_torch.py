#!/usr/bin/python3
# learn_beside_torch.py - what our features and PyTorch's are worth after the same recipe and as many images.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A tool, not a test: its table goes into docs/evaluation.md.

The demo's recipe (configs/demo_cpu.yaml, or with --grey demo_grey.yaml) twice on the same pictures of Fashion-MNIST, a
core each and at the same time: by a server and one worker, and by a PyTorch loop with torchvision's RegNet and
torchvision's transforms of PIL images, written as a researcher would. Every number of the recipe is read from the
config. Then one judge for both, on features of the pooled trunk: 20 nearest neighbours by the cosine of centred
features, votes weighed by exp(cosine / 0.07), and multinomial logistic regression on standardised features (L-BFGS, L2
of 1 / images) with all labels of the bank and with 100 and 10 of each class (three draws). The bank has 10,000 training
pictures, the test all 10,000 test pictures. Nothing is chosen on them.

With --photos: from which of 31 photographs (Debian's lomiri-wallpapers-16.04 and -20.04 and mate-backgrounds) is this
piece? Trained and learnt from pieces of their left halves, asked about pieces of their right halves; the recipe is
photo_halves.yaml beside this file. Histograms of 64 colours are judged too: who tells photographs by anything else must
be better than they are.
"""
import argparse
import io
import json
import math
import os
import random
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time

from one_thread import OTHERS_ENVIRONMENT

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    import torchvision
    from PIL import Image
    from torch import nn
    from torchvision import transforms
    from torchvision.models.regnet import BlockParams, RegNet
    from torchvision.ops.misc import Conv2dNormActivation
except ImportError as error:
    print("skipped: PyTorch, torchvision or Pillow is not installed for", sys.executable, "-", error)
    sys.exit(77)

SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BANK, TEST, NEIGHBOURS, SHARPNESS, DRAWS = 10000, 10000, 20, 0.07, 3
COLUMNS = ("kNN", "linear", "100 a class", "10 a class")
PHOTO_FOLDERS = ("/usr/share/backgrounds", "/usr/share/backgrounds/mate/nature")
PHOTO_COUNT, PHOTO_SIDE, PIECE_SIDES, PIECE = 31, 1600, (96, 200), 48  # pixels
PIECES = {"train": 640, "bank": 100, "test": 100}  # of each photograph


def run(*words, **options):
    return subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE, text=True, env=OTHERS_ENVIRONMENT,
                          **options).stdout


def read_tars(folder, kind):
    """Pictures [n] and labels, as they lie in the tars."""
    pictures, labels = [], []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(f"-{kind}.tar"):
            continue
        with tarfile.open(os.path.join(folder, name)) as tar:
            for member in tar:
                blob = tar.extractfile(member).read()
                if member.name.endswith(".cls"):
                    labels.append(int(blob))
                else:
                    pictures.append(Image.open(io.BytesIO(blob)).convert("RGB"))
    return pictures, torch.tensor(labels)


class Stem(Conv2dNormActivation):
    def __init__(self, width_in, width_out, norm_layer, activation_layer):
        super().__init__(width_in, width_out, 3, Stem.stride, norm_layer=norm_layer, activation_layer=activation_layer)


class Torch:
    """SwAV (Caron et al. 2020, listing in appendix A) with torchvision's RegNetY."""

    def __init__(self, config, seed):
        torch.manual_seed(seed)
        model, self.config = config["model"], config
        Stem.stride = model["stem_stride"]
        shape = BlockParams.from_init_params(depth=model["depth"], w_0=model["w0"], w_a=model["wa"], w_m=model["wm"],
                                             group_width=model["group_width"], se_ratio=model["se_ratio"])
        trunk = RegNet(shape, stem_width=model["stem_width"], stem_type=Stem, num_classes=2)
        width, (hidden, out) = trunk.fc.in_features, model["head"]
        trunk.fc = nn.Identity()
        self.trunk = trunk.to(memory_format=torch.channels_last)
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))
        self.prototypes = nn.Linear(out, model["prototypes"][0], bias=False)
        net = nn.ModuleList([self.trunk, self.head, self.prototypes])
        self.optimizer = torch.optim.SGD(net.parameters(), lr=1, momentum=config["optimizer"]["momentum"],
                                         weight_decay=config["optimizer"]["weight_decay"])
        augment = config["augment"]
        normalize = [transforms.ToTensor(), transforms.Normalize(augment["mean"], augment["std"])]
        jitter = transforms.ColorJitter(*(augment[key] for key in ("brightness", "contrast", "saturation", "hue")))
        self.centre = transforms.Compose(normalize)
        self.views = [transforms.Compose(
            [transforms.RandomResizedCrop(crop["size"], (crop["scale_min"], crop["scale_max"])),
             transforms.RandomHorizontalFlip(augment["flip"]), transforms.RandomApply([jitter], augment["jitter"]),
             transforms.RandomGrayscale(augment["gray"]), *normalize])
            for crop in config["crops"] for _ in range(crop["count"])]
        self.big = config["crops"][0]["count"]

    def rate(self, step):
        schedule = self.config["schedule"]
        warm, start, peak, end = (schedule[key] for key in ("warmup_steps", "lr_start", "lr_peak", "lr_final"))
        if step < warm:
            return start + (peak - start) * step / warm
        return end + (peak - end) / 2 * (1 + math.cos(math.pi * (step - warm) / (schedule["length_steps"] - warm)))

    def codes(self, scores):
        swav = self.config["swav"]
        q = torch.exp((scores - scores.max()) / swav["epsilon"]).t()
        q /= q.sum()
        for _ in range(swav["sinkhorn_iterations"]):
            q /= q.sum(1, keepdim=True) * q.shape[0]
            q /= q.sum(0, keepdim=True) * q.shape[1]
        return (q * q.shape[1]).t()

    def step(self, images, step):
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        crops = [torch.stack([view(image) for image in images]) for view in self.views]
        sizes = sorted({crop.shape[-1] for crop in crops}, reverse=True)
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        features = torch.cat([self.trunk(torch.cat([crop for crop in crops if crop.shape[-1] == size])
                                         .contiguous(memory_format=torch.channels_last)) for size in sizes])
        scores = self.prototypes(F.normalize(self.head(features), dim=1)).view(len(crops), len(images), -1)
        log_p = F.log_softmax(scores / self.config["swav"]["temperature"], dim=2)
        loss = 0
        for crop in range(self.big):
            with torch.no_grad():
                q = self.codes(scores[crop])
            loss = loss - sum((q * log_p[other]).sum(1).mean() for other in range(len(crops)) if other != crop)
        loss = loss / (self.big * (len(crops) - 1))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if step < self.config["swav"]["freeze_prototypes_steps"]:
            self.prototypes.weight.grad = None
        self.optimizer.step()
        return loss.item()

    def train(self, pictures):
        batch, order, loss = self.config["train"]["batch_images"], [], 0
        for step in range(self.config["train"]["steps"]):
            if len(order) < batch:
                order += torch.randperm(len(pictures)).tolist()
            loss = self.step([pictures[i] for i in order[:batch]], step)
            order = order[batch:]
            if (step + 1) % 100 == 0:
                print(f"torch: step {step + 1} loss {loss:.3f}", file=sys.stderr, flush=True)
        return loss

    @torch.no_grad()
    def features(self, pictures):
        self.trunk.eval()
        parts = [self.trunk(torch.stack([self.centre(image) for image in pictures[i:i + 500]]))
                 for i in range(0, len(pictures), 500)]
        self.trunk.train()
        return torch.cat(parts)


# Debian's BLAS is the reference one, a tenth as fast as oneDNN: so products go that way, as a layer or as a convolution.

def layer(rows, others):
    return F.linear(rows.to_mkldnn(), others.to_mkldnn()).to_dense()


def in_groups(rows):
    """As large as divides them: small ones are slow. (A store takes no picture twice, so it may hold some less.)"""
    group = next(count for count in (100, 10, 1) if len(rows) % count == 0)
    return rows.reshape(-1, group, rows.shape[1]).permute(0, 2, 1)[..., None].contiguous()


def classify(groups, weight, bias):
    return F.conv2d(groups, weight[:, :, None, None], bias)[..., 0].permute(0, 2, 1).reshape(-1, len(weight))


def nearest(bank, labels, test, answers):
    mean = bank.mean(0)
    bank, test = F.normalize(bank - mean, dim=1), F.normalize(test - mean, dim=1)
    right = 0
    for i in range(0, len(test), 1000):
        cosine, index = layer(test[i:i + 1000], bank).topk(NEIGHBOURS, 1)
        votes = torch.zeros(len(cosine), int(labels.max()) + 1).scatter_add_(1, labels[index], torch.exp(cosine / SHARPNESS))
        right += (votes.argmax(1) == answers[i:i + 1000]).sum().item()
    return 100 * right / len(test)


def linear(bank, labels, test, answers):
    mean, deviation = bank.mean(0), bank.std(0) + 1e-6
    bank, test = in_groups((bank - mean) / deviation), in_groups((test - mean) / deviation)
    classes = int(labels.max()) + 1
    weight, bias = torch.zeros(classes, bank.shape[1], requires_grad=True), torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        loss = F.cross_entropy(classify(bank, weight, bias), labels) + (weight * weight).sum() / (2 * len(labels))
        loss.backward()
        return loss
    solver.step(closure)
    return 100 * (classify(test, weight, bias).argmax(1) == answers).float().mean().item()


def few(bank, labels, test, answers, count):
    draws = []
    for seed in range(DRAWS):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.cat([members[torch.randperm(len(members), generator=generator)[:count]]
                            for members in ((labels == label).nonzero()[:, 0] for label in labels.unique())])
        draws.append(linear(bank[chosen], labels[chosen], test, answers))
    return sum(draws) / DRAWS


def judge(name, bank, test, seconds):
    both = (bank[0], bank[1], test[0], test[1])
    values = [nearest(*both), linear(*both), few(*both, 100), few(*both, 10)]
    print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + f" | {seconds} |", flush=True)


def embed(seer, snapshot, store, folder):
    path = os.path.join(folder, "features.csv")
    run(seer, "embed", "--snapshot", snapshot, "--store", store, "--format", "csv", "--to", path, "--threads", 1)
    with open(path, encoding="utf-8") as lines:
        columns = next(lines).strip().split(",")
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32, usecols=range(columns.index("label"), len(columns)))
    return torch.from_numpy(table[:, 1:].copy()), torch.from_numpy(table[:, 0].astype(np.int64))


def write_pieces(photos, is_left, count, seed, path):
    """A tar of `count` pieces of each photograph's half, in random order, with the photographs' numbers."""
    draw = random.Random(seed)
    order = [label for label in range(len(photos)) for _ in range(count)]
    draw.shuffle(order)
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(order):
            photo, side = photos[label], draw.randint(*PIECE_SIDES)
            middle = photo.width // 2
            left = draw.randint(0, middle - side) if is_left else draw.randint(middle, photo.width - side)
            top = draw.randint(0, photo.height - side)
            blob = io.BytesIO()
            photo.crop((left, top, left + side, top + side)).resize((PIECE, PIECE), Image.BICUBIC).save(blob, "PNG")
            for kind, content in (("png", blob.getvalue()), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{number:06d}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def make_photos(options, folder):
    paths = [os.path.join(place, name) for place in PHOTO_FOLDERS if os.path.isdir(place)
             for name in sorted(os.listdir(place)) if name.endswith(".jpg")]
    if len(paths) != PHOTO_COUNT:
        print(f"skipped: {len(paths)} photographs in {' '.join(PHOTO_FOLDERS)}, not {PHOTO_COUNT}: install "
              "lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds")
        sys.exit(77)
    photos = []
    for path in paths:
        photo = Image.open(path).convert("RGB")
        scale = PHOTO_SIDE / max(photo.size)
        photos.append(photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.BICUBIC))
    for seed, (store, count) in enumerate(PIECES.items()):
        place = os.path.join(folder, "pictures" if store == "train" else "bank")
        os.makedirs(place, exist_ok=True)
        tar = os.path.join(place, f"pieces-{'test' if store == 'test' else 'train'}.tar")
        write_pieces(photos, store != "test", count, seed, tar)
        run(options.seer, "ingest", tar, "--labels", "cls", "--store", f"{folder}/{store}-store", "--quiet")


def make(options, folder):
    if options.photos:
        make_photos(options, folder)
        return
    grey = ["--grey"] if options.grey else []
    run(options.seer.replace("/seer", "/colour-fashion"), f"{folder}/pictures", *grey)
    run(options.seer.replace("/seer", "/colour-fashion"), f"{folder}/bank", "--train", BANK, "--test", TEST, *grey)
    for store, source, kind in (("train", "pictures", "train"), ("bank", "bank", "train"), ("test", "bank", "test")):
        tars = [f"{folder}/{source}/{name}" for name in sorted(os.listdir(f"{folder}/{source}"))
                if name.endswith(f"-{kind}.tar")]
        run(options.seer, "ingest", *tars, "--labels", "cls", "--store", f"{folder}/{store}-store", "--quiet")


def compare(options, folder):
    name = ("tests/bench/photo_halves.yaml" if options.photos else
            "configs/demo_grey.yaml" if options.grey else "configs/demo_cpu.yaml")
    config_file = os.path.join(SOURCE, name)
    steps = []
    if options.steps:
        steps = ["--set", f"train.steps={options.steps}", "--set", f"schedule.length_steps={options.steps}"]
    config = json.loads(run(options.seer, "config", "show", config_file, *steps, "-o", "json"))["config"]
    if not isinstance(config["model"]["prototypes"], list):
        config["model"]["prototypes"] = [config["model"]["prototypes"]]
    make(options, folder)
    pictures, _ = read_tars(f"{folder}/pictures", "train")
    bank, test = read_tars(f"{folder}/bank", "train"), read_tars(f"{folder}/bank", "test")
    print(f"{config['train']['steps']} steps of {config['train']['batch_images']} of {len(pictures)} pictures\n")
    print(f"| features | {' | '.join(COLUMNS)} | minutes of a core |\n|---|" + "--:|" * (len(COLUMNS) + 1))
    raw = [torch.from_numpy(np.stack([np.asarray(image).reshape(-1) for image in images]).astype(np.float32))
           for images in (bank[0], test[0])]
    judge("raw pixels", (raw[0], bank[1]), (raw[1], test[1]), "")
    if options.photos:
        colours = [torch.stack([torch.bincount((pixels // 64 * torch.tensor([16, 4, 1])).sum(1).long(), minlength=64)
                                for pixels in part.view(len(part), -1, 3)]).float() for part in raw]
        judge("histograms of colours", (colours[0], bank[1]), (colours[1], test[1]), "")
    for seed in range(options.seed, options.seed + options.seeds):
        ours = os.path.join(folder, f"run-{seed}")
        start = time.monotonic()
        cluster = subprocess.Popen(
            ["taskset", "-c", str(options.core), os.path.join(SOURCE, "deploy", "local_cluster.sh"), "--config", config_file, *steps,
             "--run", ours, "--workers", "1", "--store", f"{folder}/train-store", "--seed", str(seed)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(OTHERS_ENVIRONMENT, SEER_BIN=os.path.dirname(options.seer)))
        os.sched_setaffinity(0, {options.torch_core})
        theirs = Torch(config, seed)
        if seed == options.seed:
            judge("torch, untrained", (theirs.features(bank[0]), bank[1]), (theirs.features(test[0]), test[1]), "")
        before = time.process_time()
        theirs.train(pictures)
        took = time.process_time() - before
        judge(f"torch, seed {seed}", (theirs.features(bank[0]), bank[1]), (theirs.features(test[0]), test[1]),
              f"{took / 60:.1f}")
        _, code, usage = os.wait4(cluster.pid, 0)  # of all its processes
        if code != 0:
            sys.exit(f"the cluster ended with {code}: see {ours}")
        took = usage.ru_utime + usage.ru_stime
        snapshot = json.loads(run(options.seer, "snapshot", "ls", "--run", ours, "-o", "json"))["snapshots"][-1]["path"]
        judge(f"everseer, seed {seed}", embed(options.seer, snapshot, f"{folder}/bank-store", folder),
              embed(options.seer, snapshot, f"{folder}/test-store", folder), f"{took / 60:.1f}")
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seer", default=os.path.join(SOURCE, "build", "release", "bin", "seer"))
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--photos", action="store_true")
    parser.add_argument("--core", type=int, default=0, help="of our run")
    parser.add_argument("--torch-core", type=int, default=os.cpu_count() - 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="instead of the recipe's")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    print(f"{time.strftime('%Y-%m-%d')}, {processor}, torch {torch.__version__}, torchvision {torchvision.__version__}: "
          f"`{shlex.join(['tests/bench/learn_beside_torch.py', *sys.argv[1:]])}`; ", end="")
    with tempfile.TemporaryDirectory(prefix="everseer-learn-") as folder:
        compare(options, folder)


if __name__ == "__main__":
    main()
