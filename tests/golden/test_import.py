#!/usr/bin/python3
# test_import.py - weights that PyTorch saved, through `seer import` and out again.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""What torch.save, torchvision and the published checkpoints' structure give must become a snapshot
with the same bits; what cannot, must be refused in words; nothing in a file may ever be executed."""
import argparse, collections, json, os, pickle, struct, subprocess, sys, tempfile, unittest

try:
    import numpy, torch, torchvision
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

SEER = os.path.join(os.environ["SEER_BIN"], "seer")
REGNET = "model: {depth: 7, w0: 24, wa: 20.5, wm: 2.2, group_width: 8, head: [32, 16], " \
         "prototypes: 20}\n"
RESNET = "model: {family: resnet, stage_blocks: [1, 2, 1, 1], groups: 1, group_width: 16, " \
         "stem_width: 64, head: [32, 16], prototypes: 20}\n"
Y800 = "model: {depth: 14, w0: 56, wa: 38.84, wm: 2.4, group_width: 16, head: [32, 16], " \
       "prototypes: 20, rounding: %s}\n"
Y8GF = "model: {depth: 17, w0: 192, wa: 76.82, wm: 2.19, group_width: 56, head: [32, 16], " \
       "prototypes: 20, rounding: %s}\n"
KINDS = {"F32": numpy.float32, "I64": numpy.int64}


def read_safetensors(path):
    with open(path, "rb") as file:
        blob = file.read()
    (length,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8:8 + length])
    metadata, data, tensors = header.pop("__metadata__"), blob[8 + length:], {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(data[begin:end], KINDS[entry["dtype"]])
        tensors[name] = torch.from_numpy(array.reshape(entry["shape"]).copy())
    return tensors, metadata


def shaken(network):
    """Nothing at its initial value, so that a tensor in the wrong place shows."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.05)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def swav_head(width):
    torch.manual_seed(8)
    prototypes = torch.nn.functional.normalize(torch.randn(20, 16), dim=1)
    return {"projection_head.0.weight": torch.randn(32, width),
            "projection_head.0.bias": torch.randn(32),
            "projection_head.2.weight": torch.randn(16, 32),
            "projection_head.2.bias": torch.randn(16), "prototypes.weight": prototypes}


def small_regnet():
    """torchvision's own, of few and narrow blocks."""
    regnet = torchvision.models.regnet
    shape = regnet.BlockParams.from_init_params(depth=7, w_0=24, w_a=20.5, w_m=2.2, group_width=8,
                                                se_ratio=0.25)
    return regnet.RegNet(shape)


def small_resnet():
    resnet = torchvision.models.resnet
    return resnet.ResNet(resnet.Bottleneck, [1, 2, 1, 1], width_per_group=16)


def without_bytes(network):
    """Names and shapes of a network in a file of nothing: each tensor one number, stretched."""
    return {name: torch.ones(1).expand(tensor.shape) for name, tensor in
            network.state_dict().items() if not name.endswith("num_batches_tracked")}


def trunk_of(network):
    return {name: tensor for name, tensor in network.state_dict().items()
            if not name.startswith("fc.") and not name.endswith("num_batches_tracked")}


class Marker:
    """Unpickled by Python it would leave a file behind."""
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, ("touch '%s'" % self.path,))


class Import(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.regnet = shaken(small_regnet())
        cls.resnet = shaken(small_resnet())
        cls.width = cls.regnet.fc.in_features

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def save(self, what, name, **options):
        path = self.path(name)
        torch.save(what, path, **options)
        return path

    def seer(self, *arguments):
        return subprocess.run([SEER, *arguments], capture_output=True, text=True)

    def run_import(self, path, config, *arguments):
        with open(self.path("config.yaml"), "w") as file:
            file.write(config)
        to = path + ".snapshot"
        if os.path.exists(to):
            os.remove(to)
        return to, self.seer("import", path, "--config", self.path("config.yaml"), "--to", to,
                             *arguments)

    def imported(self, path, config, *arguments):
        to, done = self.run_import(path, config, "-o", "json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        tensors, metadata = read_safetensors(to)
        self.assertEqual(metadata["everseer.step"], "0")
        return tensors, json.loads(done.stdout), metadata

    def refused(self, path, config, *arguments, code=2):
        to, done = self.run_import(path, config, *arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertFalse(os.path.exists(to))
        return done.stderr

    def assert_trunk(self, tensors, network):
        wanted = trunk_of(network)
        for name, tensor in wanted.items():
            self.assertTrue(torch.equal(tensors["trunk." + name], tensor), name)
        there = {name for name in tensors if name.startswith("trunk.")}
        self.assertEqual(there, {"trunk." + name for name in wanted})

    def assert_head(self, tensors, head):
        for name, tensor in head.items():
            ours = name.replace("projection_head.", "head.")
            self.assertTrue(torch.equal(tensors[ours], tensor), name)

    # ---- what people have

    def test_a_torchvision_network_keeps_its_bits_and_loses_its_classifier(self):
        for name, options in {"zip.pth": {}, "plain.pth": {"_use_new_zipfile_serialization": False},
                              "four.pth": {"pickle_protocol": 4}}.items():
            path = self.save(self.regnet.state_dict(), name, **options)
            tensors, said, metadata = self.imported(path, REGNET)
            self.assert_trunk(tensors, self.regnet)
            self.assertEqual(said["layout"], "torchvision")
            self.assertEqual((said["head"], said["prototypes"]), ("seed", "seed"))
            self.assertEqual(said["classifier_tensors_dropped"], 2)
            self.assertEqual(said["trunk_tensors"], len(trunk_of(self.regnet)))
            self.assertIn(path, metadata["everseer.origin"])
            norms = tensors["prototypes.weight"].norm(dim=1)
            self.assertLess((norms - 1).abs().max(), 1e-5)
            self.assertTrue(all(torch.count_nonzero(tensor) == 0 for name, tensor in
                                tensors.items() if name.startswith("momentum/")))

    def test_a_checkpoint_of_swav_gives_trunk_head_and_prototypes(self):
        head = swav_head(2048)
        weights = {"module." + name: tensor for name, tensor in
                   {**trunk_of(self.resnet), **head}.items()}
        weights["module.bn1.num_batches_tracked"] = torch.tensor(5)
        path = self.save(collections.OrderedDict(weights), "swav.pth.tar",
                         _use_new_zipfile_serialization=False)
        tensors, said, _ = self.imported(path, RESNET)
        self.assert_trunk(tensors, self.resnet)
        self.assert_head(tensors, head)
        self.assertEqual((said["prefix"], said["head"], said["prototypes"]),
                         ("module.", "file", "file"))
        trunk_only, said, _ = self.imported(path, RESNET, "--part", "trunk")
        self.assertEqual((said["head"], said["prototypes"]), ("seed", "seed"))
        self.assertFalse(torch.equal(trunk_only["head.0.weight"], tensors["head.0.weight"]))

    def test_a_checkpoint_of_vissl_is_found_among_all_that_it_holds(self):
        exported = self.path("vissl.pth")
        snapshot = self.save_snapshot()
        self.assertEqual(self.seer("export", snapshot, "--to", exported, "--format", "pth",
                                   "--layout", "vissl", "--part", "all").returncode, 0)
        checkpoint = torch.load(exported)
        model = checkpoint["classy_state_dict"]["base_model"]["model"]
        parts = {name.replace("block2-", "block2-part0.block2-") if "res3.block2-" in name
                 else name: tensor for name, tensor in model["trunk"].items()}
        model["trunk"] = collections.OrderedDict(parts)
        model["heads"]["0.clf.0.weight"] = torch.randn(10, self.width)
        checkpoint["classy_state_dict"]["optimizer"] = {"optim": {"state": {
            0: {"momentum_buffer": torch.randn(3, 3)}}, "param_groups": [{"lr": 0.3}]}}
        checkpoint.update(phase_idx=0, iteration=5, type="consolidated",
                          arguments=argparse.Namespace(config=["a"]), scale=numpy.float64(2))
        path = self.save(checkpoint, "vissl.torch")
        tensors, said, _ = self.imported(path, REGNET)
        self.assert_trunk(tensors, self.regnet)
        self.assert_head(tensors, swav_head(self.width))
        self.assertEqual(said["layout"], "vissl")
        self.assertEqual(said["prefix"], "classy_state_dict/base_model/model/trunk/")
        self.assertEqual(said["classifier_tensors_dropped"], 1)
        self.assertEqual(said["other_tensors_left"], 1)

    def test_other_types_and_views_become_the_same_numbers(self):
        weights = self.regnet.state_dict()
        stem, width = "stem.0.weight", "trunk_output.block1.block1-0.f.a.0.weight"
        storage = torch.randn(2 * weights[width].numel())
        weights[stem] = weights[stem].to(memory_format=torch.channels_last)
        weights[width] = storage[::2].view(weights[width].shape)
        weights["stem.1.weight"] = torch.tensor([0.1, -3.0e-6, 65504, 0.0] * 8).half()
        weights["stem.1.bias"] = torch.randn(32).bfloat16()
        weights["stem.1.running_mean"] = torch.randn(32).double()
        for name, options in {"a": {}, "b": {"_use_new_zipfile_serialization": False}}.items():
            tensors, _, _ = self.imported(self.save(weights, name, **options), REGNET)
            for key in (stem, width, "stem.1.weight", "stem.1.bias", "stem.1.running_mean"):
                self.assertTrue(torch.equal(tensors["trunk." + key], weights[key].float()), key)

    def test_tensors_without_a_name_stand_beside(self):
        for name, options in {"a": {}, "b": {"_use_new_zipfile_serialization": False}}.items():
            path = self.save({"loose": [torch.randn(3), (torch.tensor([1, 2]), torch.randn(2, 2))],
                              "state_dict": self.regnet.state_dict()}, f"loose-{name}.pth", **options)
            tensors, _, _ = self.imported(path, REGNET)
            self.assert_trunk(tensors, self.regnet)

    def test_parameters_saved_as_such_are_tensors_too(self):
        weights = dict(self.regnet.state_dict())
        weights.update(dict(self.regnet.named_parameters()))
        tensors, _, _ = self.imported(self.save({"state_dict": weights, "epoch": 3}, "p.pth"),
                                      REGNET)
        self.assert_trunk(tensors, self.regnet)

    # ---- there and back

    def save_snapshot(self, config=REGNET, network=None):
        network = network or self.regnet
        weights = {**network.state_dict(), **swav_head(network.fc.in_features)}
        path = self.save(weights, "whole.pth")
        tensors, said, _ = self.imported(path, config)
        self.assertEqual((said["head"], said["prototypes"]), ("file", "file"))
        return path + ".snapshot"

    def test_export_import_export_is_the_identity_in_every_layout_and_format(self):
        for config, network in ((REGNET, self.regnet), (RESNET, self.resnet)):
            first = self.save_snapshot(config, network)
            bits, _ = read_safetensors(first)
            for layout in ("torchvision", "timm", "vissl", "huggingface"):
                for form in ("pth", "safetensors"):
                    with self.subTest(config=config, layout=layout, form=form):
                        self.there_and_back(first, bits, config, layout, form)

    def there_and_back(self, first, bits, config, layout, form):
        out = ("--format", form, "--layout", layout, "--part", "all")
        there, again = self.path("there"), self.path("again")
        self.assertEqual(self.seer("export", first, "--to", there, *out).returncode, 0)
        tensors, said, _ = self.imported(there, config)
        self.assertEqual((said["head"], said["prototypes"]), ("file", "file"))
        self.assertEqual(tensors.keys(), bits.keys())
        for name, tensor in bits.items():
            self.assertTrue(torch.equal(tensors[name], tensor), name)
        self.assertEqual(self.seer("export", there + ".snapshot", "--to", again, *out).returncode,
                         0)
        if form == "pth":
            with open(there, "rb") as a, open(again, "rb") as b:
                self.assertEqual(a.read(), b.read())
        else:
            before, after = read_safetensors(there)[0], read_safetensors(again)[0]
            self.assertEqual(before.keys(), after.keys())
            self.assertTrue(all(torch.equal(before[name], after[name]) for name in before))

    def test_a_snapshot_of_another_run_can_be_begun_with(self):
        tensors, said, _ = self.imported(self.save_snapshot(), REGNET)
        self.assert_trunk(tensors, self.regnet)
        self.assert_head(tensors, swav_head(self.width))
        self.assertEqual(said["prefix"], "trunk.")

    # ---- what does not fit

    def test_the_wrong_rounding_rule_is_refused_with_the_reason(self):
        for build, config, widths in ((torchvision.models.regnet_y_800mf, Y800, "64,144,320,784"),
                                      (torchvision.models.regnet_y_8gf, Y8GF, "224,448,896,2016")):
            path = self.save(without_bytes(build(weights=None)), "rounded.pth")
            said = self.refused(path, config % "pycls")
            self.assertIn("by the other rule of rounding", said)
            self.assertIn(widths, said)
            self.assertIn("set model.rounding: torchvision", said)
            if config is Y800: # the other is large
                self.imported(path, config % "torchvision")

    def test_missing_misshapen_and_left_over_tensors_are_named(self):
        weights = self.regnet.state_dict()
        name = "trunk_output.block2.block2-1.f.b.1.running_var"
        channels = len(weights[name])
        lacking = {key: value for key, value in weights.items() if key != name}
        said = self.refused(self.save(lacking, "m.pth"), REGNET)
        self.assertIn("'%s' (%d) is not there" % (name, channels), said)
        lacking[name] = torch.ones(3)
        self.assertIn("'%s' is 3, not %d" % (name, channels),
                      self.refused(self.save(lacking, "m.pth"), REGNET))
        said = self.refused(self.save(dict(weights, extra=torch.ones(3)), "m.pth"), REGNET)
        self.assertIn("'extra'", said)
        said = self.refused(self.save(weights, "m.pth"), REGNET.replace("depth: 7", "depth: 8"))
        self.assertIn("the file's trunk has blocks", said)
        self.assertIn("set model.family: resnet",
                      self.refused(self.save(self.resnet.state_dict(), "r.pth"), REGNET))
        self.assertIn("set model.family: regnety",
                      self.refused(self.save(weights, "r.pth"), RESNET))

    def test_a_head_that_does_not_fit_is_refused_and_can_be_left(self):
        path = self.save({**self.regnet.state_dict(), **swav_head(self.width)}, "head.pth")
        said = self.refused(path, REGNET.replace("prototypes: 20", "prototypes: 30"))
        self.assertIn("'prototypes.weight' is 20x16, not 30x16", said)
        self.assertIn("--part trunk", said)
        self.imported(path, REGNET.replace("prototypes: 20", "prototypes: 30"), "--part", "trunk")
        said = self.refused(path, REGNET.replace("[32, 16]", "[16]"))
        self.assertIn("projection head", said)
        plain = self.save(self.regnet.state_dict(), "plain.pth")
        self.assertIn("has no projection head", self.refused(plain, REGNET, "--part", "all"))

    def test_of_two_models_one_must_be_chosen(self):
        both = {"student": self.regnet.state_dict(), "teacher": self.regnet.state_dict()}
        path = self.save(both, "two.pth")
        said = self.refused(path, REGNET)
        self.assertIn("say which with --prefix", said)
        _, said, _ = self.imported(path, REGNET, "--prefix", "teacher/")
        self.assertEqual(said["prefix"], "teacher/")

    def test_weights_that_are_not_finite_are_refused(self):
        weights = self.regnet.state_dict()
        weights["stem.0.weight"] = weights["stem.0.weight"].clone()
        weights["stem.0.weight"][0, 0, 0, 0] = float("nan")
        self.assertIn("'stem.0.weight' holds NaN", self.refused(self.save(weights, "n.pth"),
                                                                REGNET))

    def test_nothing_in_a_file_is_executed(self):
        trap = self.path("executed")
        for name, options in {"t.pth": {}, "u.pth": {"_use_new_zipfile_serialization": False}}.items():
            path = self.save({"a": Marker(trap), "model": self.regnet.state_dict()}, name,
                             **options)
            tensors, _, _ = self.imported(path, REGNET)
            self.assert_trunk(tensors, self.regnet)
            self.assertFalse(os.path.exists(trap))
        torch.load(path)
        self.assertTrue(os.path.exists(trap), "the trap does not work")

    def test_what_is_no_file_of_weights_is_refused_in_words(self):
        text, model = self.path("text.pth"), self.save(torch.nn.Linear(3, 3), "model.pth")
        with open(text, "w") as file:
            file.write("weights\n" * 10)
        self.assertIn("neither of torch.save nor safetensors", self.refused(text, REGNET))
        self.assertIn("state_dict()", self.refused(model, REGNET))
        self.assertIn("cannot open", self.refused("/none.pth", REGNET))
        with open(self.path("pickle.pth"), "wb") as file:
            pickle.dump({"stem.0.weight": [1, 2, 3]}, file)
        self.refused(self.path("pickle.pth"), REGNET)

    def test_cut_files_are_damaged_files(self):
        for name, options in {"c.pth": {}, "d.pth": {"_use_new_zipfile_serialization": False}}.items():
            path = self.save(self.regnet.state_dict(), name, **options)
            with open(path, "rb") as file:
                blob = file.read()
            with open(path, "wb") as file:
                file.write(blob[:len(blob) * 2 // 3])
            self.refused(path, REGNET, code=1)
        path = self.save(self.regnet.state_dict(), "e.pth")
        with open(path, "rb") as file:
            blob = bytearray(file.read())
        stem = self.regnet.state_dict()["stem.0.weight"].numpy().tobytes()
        blob[bytes(blob).index(stem)] ^= 1  # the zip's checksum tells
        with open(path, "wb") as file:
            file.write(blob)
        self.assertIn("is damaged", self.refused(path, REGNET, code=1))
        path = self.path("f.safetensors")
        with open(self.save_snapshot(), "rb") as file:
            blob = file.read()
        with open(path, "wb") as file:
            file.write(blob[:len(blob) // 2])
        said = self.refused(path, REGNET, code=1)
        self.assertNotIn("neither", said)
        self.assertIn("f.safetensors", said)


if __name__ == "__main__":
    unittest.main()
