#!/usr/bin/python3
# test_probes.py - `seer eval linear` and `lowshot` against PyTorch's layers and scikit-learn's classifier.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""Layers of a tiny RegNetY must be those that PyTorch pools, and linear classifiers on them must get
right what scikit-learn's logistic regression of the same objective gets right."""
import json, os, statistics, sys, tempfile, unittest, warnings
sys.dont_write_bytecode = True  # not into the sources

from test_eval import (SIZE, MEAN, STD, make_pictures, numpy, prepare, random_network, seer, torch,
                       write_snapshot)

try:
    from sklearn.linear_model import LogisticRegression
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

CLASSES = ["ape", "bee", "cat", "dog"]
DECAY = 0.05
LAYERS = {"res3:2x3": (2, 3), "res4:3x2": (3, 2), "avgpool": (1, 1)}
# A whole set as one batch and a rate that reaches the optimum: what is compared is the optimum.
EXACT = ("--batch", 400, "--lr", 0.03, "--weight-decay", DECAY)


def activations(network, pictures):
    """Outputs of stages 2 and 3, [images][channels][rows][columns]."""
    images = numpy.stack([prepare(array) for array, _ in pictures]).astype(numpy.float32) / 255
    images = torch.from_numpy(((images - MEAN) / STD).transpose(0, 3, 1, 2).copy())
    found, stages = {}, list(network.trunk_output.children())
    hooks = [stages[i].register_forward_hook(
        lambda module, given, out, name="res%d" % (i + 2): found.update({name: out}))
        for i in range(len(stages))]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    found["avgpool"] = found["res%d" % (len(stages) + 1)]
    return found


def pooled(network, pictures, layer):
    grid = torch.nn.functional.adaptive_avg_pool2d(
        activations(network, pictures)[layer.split(":")[0]], LAYERS[layer])
    return grid.permute(0, 2, 3, 1).flatten(1).numpy()


def logistic_top1(train, train_labels, test, test_labels, channels):
    """The optimum of mean cross-entropy + DECAY/2 |W|^2 on features standardised by channel."""
    cells = train.shape[1] // channels
    by_channel = train.reshape(-1, channels).astype(numpy.float64)
    mean = numpy.tile(by_channel.mean(0), cells)
    scale = numpy.tile(numpy.sqrt(by_channel.var(0) + 1e-5), cells)
    model = LogisticRegression(C=1 / (DECAY * len(train)), max_iter=3000, tol=1e-6)
    model.fit((train - mean) / scale, train_labels)
    return 100 * model.score((test - mean) / scale, test_labels)


class Probes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.network = random_network()
        os.makedirs(cls.path("run/snapshots"))
        write_snapshot(cls.path("run/snapshots/s.safetensors"), cls.network)
        cls.pictures = {"train": make_pictures(cls.path("train"), CLASSES, 100, 1, SIZE, SIZE, 40),
                        "test": make_pictures(cls.path("test"), CLASSES, 250, 2, SIZE, SIZE, 40)}
        for name in cls.pictures:
            seer("ingest", cls.path(name), "--labels", "dir", "--store", cls.path(name + "-store"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def evaluate(self, kind, *arguments, code=0):
        done = seer("eval", kind, "--snapshot", self.path("run/snapshots/s.safetensors"), "--train",
                    self.path("train-store"), "--test", self.path("test-store"), "--threads", 1,
                    "-o", "json", *arguments, code=code)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def embed(self, name, layer):
        out = self.path("%s-%s.csv" % (name, layer.replace(":", "-")))
        seer("embed", "--snapshot", self.path("run/snapshots/s.safetensors"), "--store",
             self.path(name + "-store"), "--layer", layer, "--format", "csv", "--to", out,
             "--threads", 1)
        with open(out) as file:
            rows = [line.split(",") for line in file.read().splitlines()[1:]]
        return numpy.array([row[3:] for row in rows], numpy.float32), [int(row[2]) for row in rows]

    def expected_top1(self, layer):
        (train, train_labels), (test, test_labels) = (self.embed(name, layer)
                                                      for name in ("train", "test"))
        rows, columns = LAYERS[layer]
        return logistic_top1(train, train_labels, test, test_labels,
                             train.shape[1] // (rows * columns))

    def test_layers_are_those_of_pytorch_on_the_same_grid(self):
        for layer in LAYERS:
            found, _ = self.embed("train", layer)
            expected = pooled(self.network, self.pictures["train"], layer)
            self.assertEqual(found.shape, expected.shape)
            for row in expected[::20]:  # ingest may order pictures as it likes
                self.assertLess(numpy.abs(found - row).max(1).min(),
                                1e-4 * max(1, numpy.abs(expected).max()))

    def test_linear_classifiers_get_right_what_scikit_learn_gets_right(self):
        result = self.evaluate("linear", "--cached", "--epochs", 1000, "--layers", ",".join(LAYERS),
                               *EXACT)
        self.assertEqual([layer["layer"] for layer in result["layers"]], list(LAYERS))
        for layer in result["layers"]:
            expected = self.expected_top1(layer["layer"])
            self.assertTrue(30 < expected < 99, expected)  # neither chance nor certainty
            self.assertLessEqual(abs(layer["top1"] - expected), 0.5, (layer, expected))
        self.assertEqual(result["top1"], max(layer["top1"] for layer in result["layers"]))
        self.assertEqual((result["train_images"], result["test_images"], result["step"],
                          result["views"]), (400, 1000, 7, "cached"))

    def test_classifiers_on_crops_are_the_same_every_time_and_are_kept_beside_the_run(self):
        options = ("--epochs", 10, "--batch", 64, "--lr", 0.2, "--test-limit", 400, "--baselines")
        first = self.evaluate("linear", *options)
        again = self.evaluate("linear", *options, "--threads", 3)
        self.assertEqual(first, again)
        self.assertEqual([layer["layer"] for layer in first["layers"]], ["res3", "res4", "avgpool"])
        self.assertTrue(35 < first["top1"] <= 100, first)  # chance is 25
        self.assertTrue(35 < first["baseline_pixels_top1"] <= 100, first)
        self.assertTrue(20 < first["baseline_random_init_top1"] <= 100, first)
        with open(self.path("run/evals/linear-step-000000007.json")) as file:
            self.assertEqual(json.load(file), first)

    def test_all_labels_or_some_of_them_with_mean_and_deviation_of_the_draws(self):
        result = self.evaluate("lowshot", "--percent", "100", "--per-class", "1,5", "--seeds", 3,
                               "--layers", "avgpool", "--steps", 1000, *EXACT)
        whole, one, five = result["subsets"]
        self.assertEqual((whole["images"], one["images"], five["images"]), (400, 4, 20))
        self.assertLessEqual(abs(whole["top1"] - self.expected_top1("avgpool")), 0.5)
        for subset in result["subsets"]:
            draws = subset["layers"][0]["top1_by_seed"]
            self.assertEqual(len(draws), 3)
            self.assertAlmostEqual(subset["top1"], statistics.mean(draws), 6)
            self.assertAlmostEqual(subset["std"], statistics.stdev(draws), 6)
        self.assertEqual(len(set(one["layers"][0]["top1_by_seed"])) > 1, True)
        self.assertLess(one["top1"], whole["top1"])
        self.assertTrue(os.path.exists(self.path("run/evals/lowshot-step-000000007.json")))

    def test_what_cannot_be_measured_is_refused_with_the_reason(self):
        for options, words in ((("--layers", "res9"), "res2 to res4 and avgpool"),
                               (("--layers", "res4:9x9"), "activations are 4x4"),
                               (("--layers", "res4:x"), "ROWSxCOLUMNS"),
                               (("--lr", "0"), "--lr must be above 0"),
                               (("--cached", "--lr", "1000", "--weight-decay", "1"), "diverged")):
            self.assertIn(words, self.evaluate("linear", *options, code=2))
        for options, words in ((("--percent", "0"), "--percent takes"),
                               (("--per-class", "1.5"), "--per-class takes whole numbers"),
                               (("--seeds", "0"), "--seeds must be")):
            self.assertIn(words, self.evaluate("lowshot", *options, code=2))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    unittest.main()
