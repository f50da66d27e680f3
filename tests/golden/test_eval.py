#!/usr/bin/python3
# test_eval.py - features and kNN of `seer embed` and `seer eval knn` against PyTorch and NumPy.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A tiny RegNetY with random weights, saved as a snapshot, must see a store of pictures as PyTorch
sees them, and its neighbours must vote as NumPy counts them."""
import json, os, struct, subprocess, sys, tempfile, unittest

try:
    import numpy, torch, torchvision
    from PIL import Image
    from torchvision import transforms
    from torchvision.models.regnet import BlockParams, RegNet
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

SEER = os.path.join(os.environ["SEER_BIN"], "seer")
SIZE, K = 32, 5
CONFIG = """
crops:
  - {count: 2, size: 32, scale_min: 0.5, scale_max: 1}
  - {count: 2, size: 20, scale_min: 0.2, scale_max: 0.6}
model: {depth: 6, w0: 24, wa: 16, wm: 2, group_width: 8, stem_stride: 1, head: [16, 8],
        head_batch_norm: true, prototypes: 10}
optimizer: {sharded: true} # of the run; nobody here has a momentum
"""
MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)
STD = numpy.array([0.229, 0.224, 0.225], numpy.float32)


class Stem(torch.nn.Sequential):
    """torchvision's stem with a stride of 1."""

    def __init__(self, width_in, width_out, norm_layer, activation_layer):
        super().__init__(torch.nn.Conv2d(width_in, width_out, 3, 1, 1, bias=False),
                         norm_layer(width_out), activation_layer(inplace=True))
        self.out_channels = width_out


def random_network():
    torch.manual_seed(2)
    blocks = BlockParams.from_init_params(depth=6, w_0=24, w_a=16, w_m=2, group_width=8,
                                          se_ratio=0.25)
    network = RegNet(blocks, stem_width=32, stem_type=Stem, num_classes=10)
    network.fc = torch.nn.Identity()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def write_snapshot(path, network):
    tensors = {"trunk." + name: tensor for name, tensor in network.state_dict().items()
               if not name.endswith("num_batches_tracked")}
    for name, shape in {"head.0.weight": (16, 96), "head.0.bias": (16,), "head.1.weight": (16,),
                        "head.1.bias": (16,), "head.1.running_mean": (16,),
                        "head.1.running_var": (16,), "head.3.weight": (8, 16),
                        "head.3.bias": (8,), "prototypes.weight": (10, 8)}.items():
        tensors[name] = torch.rand(shape)
    header, data = {"__metadata__": {"format": "pt", "everseer.config": CONFIG,
                                     "everseer.step": "7"}}, b""
    for name, tensor in tensors.items():
        raw = tensor.detach().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def make_pictures(folder, classes, per_class, seed, width, height, tint=0):
    """Noise around a colour and a gradient of each class, with a tint of each picture's own of that
    deviation; returns them in the order of paths."""
    random, pictures = numpy.random.RandomState(seed), []
    for label, name in enumerate(classes):
        os.makedirs(os.path.join(folder, name))
        base = numpy.random.RandomState(100 + hash_of(name)).uniform(60, 190, 3)
        for i in range(per_class):
            shade = numpy.linspace(-40, 40, width)[None, :, None] * random.uniform(0.3, 1)
            noise = random.normal(0, 45, (height, width, 3))
            own = random.normal(0, tint, 3) if tint else 0
            array = numpy.clip(base + own + shade + noise, 0, 255).astype(numpy.uint8)
            Image.fromarray(array).save(os.path.join(folder, name, "%03d.png" % i))
            pictures.append((array, name))
    return pictures


def hash_of(name):
    return sum(map(ord, name))


def seer(*arguments, code=0):
    done = subprocess.run([SEER, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done


def prepare(array):
    """As picture_reader.h says."""
    height, width, _ = array.shape
    if (width, height) == (SIZE, SIZE):
        return array
    shorter = int(SIZE * 256 / 224 + 0.5)
    preprocess = transforms.Compose([transforms.Resize(shorter), transforms.CenterCrop(SIZE)])
    return numpy.asarray(preprocess(Image.fromarray(array)))


def features_of(network, pictures):
    images = numpy.stack([prepare(array) for array, _ in pictures]).astype(numpy.float32) / 255
    images = torch.from_numpy(((images - MEAN) / STD).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return network(images).numpy()


def knn_top1(train, train_labels, test, test_labels):
    mean = train.mean(0)
    train, test = train - mean, test - mean
    train /= numpy.linalg.norm(train, axis=1, keepdims=True)
    test /= numpy.linalg.norm(test, axis=1, keepdims=True)
    similarity, right = test @ train.T, 0
    for row, label in zip(similarity, test_labels):
        votes = {}
        for index in numpy.argsort(-row)[:K]:
            votes[train_labels[index]] = votes.get(train_labels[index], 0) + \
                numpy.exp(row[index] / 0.07)
        right += max(votes, key=votes.get) == label
    return 100 * right / len(test_labels)


class Eval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.network = random_network()
        write_snapshot(cls.path("s.safetensors"), cls.network)
        # The test store has its classes in another order and one that train does not know.
        cls.train = make_pictures(cls.path("train"), ["ape", "bee", "cat"], 40, 1, SIZE, SIZE)
        cls.test = make_pictures(cls.path("test"), ["aaa", "bee", "cat"], 30, 2, 40, 48)
        for name in ("train", "test"):
            seer("ingest", cls.path(name), "--labels", "dir", "--store", cls.path(name + "-store"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def embed(self, name):
        out = self.path(name + ".csv")
        seer("embed", "--snapshot", self.path("s.safetensors"), "--store",
             self.path(name + "-store"), "--format", "csv", "--to", out, "--threads", 1)
        with open(out) as file:
            lines = file.read().splitlines()
        self.assertEqual(lines[0].split(",")[:4], ["shard", "record", "label", "embedding_0"])
        values = [line.split(",") for line in lines[1:]]
        return (numpy.array([row[3:] for row in values], numpy.float32),
                [int(row[2]) for row in values])

    def assert_same_pictures(self, found, expected):
        """Ingest may order pictures as it likes: each must have its counterpart."""
        self.assertEqual(found.shape, expected.shape)
        scale = numpy.abs(expected).max()
        for row in expected:
            self.assertLess(numpy.abs(found - row).max(1).min(), 1e-4 * max(1, scale))

    def test_features_are_those_of_pytorch(self):
        for name, pictures in (("train", self.train), ("test", self.test)):
            found, _ = self.embed(name)
            self.assert_same_pictures(found, features_of(self.network, pictures))

    def test_npy_holds_the_same_numbers_as_csv(self):
        out = self.path("f.npy")
        seer("embed", "--snapshot", self.path("s.safetensors"), "--store",
             self.path("train-store"), "--to", out, "--threads", 1)
        array = numpy.load(out)
        self.assertEqual(array.dtype, numpy.float32)
        self.assertTrue(numpy.array_equal(array, self.embed("train")[0]))

    def test_neighbours_vote_as_numpy_counts_them(self):
        done = seer("eval", "knn", "--snapshot", self.path("s.safetensors"), "--train",
                    self.path("train-store"), "--test", self.path("test-store"), "--k", K,
                    "--threads", 1, "-o", "json")
        result = json.loads(done.stdout)
        labels = [name for _, name in self.train], [name for _, name in self.test]
        features = knn_top1(features_of(self.network, self.train), labels[0],
                            features_of(self.network, self.test), labels[1])
        pixels = knn_top1(*[value for pictures, names in zip((self.train, self.test), labels)
                            for value in (numpy.stack([prepare(array).reshape(-1) / 255
                                                       for array, _ in pictures]), names)])
        one = 100 / len(self.test) + 1e-3  # one picture may fall to the other side of a tie
        self.assertLessEqual(abs(result["top1"] - features), one)
        self.assertLessEqual(abs(result["baseline_pixels_top1"] - pixels), one)
        self.assertEqual((result["train_images"], result["test_images"], result["k"]), (120, 90, K))
        # A third of test is of a class that train does not have.
        self.assertTrue(10 <= result["baseline_random_init_top1"] <= 67, result)
        self.assertEqual((result["schema_version"], result["step"]), (1, 7))

    def test_limits_take_a_sample(self):
        done = seer("eval", "knn", "--snapshot", self.path("s.safetensors"), "--train",
                    self.path("train-store"), "--test", self.path("test-store"),
                    "--train-limit", 50, "--test-limit", 11, "--threads", 1, "-o", "json")
        result = json.loads(done.stdout)
        self.assertEqual((result["train_images"], result["test_images"]), (50, 11))

    def test_what_cannot_be_evaluated_is_refused_with_the_reason(self):
        done = seer("eval", "knn", "--snapshot", self.path("s.safetensors"), "--train",
                    self.path("train"), "--test", self.path("test-store"), code=2)
        self.assertIn(self.path("train"), done.stderr)
        seer("ingest", self.path("train"), "--store", self.path("plain-store"))
        done = seer("eval", "knn", "--snapshot", self.path("s.safetensors"), "--train",
                    self.path("plain-store"), "--test", self.path("test-store"), code=2)
        self.assertIn("ingest with --labels", done.stderr)


if __name__ == "__main__":
    unittest.main()
