#!/usr/bin/python3
# learner.py - the learner against PyTorch: trunk, statistics, loss, codes, queue, LARC, trajectory.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""Usage: learner.py PROBE [TEST...]. Exit 77 where PyTorch is missing.

The reference runs in float64, so that differences are ours alone. Torch's own float32 differs from
it by as much as we do: a ReLU whose input is within rounding of zero may open or close.
"""
import math
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torchvision.models.regnet import BlockParams, RegNet
    from torchvision.models.resnet import Bottleneck, ResNet
except ImportError as error:
    print("skipped: PyTorch or torchvision is not installed for", sys.executable, "-", error)
    sys.exit(77)

SEED = int(os.environ.get("SEER_TEST_SEED", "7"))
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)

TINY = dict(depth=6, w0=24, wa=16.0, wm=2.0, group_width=8, stem_width=32, stem_stride=1)
EIGHT = dict(depth=17, w0=192, wa=76.82, wm=2.19, group_width=56, stem_stride=2)
RESNET = dict(family="resnet", stem_width=64, stem_stride=2)
SMALL = dict(crops=[(2, 48)], batch=8, slot=4)
BASE = dict(
    model=dict(TINY, rounding="pycls", head=[40, 24], head_batch_norm=False, prototypes=30),
    crops=[(2, 32), (4, 20)], batch=8, slot=4, bn_group=0, queue=0, queue_start=0, freeze=0,
    optimizer="larc", temperature=0.1, epsilon=0.05, iterations=3)


def case(**changes):
    merged = dict(BASE, **{k: v for k, v in changes.items() if k != "model"})
    merged["model"] = dict(BASE["model"], **changes.get("model", {}))
    return merged


def yaml_of(c):
    m = c["model"]
    crops = "\n".join(f"  - {{count: {n}, size: {s}, scale_min: 0.1, scale_max: 1}}" for n, s in c["crops"])
    model = "\n".join(f"  {k}: {str(v).lower() if isinstance(v, bool) else v}" for k, v in m.items())
    return f"""
run: {{seed: {SEED}}}
crops:
{crops}
model:
{model}
swav:
  temperature: {c['temperature']}
  epsilon: {c['epsilon']}
  sinkhorn_iterations: {c['iterations']}
  freeze_prototypes_steps: {c['freeze']}
  queue_images: {c['queue']}
  queue_start_step: {c['queue_start']}
train: {{batch_images: {c['batch']}, slot_images: {c['slot']}, bn_group_slots: {c['bn_group']}}}
optimizer: {{kind: {c['optimizer']}, momentum: 0.9, weight_decay: 1e-4, trust: 0.02}}
collective: {{bucket_kib: 16}}
"""


def make_crops(c, steps):
    """[step][resolution] of u8 rows [slot][crop][image]: smooth blobs, each image's crops alike."""
    rng = np.random.default_rng(SEED)
    result = []
    for _ in range(steps):
        colours = rng.integers(0, 256, (c["batch"], 4, 3))
        rows = []
        for count, size in c["crops"]:
            y, x = np.mgrid[0:size, 0:size] / size
            group = []
            for slot in range(c["batch"] // c["slot"]):
                for _ in range(count):
                    for image in range(slot * c["slot"], (slot + 1) * c["slot"]):
                        a, b = rng.uniform(0.2, 0.8, 2)
                        k = colours[image]
                        plane = (np.exp(-8 * ((x - a) ** 2 + (y - b) ** 2))[..., None] * (k[0] - k[1])
                                 + k[1] + 0.2 * (k[2] - 128) * np.sin(9 * x + k[3, 0])[..., None])
                        plane = plane + rng.normal(0, 12, plane.shape)
                        group.append(np.clip(plane, 0, 255).astype(np.uint8))
            rows.append(np.stack(group))
        result.append(rows)
    return result


class Stem(nn.Sequential):
    def __init__(self, width_in, width_out, norm_layer, activation_layer, stride=2):
        super().__init__(nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False),
                         norm_layer(width_out), activation_layer(inplace=True))
        self.out_channels = width_out


def make_resnet(m):
    """The trunk of 'resnet': its stem is torchvision's own."""
    trunk = ResNet(Bottleneck, m["stage_blocks"], num_classes=2, groups=m["groups"],
                   width_per_group=m["group_width"])
    trunk.fc = nn.Identity()
    return trunk.double().train()


def pycls_widths(m):
    """Equations 2 to 4 of Radosavovic et al., then the nearest multiple of the group, ties to even;
    torchvision's BlockParams keeps only what its own rule makes of them."""
    widths = m["w0"] + m["wa"] * np.arange(m["depth"])
    powers = np.round(np.log(widths / m["w0"]) / np.log(m["wm"]))
    raw = sorted({int(8 * np.round(m["w0"] * m["wm"] ** k / 8)) for k in powers})
    return [round(w / min(m["group_width"], w)) * min(m["group_width"], w) for w in raw]


def make_trunk(m):
    if m.get("family") == "resnet":
        return make_resnet(m)
    params = BlockParams.from_init_params(depth=m["depth"], w_0=m["w0"], w_a=m["wa"], w_m=m["wm"],
                                          group_width=m["group_width"], se_ratio=0.25)
    if m["rounding"] == "pycls":
        params.widths = pycls_widths(m)

    def stem(*args):
        return Stem(*args, stride=m["stem_stride"])

    trunk = RegNet(params, stem_width=m["stem_width"], stem_type=stem, num_classes=2)
    trunk.fc = nn.Identity()
    return trunk.double().train()


class Probe:
    """One run of the C program, and its files as named tensors."""

    def __init__(self, program, c, mode, crops, *args, **files):
        self.temporary = tempfile.TemporaryDirectory(prefix="seer-golden-")
        self.directory = self.temporary.name
        with open(self.path("config.yaml"), "w", encoding="utf-8") as file:
            file.write(yaml_of(c))
        with open(self.path("crops.u8"), "wb") as file:
            for step in crops:
                for rows in step:
                    file.write(rows.tobytes())
        for name, array in files.items():
            array.astype(np.float32).tofile(self.path(name + ".f32"))
        subprocess.run([program, mode, self.path("config.yaml"), self.directory, *map(str, args)],
                       check=True)
        self.tensors = {}
        with open(self.path("tensors.txt"), encoding="utf-8") as file:
            for line in file:
                name, kind, offset, *shape = line.split()
                self.tensors[name] = (kind, int(offset), [int(n) for n in shape])

    def path(self, name):
        return os.path.join(self.directory, name)

    def floats(self, name):
        return torch.from_numpy(np.fromfile(self.path(name + ".f32"), np.float32)).double()

    def named(self, name, kind):
        floats = self.floats(name)
        return {t: floats[offset:offset + math.prod(shape)].reshape(shape).clone()
                for t, (k, offset, shape) in self.tensors.items() if k == kind}


def load_trunk(trunk, initial):
    state = {k[len("trunk."):]: v for k, v in initial.items() if k.startswith("trunk.")}
    missing, unexpected = trunk.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all(k.endswith("num_batches_tracked") for k in missing), missing


def images_of(rows):
    x = torch.from_numpy(rows).double() / 255
    return ((x - MEAN) / STD).permute(0, 3, 1, 2)


failures = []
gross = []  # those that are off by more than tenfold what is allowed


def expect(what, error, tolerance):
    verdict = "ok" if error <= tolerance else "FAILED"
    print(f"  {verdict:6} {what}: {error:.2e} (at most {tolerance:.0e})")
    if not error <= tolerance:
        failures.append(what)
        gross.extend([what] if not error <= 10 * tolerance else [])


def relative(ours, reference):
    return ((ours - reference).norm() / reference.norm().clamp_min(1e-30)).item()


def compare_named(what, ours, reference, whole, each):
    """Error of all tensors together, and of the worst one against the typical gradient."""
    names = sorted(reference)
    assert sorted(ours) == names, set(ours) ^ set(names)
    flat = torch.cat([reference[n].flatten() for n in names])
    expect(what + ", all together",
           relative(torch.cat([ours[n].flatten() for n in names]), flat), whole)
    scale = flat.norm() / math.sqrt(flat.numel())
    worst, name = max(((ours[n] - reference[n]).norm().item()
                       / max(reference[n].norm().item(),
                             (scale * math.sqrt(reference[n].numel())).item() * 1e-2), n)
                      for n in names)
    expect(f"{what}, worst tensor {name}", worst, each)


def trunk_in_float32(c, probe, crops, upstream):
    """Features and gradients as torch's float32 has them: what rounding does to them."""
    trunk = make_trunk(c["model"])
    load_trunk(trunk, {**probe.named("initial", "parameter"), **probe.named("initial", "statistic")})
    trunk = trunk.float()
    features = torch.cat([trunk(images_of(r).float()) for r in crops])
    features.backward(torch.from_numpy(upstream))
    return (features.detach().double(),
            {"trunk." + k: p.grad.double() for k, p in trunk.named_parameters()})


def trunk_case(program, name, c, statistics=2e-6):
    """Features, gradients and running statistics of the trunk on two resolutions."""
    print(name, flush=True)
    crops = make_crops(c, 1)
    trunk = make_trunk(c["model"])
    width = trunk(torch.zeros(2, 3, 32, 32, dtype=torch.float64)).shape[1]
    rows = sum(len(r) for r in crops[0])
    upstream = np.random.default_rng(SEED + 1).normal(size=(rows, width)).astype(np.float32)
    probe = Probe(program, c, "trunk", crops, features_grad=upstream)
    load_trunk(trunk, {**probe.named("initial", "parameter"), **probe.named("initial", "statistic")})
    features = torch.cat([trunk(images_of(r)) for r in crops[0]])
    features.backward(torch.from_numpy(upstream).double())
    # A random gradient from above meets ReLUs that rounding flips, and deep networks with few rows for
    # each BN magnify rounding: torch's float32 is the measure.
    features32, torch32 = trunk_in_float32(c, probe, crops[0], upstream)
    off = relative(features32, features.detach())
    print(f"  torch's float32 features: {off:.2e}")
    expect("features", relative(probe.floats("features").reshape(rows, width), features.detach()),
           max(2e-5, 2 * off))
    reference = {"trunk." + k: p.grad for k, p in trunk.named_parameters()}
    flat = [torch.cat([g[k].flatten() for k in reference]) for g in (torch32, reference)]
    print(f"  torch's float32 gradients: {relative(*flat):.2e}")
    ours = {k: v for k, v in probe.named("grads", "parameter").items() if k.startswith("trunk.")}
    whole = max(5e-3, 2 * relative(*flat))
    compare_named("gradients", ours, reference, whole, 5 * whole)
    ours = {k: v for k, v in probe.named("after", "statistic").items() if k.startswith("trunk.")}
    reference = {"trunk." + k: b for k, b in trunk.named_buffers() if b.dim() == 1}
    compare_named("running statistics", ours, reference, statistics, 10 * statistics)


def sinkhorn(scores, epsilon, iterations):
    q = torch.exp((scores - scores.max()) / epsilon).t()
    q = q / q.sum()
    k, n = q.shape
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / k
        q = q / q.sum(0, keepdim=True) / n
    return (q / q.sum(0, keepdim=True)).t()


class Reference:
    """The whole learner once more, in torch."""

    def __init__(self, c, initial):
        m = c["model"]
        self.c, self.trunk = c, make_trunk(m)
        load_trunk(self.trunk, initial)
        width, layers = self.trunk(torch.zeros(2, 3, 32, 32, dtype=torch.float64)).shape[1], []
        load_trunk(self.trunk, initial)
        for i, out in enumerate(m["head"]):
            layers.append(nn.Linear(width, out))
            if i + 1 < len(m["head"]):
                layers += [nn.BatchNorm1d(out)] if m["head_batch_norm"] else []
                layers.append(nn.ReLU())
            width = out
        self.head = nn.Sequential(*layers).double().train()
        state = {k[len("head."):]: v for k, v in initial.items() if k.startswith("head.")}
        assert not self.head.load_state_dict(state, strict=False).unexpected_keys
        self.prototypes = {k: v.clone().requires_grad_() for k, v in initial.items()
                           if k.startswith("prototypes")}
        self.net = nn.ModuleDict({"trunk": self.trunk, "head": self.head})
        self.momentum, self.number = {}, 0
        self.queue = [[] for _ in range(c["crops"][0][0])]

    def parameters(self):
        return {**dict(self.net.named_parameters()), **self.prototypes}

    def statistics(self):
        return {k: b for k, b in self.net.named_buffers() if b.dim() == 1}

    def with_groups(self, module, parts):
        """module on each BN group by itself; running statistics move by the groups' average."""
        norms = [n for n in module.modules() if isinstance(n, (nn.BatchNorm2d, nn.BatchNorm1d))]
        old = [(n.running_mean.clone(), n.running_var.clone()) for n in norms]
        sums = [[0, 0] for _ in norms]
        outputs = []
        for part in parts:
            for n in norms: # fresh buffers: autograd must not see them change
                n.momentum = 1.0
                n.running_mean, n.running_var = n.running_mean.clone(), n.running_var.clone()
            outputs.append(module(part))
            for n, s in zip(norms, sums):
                s[0] = s[0] + n.running_mean.clone() / len(parts)
                s[1] = s[1] + n.running_var.clone() / len(parts)
        for n, s, (mean, var) in zip(norms, sums, old):
            n.running_mean = 0.9 * mean + 0.1 * s[0]
            n.running_var = 0.9 * var + 0.1 * s[1]
        return outputs

    def forward(self, crops):
        """Embeddings by [resolution][group]."""
        c = self.c
        groups = 1 if c["bn_group"] == 0 else c["batch"] // c["slot"] // c["bn_group"]
        features = []
        for rows in crops:
            x = images_of(rows).to(self.head[0].weight.dtype)
            features.append(self.with_groups(self.trunk, list(x.chunk(groups))))
        joined = [torch.cat([f[g] for f in features]) for g in range(groups)]
        z = self.with_groups(self.head, joined)
        counts = [f[0].shape[0] for f in features]
        parts = [group.split(counts) for group in z]
        return [torch.cat([parts[g][r] for g in range(groups)]) for r in range(len(crops))]

    def loss(self, crops):
        c = self.c
        embeddings, by_crop = self.forward(crops), []
        for (count, _), e in zip(c["crops"], embeddings):
            e = F.normalize(e, dim=1).reshape(-1, count, c["slot"], e.shape[1])
            by_crop += [e[:, i].reshape(-1, e.shape[-1]) for i in range(count)]
        self.new = by_crop[:c["crops"][0][0]]
        return sum(self.loss_by(p, by_crop) for p in self.prototypes.values()) / len(self.prototypes)

    def loss_by(self, prototypes, by_crop):
        """Of one head of prototypes."""
        c, total = self.c, 0
        scores, assigned = [e @ prototypes.t() for e in by_crop], c["crops"][0][0]
        full = c["queue"] > 0 and sum(len(q) for q in self.queue[0]) == c["queue"]
        for i in range(assigned):
            with torch.no_grad():
                s = scores[i]
                if full and self.number >= c["queue_start"]:
                    s = torch.cat([s, torch.cat(self.queue[i]) @ prototypes.t()])
                q = sinkhorn(s, c["epsilon"], c["iterations"])[:c["batch"]]
            for v, s in enumerate(scores):
                if v != i:
                    total = total - (q * F.log_softmax(s / c["temperature"], 1)).sum(1).mean()
        return total / (assigned * (len(scores) - 1))

    def in_float32(self, crops):
        """Gradients of a step as torch's float32 has them: what rounding does to them."""
        self.net.float()
        self.prototypes = {k: p.detach().float().requires_grad_()
                           for k, p in self.prototypes.items()}
        self.loss(crops).backward()
        self.grads = {k: p.grad.double() for k, p in self.parameters().items()}

    def step(self, crops, lr):
        c, parameters = self.c, self.parameters()
        for p in parameters.values():
            p.grad = None
        loss = self.loss(crops)
        loss.backward()
        if self.number < c["freeze"]:
            for p in self.prototypes.values():
                p.grad = None
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in parameters.values()
                             if p.grad is not None))
        with torch.no_grad():
            for name, p in parameters.items():
                if p.grad is not None:
                    self.update(name, p, lr)
            for p in self.prototypes.values():
                p.copy_(F.normalize(p, dim=1))
            for queue, new in zip(self.queue, self.new):
                queue.insert(0, new.detach())
                del queue[c["queue"] // c["batch"]:]
        self.number += 1
        return loss.item(), norm

    def update(self, name, p, lr, decay=1e-4, trust=0.02, eps=1e-8):
        """apex LARC (clip=False) around torch SGD, or plain SGD."""
        g, pn, gn = p.grad, p.norm(), p.grad.norm()
        if self.c["optimizer"] == "sgd":
            g = g + decay * p
        elif pn != 0 and gn != 0:
            g = trust * pn / (gn + decay * pn + eps) * (g + decay * p)
        v = self.momentum.get(name)
        self.momentum[name] = g.clone() if v is None else 0.9 * v + g
        p -= lr * self.momentum[name]


def train_case(program, name, c, steps=20, lr=0.003):
    """The whole learner, free-running, on crops that repeat after three steps. A learning rate ten
    times as large makes so small a network chaotic: rounding then decides the loss of step 20."""
    print(name, flush=True)
    crops = make_crops(c, 3)
    probe = Probe(program, c, "train", crops, steps, lr)
    reference = Reference(c, {**probe.named("initial", "parameter"),
                              **probe.named("initial", "statistic")})
    with open(probe.path("losses.txt"), encoding="utf-8") as file:
        lines = [[float(n) for n in line.split()] for line in file]
    assert len(lines) == steps
    worst_loss = worst_norm = 0
    for number, (loss, norm) in enumerate(lines):
        expected_loss, expected_norm = reference.step(crops[number % 3], lr)
        if number == 0:
            expect("loss of step 0", abs(loss / expected_loss - 1), 2e-6)
            gradients = {k: v for k, v in probe.named("grads", "parameter").items()
                         if reference.parameters()[k].grad is not None}
            compare_named("gradients of step 0", gradients,
                          {k: reference.parameters()[k].grad for k in gradients}, 5e-3, 5e-2)
            compare_named("parameters after step 0", probe.named("after1", "parameter"),
                          {k: p.detach() for k, p in reference.parameters().items()}, 1e-5, 1e-3)
        worst_loss = max(worst_loss, abs(loss / expected_loss - 1))
        worst_norm = max(worst_norm, abs(norm / expected_norm - 1))
    # fp32 against fp64: ReLUs that flip by rounding set the bound, another order of sums moves it by half.
    expect(f"loss of {steps} steps ({lines[0][0]:.4f} to {lines[-1][0]:.4f})", worst_loss, 3e-3)
    expect("gradient norm, where ReLUs flip", worst_norm, 1e-1)
    compare_named("parameters at the end", probe.named("after", "parameter"),
                  {k: p.detach() for k, p in reference.parameters().items()}, 1e-3, 5e-2)
    compare_named("statistics at the end", probe.named("after", "statistic"),
                  reference.statistics(), 1e-3, 1e-2)
    if c["queue"]:
        ours = probe.named("after", "queue")["queue/embeddings"]
        expect("queue", relative(ours, torch.stack([torch.cat(q) for q in reference.queue])), 1e-2)
    reference.trunk.eval()
    state = {**probe.named("after", "parameter"), **probe.named("after", "statistic")}
    load_trunk(reference.trunk, state)
    with torch.no_grad():
        features = reference.trunk(images_of(crops[0][0]))
    expect("features in eval mode", relative(probe.floats("eval").reshape(features.shape), features),
           2e-5)


def step_case(program, c, statistics, lr=1.0):
    """One whole step: loss, gradients through the head, what the optimizer makes of them, and the
    trunk in eval mode afterwards. The update is large, so that fp32 parameters show it."""
    crops = make_crops(c, 1)
    probe = Probe(program, c, "train", crops, 1, lr)
    initial = {**probe.named("initial", "parameter"), **probe.named("initial", "statistic")}
    reference, torch32 = Reference(c, initial), Reference(c, initial)
    torch32.in_float32(crops[0])
    loss, _ = reference.step(crops[0], lr)
    with open(probe.path("losses.txt"), encoding="utf-8") as file:
        expect("loss", abs(float(file.read().split()[0]) / loss - 1), 2e-5)
    wanted = {k: p.grad for k, p in reference.parameters().items()}
    flat = [torch.cat([g[k].flatten() for k in wanted]) for g in (torch32.grads, wanted)]
    print(f"  torch's float32 gradients: {relative(*flat):.2e}")
    whole = max(5e-3, 2 * relative(*flat))
    compare_named("gradients of the step", probe.named("grads", "parameter"), wanted, whole,
                  5 * whole)
    after = probe.named("after1", "parameter")
    compare_named("update", {k: after[k] - initial[k] for k in wanted},
                  {k: p.detach() - initial[k] for k, p in reference.parameters().items()}, whole,
                  5 * whole)
    compare_named("running statistics of the step", probe.named("after1", "statistic"),
                  reference.statistics(), statistics, 10 * statistics)
    reference.trunk.eval()
    load_trunk(reference.trunk, {**after, **probe.named("after1", "statistic")})
    with torch.no_grad():
        features = reference.trunk(images_of(crops[0][0]))
    expect("features in eval mode", relative(probe.floats("eval").reshape(features.shape), features),
           2e-5)


def finetuned_by_torch(trunk, layer, crops, labels, steps, lr, layer_lr, nesterov):
    """Losses of torch's SGD, which decays no scale or offset of BN."""
    norms = [p for m in trunk.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    others = [p for p in trunk.parameters() if not any(p is n for n in norms)]
    sgd = torch.optim.SGD([{"params": others}, {"params": norms, "weight_decay": 0},
                           {"params": layer.parameters(), "lr": layer_lr}],
                          lr=lr, momentum=0.9, weight_decay=0.5, nesterov=nesterov)
    losses = []
    for number in range(steps):
        images = images_of(crops[number % len(crops)][0]).to(layer.weight.dtype)
        loss = F.cross_entropy(layer(trunk(images)), labels[number % len(labels)])
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


def finetune_case(program, name, c, nesterov=False, steps=5, lr=1e-4, layer_lr=5e-4):
    """A few steps of trunk and classifier. What rounding may do is what it does to torch's float32,
    twice over, since it may go the other way, and no less than the least that is worth naming. Rates
    are small, since ReLUs that flip by rounding make so small a network chaotic, and the decay is
    large, so that it shows which tensors it is for."""
    print(name, flush=True)
    classes, one = c["model"]["head"][-1], dict(c, crops=[(1, c["crops"][0][1])])
    crops = make_crops(one, 3)
    labels = np.random.default_rng(SEED + 2).integers(0, classes, (3, c["batch"]))
    probe, initial = Probe(program, c, "finetune", crops, steps, lr, layer_lr, int(nesterov),
                           labels=labels), {}
    for kind in ("parameter", "statistic"):
        initial.update(probe.named("initial", kind))
    results = {}
    for dtype in (torch.float64, torch.float32):
        trunk = make_trunk(c["model"])
        load_trunk(trunk, initial)
        layer = nn.Linear(initial["head.0.weight"].shape[1], classes).double()
        layer.load_state_dict({"weight": initial["head.0.weight"], "bias": initial["head.0.bias"]})
        losses = finetuned_by_torch(trunk.to(dtype), layer.to(dtype), crops,
                                    torch.from_numpy(labels), steps, lr, layer_lr, nesterov)
        after = {"trunk." + k: p.detach().double() for k, p in trunk.named_parameters()}
        after.update({"head.0." + k: p.detach().double() for k, p in layer.named_parameters()})
        moved = {k: after[k] - initial[k] for k in after}
        statistics = {"trunk." + k: b.double() for k, b in trunk.named_buffers() if b.dim() == 1}
        results[dtype] = (losses, moved, statistics)
    losses, moved, statistics = results[torch.float64]
    off, statistics_off = (
        relative(*(torch.cat([results[t][i][k].flatten() for k in sorted(results[t][i])])
                   for t in (torch.float32, torch.float64))) for i in (1, 2))
    print(f"  torch's float32 moves weights otherwise by: {off:.2e}")
    with open(probe.path("losses.txt"), encoding="utf-8") as file:
        ours = torch.tensor([float(line) for line in file], dtype=torch.float64)
    assert len(ours) == steps and (losses.max() - losses.min()) > 1e-3, losses
    expect("loss of step 0", abs(ours[0] / losses[0] - 1).item(), 2e-6)
    loss_off = (results[torch.float32][0] / losses - 1).abs().max().item()
    expect(f"loss of {steps} steps ({losses[0]:.4f} to {losses[-1]:.4f})",
           (ours / losses - 1).abs().max().item(), max(1e-4, 2 * loss_off))
    after = probe.named("after", "parameter")
    compare_named("how weights moved", {k: after[k] - initial[k] for k in after}, moved,
                  max(2e-3, 2 * off), 10 * max(2e-3, 2 * off))
    whole = max(1e-5, 2 * statistics_off)
    compare_named("running statistics", probe.named("after", "statistic"), statistics, whole,
                  20 * whole)


def model_case(program, name, c):
    statistics = 2e-5 # a hundred layers add up
    trunk_case(program, name, c, statistics)
    step_case(program, c, statistics)


CASES = {
    "trunk_tiny": lambda p: trunk_case(p, "tiny RegNetY, stem of stride 1", case()),
    "trunk_400mf": lambda p: trunk_case(
        p, "RegNetY-400MF, 64 and 40 pixels",
        case(model=dict(depth=16, w0=48, wa=27.89, wm=2.09, stem_stride=2),
             crops=[(2, 64), (2, 40)])),
    "trunk_800mf": lambda p: trunk_case(
        p, "RegNetY-800MF with torchvision's widths, 64 and 48 pixels",
        case(model=dict(depth=14, w0=56, wa=38.84, wm=2.4, group_width=16, stem_stride=2,
                        rounding="torchvision"), crops=[(2, 64), (2, 48)])),
    # A step of whole models, on small pictures.
    "model_400mf": lambda p: model_case(p, "RegNetY-400MF", case(
        model=dict(depth=16, w0=48, wa=27.89, wm=2.09, stem_stride=2, head=[64, 64, 32],
                   head_batch_norm=True), crops=[(2, 64), (1, 48)])),
    "model_8gf": lambda p: model_case(p, "RegNetY-8GF with pycls' widths", case(
        model=dict(EIGHT, rounding="pycls"), **SMALL)),
    "model_8gf_torchvision": lambda p: model_case(p, "RegNetY-8GF with torchvision's widths", case(
        model=dict(EIGHT, rounding="torchvision"), **SMALL)),
    "model_resnext_tiny": lambda p: model_case(p, "a ResNeXt of six blocks, head of three layers", case(
        model=dict(RESNET, stage_blocks=[2, 1, 2, 1], groups=4, group_width=8, head=[48, 32, 24],
                   conv_start="fan_in"), crops=[(2, 64), (2, 48)])),
    "model_resnet50": lambda p: model_case(p, "ResNet-50, a head of three layers with BN", case(
        model=dict(RESNET, stage_blocks=[3, 4, 6, 3], groups=1, group_width=64,
                   head=[64, 64, 32], head_batch_norm=True), **SMALL)),
    "model_resnext101": lambda p: model_case(p, "ResNeXt-101 32x4d", case(
        model=dict(RESNET, stage_blocks=[3, 4, 23, 3], groups=32, group_width=4), **SMALL)),
    "train_larc": lambda p: train_case(p, "LARC, no BN in the head", case()),
    "train_sgd": lambda p: train_case(
        p, "SGD, BN in the head, prototypes frozen at first",
        case(model=dict(head_batch_norm=True), optimizer="sgd", freeze=3), lr=5e-6),
    "train_groups": lambda p: train_case(
        p, "two BN groups of two slots, BN in the head",
        case(model=dict(head_batch_norm=True), batch=16, slot=4, bn_group=2)),
    "train_queue": lambda p: train_case(
        p, "feature queue of three batches from step 5", case(queue=24, queue_start=5)),
    "finetune_plain": lambda p: finetune_case(
        p, "finetuning, plain momentum", case(model=dict(head=[7]), crops=[(2, 32)], batch=16)),
    "finetune_nesterov": lambda p: finetune_case(
        p, "finetuning, Nesterov's momentum",
        case(model=dict(head=[7]), crops=[(2, 32)], batch=16), nesterov=True),
    "finetune_resnext": lambda p: finetune_case(
        p, "finetuning a ResNeXt of six blocks", case(
            model=dict(RESNET, stage_blocks=[2, 1, 2, 1], groups=4, group_width=8, head=[5],
                       conv_start="fan_in"), crops=[(2, 64)], batch=12, slot=4)),
    "train_heads": lambda p: train_case(
        p, "three heads of prototypes, one of another size, frozen at first, and a queue",
        case(model=dict(prototypes=[30, 30, 12]), queue=24, queue_start=5, freeze=2)),
    "train_three": lambda p: train_case(
        p, "three assigned crops, three kinds of crop, one head layer",
        case(model=dict(head=[24]), crops=[(3, 32), (2, 24), (1, 16)])),
}


LONG = {"finetune_resnext", "model_resnet50", "model_8gf", "model_8gf_torchvision", "model_resnext101"}


def run_case(name, program):
    """A ReLU whose input is 0 but for rounding is off in one of the two, now and then, which shows in the third digit of
    gradients: then once more with another seed. What is wrong is so with every seed, or grossly."""
    global SEED
    for _ in range(3):
        print("seed", SEED, flush=True)
        failures.clear()
        CASES[name](program)
        if not failures or gross:
            break
        SEED += 1


def main():
    torch.set_num_threads(1)
    if set(sys.argv[2:]) & LONG and os.environ.get("SEER_TEST_LONG") != "1":
        print("skipped: takes a minute, set SEER_TEST_LONG=1")
        return 77
    failed = []
    for name in sys.argv[2:] or CASES:
        run_case(name, sys.argv[1])
        failed += failures
    if failed:
        print("failed:", "; ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
