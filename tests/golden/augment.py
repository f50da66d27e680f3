"""augment.py - resize, colour, blur and whole crops against Pillow and torchvision, byte by byte.

augment.py TOOL [SEED]: asks TOOL (augment_tool.c) and Pillow for the same operation and compares.
Every byte must be equal."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import os
import random
import subprocess
import sys

try:
    import numpy as np
    from PIL import Image, ImageFilter
    from torchvision.transforms import functional as F
    from torchvision.transforms import InterpolationMode
except ImportError as error:
    print("skipped: needs Debian's python3-torchvision and python3-pil:", error)
    sys.exit(77)

TOOL = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
IS_LONG = os.environ.get("SEER_TEST_LONG") == "1"
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
print("seed", SEED)
random.seed(SEED)
np_random = np.random.default_rng(SEED)
failures = []


def ours(image, box, size, flip, ops, shrink=1):
    line = "%d %d %d %d %d %d %d %d %d " % (*image.size, shrink, *box, size, flip)
    line += " ".join("%s %.17g" % op for op in ops) + " .\n"
    TOOL.stdin.write(line.encode() + image.tobytes())
    TOOL.stdin.flush()
    data = TOOL.stdout.read(size * size * 3)
    assert len(data) == size * size * 3, "the tool ended early"
    return np.frombuffer(data, np.uint8).reshape(size, size, 3)


PILLOW = {
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
    "gray": lambda image, _: F.to_grayscale(image, 3),
    "blur": lambda image, sigma: image.filter(ImageFilter.GaussianBlur(sigma)),
}


def theirs(image, box, size, flip, ops):
    x, y, width, height = box
    image = F.resized_crop(image, y, x, height, width, [size, size], InterpolationMode.BILINEAR)
    if flip:
        image = F.hflip(image)
    for name, value in ops:
        image = PILLOW[name](image, value)
    return np.asarray(image)


def compare_shrunk(image, shrink, size):
    """A box of an image that was decoded smaller, with edges between two of its pixels."""
    x, y, width, height = random_box(image, shrink)
    left, top = x // shrink, y // shrink
    right, bottom = -(-(x + width) // shrink), -(-(y + height) // shrink)
    edges = (x / shrink - left, y / shrink - top, (x + width) / shrink - left, (y + height) / shrink - top)
    a = ours(image, (x, y, width, height), size, 0, (), shrink)
    b = image.crop((left, top, right, bottom)).resize((size, size), Image.BILINEAR, box=edges)
    if (a != np.asarray(b)).any():
        failures.append("shrunk")
        print("FAILED: image %s, 1/%d, box %s, size %d" % (image.size, shrink, (x, y, width, height), size))


def compare(what, image, box, size, flip=0, ops=()):
    a, b = ours(image, box, size, flip, ops), theirs(image, box, size, flip, ops)
    if (a != b).any():
        difference = np.abs(a.astype(int) - b)
        failures.append(what)
        print("FAILED %s: %d of %d bytes differ, by at most %d; image %s box %s size %d flip %d %s"
              % (what, (difference > 0).sum(), difference.size, difference.max(), image.size, box,
                 size, flip, list(ops)))


def noise(width, height):
    return Image.fromarray(np_random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def smooth(width, height):
    """Gradients, edges and grain: nearer to a photograph."""
    y, x = np.mgrid[0:height, 0:width]
    a, b, c = np_random.uniform(0.5, 3, 3)
    base = np.stack([np.sin(a * x / 30), np.cos(b * y / 40), np.sin(c * (x + y) / 50)], -1) * 90
    base += 128 + np_random.normal(0, 6, base.shape) + 60 * ((x // 37 + y // 23) % 2)[..., None]
    return Image.fromarray(base.clip(0, 255).astype(np.uint8))


def whole(size):
    return (0, 0, size, size)


def random_box(image, shrink=1):
    whole_width, whole_height = image.width * shrink, image.height * shrink
    width, height = random.randint(shrink, whole_width), random.randint(shrink, whole_height)
    return random.randint(0, whole_width - width), random.randint(0, whole_height - height), width, height


def random_ops():
    ops = [(name, random.uniform(0.2, 1.8)) for name in ("brightness", "contrast", "saturation")]
    ops.append(("hue", random.uniform(-0.2, 0.2)))
    random.shuffle(ops)
    if random.random() < 0.2:
        ops.append(("gray", 0))
    if random.random() < 0.5:
        ops.append(("blur", random.uniform(0.1, 2.0)))
    return ops


def every_color():
    """All 2^24 colours, one in each pixel."""
    index = np.arange(1 << 24, dtype=np.uint32)
    return Image.fromarray(np.stack([index >> 16, index >> 8 & 255, index & 255], -1)
                           .astype(np.uint8).reshape(4096, 4096, 3))


def main():
    for size in (1, 2, 7, 16, 20, 32, 96, 224):
        for _ in range(12):
            image = random.choice((noise, smooth))(random.randint(1, 700), random.randint(1, 500))
            compare("resize", image, random_box(image), size, random.randint(0, 1))
    for shrink in (2, 4, 8):
        for size in (7, 32, 96):
            for _ in range(4):
                compare_shrunk(noise(random.randint(9, 200), random.randint(9, 200)), shrink, size)
    compare("resize of a long image", noise(5000, 3), (0, 0, 5000, 3), 32)
    compare("resize of a tall image", noise(2, 6000), (0, 0, 2, 6000), 32)
    compare("resize of one pixel", noise(9, 9), (4, 4, 1, 1), 33)

    colors = every_color()
    for hue in (0.0, 0.2, -0.2, 0.0779, -0.1234, 0.5) if IS_LONG else (0.2, -0.1234):
        compare("hue of every colour", colors, whole(4096), 4096, 0, [("hue", hue)])
    compare("grey of every colour", colors, whole(4096), 4096, 0, [("gray", 0)])
    compare("saturation of every colour", colors, whole(4096), 4096, 0, [("saturation", 1.37)])
    for name in ("brightness", "contrast", "saturation"):
        for factor in [0.0, 1.0, 0.2, 1.8] + [random.uniform(0, 2) for _ in range(20)]:
            compare(name, random.choice((noise, smooth))(97, 97), whole(97), 97, 0, [(name, factor)])
    for size in (1, 2, 3, 5, 32, 96, 224, 600):
        for sigma in [0.0, 0.1, 2.0, 7.3] + [random.uniform(0.1, 2) for _ in range(8)]:
            compare("blur", noise(size, size), whole(size), size, 0, [("blur", sigma)])
    for _ in range(200):
        image = smooth(random.randint(20, 640), random.randint(20, 480))
        compare("whole crop", image, random_box(image), random.choice((32, 96, 224)),
                random.randint(0, 1), random_ops())

    TOOL.stdin.close()
    assert TOOL.wait() == 0, "the tool failed"
    print("failed: %d" % len(failures))
    return 1 if failures else 0


sys.exit(main())
