#!/usr/bin/python3
# test_export.py - what `seer export` writes, read by PyTorch and by a reader of our own.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A snapshot of torchvision's RegNetY-400MF with random weights, made here, must come back from
`seer export` as the same network: strictly, in every format and layout."""
import json, os, struct, subprocess, sys, tempfile, unittest

try:
    import numpy, torch, torchvision
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

SEER = os.path.join(os.environ["SEER_BIN"], "seer")
MODEL = "model: {depth: 16, w0: 48, wa: 27.89, wm: 2.09, group_width: 8, head: [32, 16], " \
        "prototypes: 20}\n"
STEP = 123
KINDS = {"F32": numpy.float32, "I64": numpy.int64}


def read_safetensors(path):
    """An independent reader: also checks what the format promises."""
    with open(path, "rb") as file:
        blob = file.read()
    (length,) = struct.unpack_from("<Q", blob)
    assert (8 + length) % 8 == 0
    header = json.loads(blob[8:8 + length])
    data, tensors, at = blob[8 + length:], {}, 0
    metadata = header.pop("__metadata__")
    assert metadata["format"] == "pt" and all(isinstance(v, str) for v in metadata.values())
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        assert begin == at, name
        array = numpy.frombuffer(data[begin:end], KINDS[entry["dtype"]])
        tensors[name] = torch.from_numpy(array.reshape(entry["shape"]).copy())
        at = end
    assert at == len(data)
    return tensors, metadata


def write_snapshot(path, tensors, config=MODEL):
    header, data = {"__metadata__": {"format": "pt", "everseer.config": config,
                                     "everseer.step": str(STEP), "everseer.lineage": "0",
                                     "everseer.run": "1", "everseer.queue_filled": "0"}}, b""
    for name, tensor in tensors.items():
        raw = tensor.detach().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def random_network():
    torch.manual_seed(1)
    network = torchvision.models.regnet_y_400mf(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.fill_(2 * STEP)  # two resolution groups a step
    return network.eval()


def snapshot_tensors(network):
    tensors = {"trunk." + name: tensor for name, tensor in network.state_dict().items()
               if not name.startswith("fc.") and not name.endswith("num_batches_tracked")}
    for name, shape in {"head.0.weight": (32, 440), "head.0.bias": (32,),
                        "head.2.weight": (16, 32), "head.2.bias": (16,),
                        "prototypes.weight": (20, 16)}.items():
        tensors[name] = torch.randn(shape)
    tensors["momentum/trunk.stem.0.weight"] = torch.randn(32, 3, 3, 3)
    return tensors


def seer(*arguments):
    return subprocess.run([SEER, "export", *arguments], capture_output=True, text=True)


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.snapshot = cls.path("snapshot.safetensors")
        cls.network = random_network()
        cls.tensors = snapshot_tensors(cls.network)
        write_snapshot(cls.snapshot, cls.tensors)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def export(self, name, *arguments):
        path = self.path(name)
        done = seer(self.snapshot, "--to", path, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def assert_same_network(self, tensors):
        fresh = torchvision.models.regnet_y_400mf(weights=None)
        missing, unexpected = fresh.load_state_dict(tensors, strict=False)
        self.assertEqual(sorted(missing), ["fc.bias", "fc.weight"])
        self.assertEqual(unexpected, [])
        with_fc = dict(tensors, **{"fc.weight": self.network.fc.weight, "fc.bias":
                                   self.network.fc.bias})
        fresh.load_state_dict(with_fc, strict=True)
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            self.assertTrue(torch.equal(fresh.eval()(images), self.network(images)))
        for name, tensor in self.network.state_dict().items():
            self.assertTrue(torch.equal(fresh.state_dict()[name], tensor), name)

    def test_pth_loads_strictly_into_torchvision_with_weights_only(self):
        path = self.export("a.pth", "--format", "pth", "--layout", "torchvision")
        self.assert_same_network(torch.load(path, weights_only=True))
        self.assert_same_network(torch.load(path))

    def test_safetensors_loads_strictly_into_torchvision(self):
        tensors, metadata = read_safetensors(self.export("a.safetensors"))
        self.assert_same_network(tensors)
        self.assertEqual(metadata["everseer.step"], str(STEP))

    def test_timm_names_follow_timm(self):
        tensors, _ = read_safetensors(self.export("b.safetensors", "--layout", "timm"))
        ours = self.network.state_dict()
        pairs = {"stem.conv.weight": "stem.0.weight",
                 "stem.bn.num_batches_tracked": "stem.1.num_batches_tracked",
                 "s1.b1.downsample.conv.weight": "trunk_output.block1.block1-0.proj.0.weight",
                 "s1.b1.downsample.bn.bias": "trunk_output.block1.block1-0.proj.1.bias",
                 "s2.b3.conv1.conv.weight": "trunk_output.block2.block2-2.f.a.0.weight",
                 "s2.b3.conv2.bn.running_var": "trunk_output.block2.block2-2.f.b.1.running_var",
                 "s4.b6.se.fc1.bias": "trunk_output.block4.block4-5.f.se.fc1.bias",
                 "s4.b6.se.fc2.weight": "trunk_output.block4.block4-5.f.se.fc2.weight",
                 "s4.b6.conv3.conv.weight": "trunk_output.block4.block4-5.f.c.0.weight",
                 "s4.b6.conv3.bn.weight": "trunk_output.block4.block4-5.f.c.1.weight"}
        for timm, torch_name in pairs.items():
            self.assertTrue(torch.equal(tensors[timm], ours[torch_name]), timm)
        self.assertEqual(len(tensors), len(ours) - 2)

    def test_vissl_checkpoint_is_nested_as_vissl_nests_it(self):
        path = self.export("c.pth", "--format", "pth", "--layout", "vissl", "--part", "all")
        for weights_only in (True, False):
            model = torch.load(path, weights_only=weights_only)
            model = model["classy_state_dict"]["base_model"]["model"]
            self.assertEqual(sorted(model), ["heads", "trunk"])
        trunk, heads, ours = model["trunk"], model["heads"], self.network.state_dict()
        pairs = {"conv1.stem.0.weight": "stem.0.weight",
                 "res2.block1-0.proj.weight": "trunk_output.block1.block1-0.proj.0.weight",
                 "res2.block1-0.bn.weight": "trunk_output.block1.block1-0.proj.1.weight",
                 "res5.block4-5.f.a.0.weight": "trunk_output.block4.block4-5.f.a.0.weight",
                 "res5.block4-5.f.se.excitation.0.bias":
                     "trunk_output.block4.block4-5.f.se.fc1.bias",
                 "res5.block4-5.f.se.excitation.2.weight":
                     "trunk_output.block4.block4-5.f.se.fc2.weight",
                 "res5.block4-5.f.c.weight": "trunk_output.block4.block4-5.f.c.0.weight",
                 "res5.block4-5.f.final_bn.running_mean":
                     "trunk_output.block4.block4-5.f.c.1.running_mean"}
        for vissl, torch_name in pairs.items():
            self.assertTrue(torch.equal(trunk["_feature_blocks." + vissl], ours[torch_name]))
        self.assertEqual(len(trunk), len(ours) - 2)
        self.assertEqual(sorted(heads), ["0.projection_head.0.bias", "0.projection_head.0.weight",
                                         "0.projection_head.2.bias", "0.projection_head.2.weight",
                                         "0.prototypes0.weight"])
        self.assertTrue(torch.equal(heads["0.prototypes0.weight"],
                                    self.tensors["prototypes.weight"]))

    def test_all_adds_head_and_prototypes_but_no_momentum(self):
        tensors, _ = read_safetensors(self.export("d.safetensors", "--part", "all"))
        self.assertTrue(torch.equal(tensors["projection_head.2.weight"],
                                    self.tensors["head.2.weight"]))
        self.assertIn("prototypes.weight", tensors)
        self.assertFalse(any("momentum" in name for name in tensors))

    def test_the_same_snapshot_gives_the_same_bytes(self):
        first = self.export("e.pth", "--format", "pth")
        second = self.export("f.pth", "--format", "pth")
        with open(first, "rb") as a, open(second, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_result_is_json_when_asked(self):
        done = seer(self.snapshot, "--to", self.path("g"), "-o", "json")
        result = json.loads(done.stdout)
        self.assertEqual(result["step"], STEP)
        self.assertEqual(result["tensors"], len(self.network.state_dict()) - 2)

    def assert_refused(self, words, *arguments):
        done = seer(*arguments)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(words, done.stderr)

    def test_what_cannot_be_exported_is_refused_with_the_reason(self):
        path, wide = self.path("x"), self.path("wide.safetensors")
        write_snapshot(wide, self.tensors, "model: {depth: 14, w0: 56, wa: 38.84, wm: 2.4, "
                       "group_width: 16}\n")
        self.assert_refused("stage 2 has 128 channels, which torchvision rounds to 144", wide,
                            "--to", path)
        self.assertFalse(os.path.exists(path))
        self.assert_refused("unknown layout 'tim' (did you mean 'timm'?)", self.snapshot,
                            "--to", path, "--layout", "tim")
        self.assert_refused("unknown format", self.snapshot, "--to", path, "--format", "h5")
        self.assert_refused("--to FILE is missing", self.snapshot)
        self.assert_refused("cannot open '/none'", "/none", "--to", path)
        plain = self.export("h.safetensors")
        with open(plain, "rb") as file:
            blob = file.read().replace(b"everseer.step", b"everseer.stop")
        with open(plain, "wb") as file:
            file.write(blob)
        self.assert_refused("is no snapshot", plain, "--to", path)

    def test_a_damaged_snapshot_is_refused(self):
        with open(self.snapshot, "rb") as file:
            blob = file.read()
        with open(self.path("cut"), "wb") as file:
            file.write(blob[:-4])
        done = seer(self.path("cut"), "--to", self.path("x"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("was the file cut?", done.stderr)


if __name__ == "__main__":
    unittest.main()
