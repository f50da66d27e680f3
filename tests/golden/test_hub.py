#!/usr/bin/python3
# test_hub.py - graphs of ONNX and folders for the hub, held against torch's own features.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""One small RegNetY and one small ResNet of torchvision's become snapshots by `seer import`. As ONNX
they must pass its checker and give, in OpenCV, the features that torch has; as a folder for the hub
their config.json must describe the network that their tensors have."""
import json, math, os, subprocess, sys, tempfile, unittest

try:
    import cv2, numpy, onnx, torch, torchvision
    from onnx import numpy_helper
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_import as there

SIZE = 40
CROPS = "crops: [{count: 2, size: %d, scale_min: 0.2, scale_max: 1}]\n" % SIZE
NORM_HEAD = there.REGNET.replace("prototypes: 20", "prototypes: 20, head_batch_norm: true")


class Hub(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.regnet = there.shaken(there.small_regnet()).eval()
        cls.resnet = there.shaken(there.small_resnet()).eval()
        cls.grow(cls.regnet)
        cls.grow(cls.resnet)
        cls.width = cls.regnet.fc.in_features
        cls.ours = cls.snapshot("regnet", there.REGNET, cls.regnet, there.swav_head(cls.width))
        cls.theirs = cls.snapshot("resnet", there.RESNET, cls.resnet, {})
        torch.manual_seed(3)
        cls.images = torch.randn(3, 3, SIZE, SIZE)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @staticmethod
    def grow(network):
        """Weights of a size with which signals neither die nor explode."""
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_in")
            elif isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def snapshot(cls, name, config, network, head):
        with open(cls.path("config.yaml"), "w") as file:
            file.write(config + CROPS)
        torch.save({**network.state_dict(), **head}, cls.path(name + ".pth"))
        to = cls.path(name + ".snapshot")
        subprocess.run([there.SEER, "import", cls.path(name + ".pth"), "--config",
                        cls.path("config.yaml"), "--to", to], check=True, capture_output=True)
        return to

    def export(self, snapshot, name, *arguments, code=0):
        done = subprocess.run([there.SEER, "export", snapshot, "--to", self.path(name), *arguments],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return self.path(name) if code == 0 else done.stderr

    def features(self, network):
        network = torch.nn.Sequential(*list(network.children())[:-1], torch.nn.Flatten())
        with torch.no_grad():
            return network(self.images)

    def assert_close(self, ours, theirs, tolerance=1e-4):
        self.assertEqual(tuple(ours.shape), tuple(theirs.shape))
        error = numpy.abs(ours - theirs.numpy()).max() / theirs.abs().max().item()
        self.assertLess(error, tolerance)

    # ---- ONNX

    def check(self, path):
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        self.assertEqual([(o.domain, o.version) for o in model.opset_import], [("", 13)])
        self.assertNotIn("Identity", {node.op_type for node in model.graph.node})
        self.assertNotIn("BatchNormalization", {node.op_type for node in model.graph.node})
        sizes = model.graph.input[0].type.tensor_type.shape.dim
        self.assertEqual(sizes[0].dim_param, "batch")
        self.assertEqual([size.dim_value for size in sizes[1:]], [3, SIZE, SIZE])
        return model

    def run_opencv(self, path, outputs):
        """One image after the other: OpenCV 4.6 scales channels of one image alone."""
        network = cv2.dnn.readNetFromONNX(path)
        results = []
        for i in range(len(self.images)):
            network.setInput(self.images[i:i + 1].numpy())
            results.append(network.forward(outputs))
        return [numpy.concatenate(parts) for parts in zip(*results)]

    def run_graph(self, model, outputs):
        """The graph as its operators are defined, on the whole batch."""
        functional = torch.nn.functional
        values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
                  for tensor in model.graph.initializer}
        values["images"] = self.images
        for node in model.graph.node:
            inputs = [values[name] for name in node.input]
            said = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            values[node.output[0]] = {
                "Conv": lambda x, w=None, b=None: functional.conv2d(
                    x, w, b, said["strides"], said["pads"][:2], 1, said["group"]),
                "MaxPool": lambda x: functional.max_pool2d(x, said["kernel_shape"],
                                                           said["strides"], said["pads"][:2]),
                "Gemm": lambda x, w=None, b=None: x @ w.T + b,
                "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
                "Flatten": lambda x: x.flatten(1),
                "ReduceL2": lambda x: x.norm(dim=1, keepdim=True),
                "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Mul": torch.mul, "Add": torch.add,
                "Div": torch.div}[node.op_type](*inputs)
        return [values[name].numpy() for name in outputs]

    def test_opencv_sees_in_a_graph_what_torch_sees_in_the_network(self):
        for snapshot, network in ((self.ours, self.regnet), (self.theirs, self.resnet)):
            path = self.export(snapshot, "a.onnx", "--format", "onnx")
            model = self.check(path)
            self.assertEqual([output.name for output in model.graph.output], ["features"])
            for features, in (self.run_opencv(path, ["features"]),
                              self.run_graph(model, ["features"])):
                self.assert_close(features, self.features(network))
            self.assertTrue({entry.key for entry in model.metadata_props} >=
                            {"mean", "std", "images", "everseer.step"})

    def test_opencv_sees_embeddings_and_scores_too(self):
        path = self.export(self.ours, "b.onnx", "--format", "onnx", "--part", "all")
        outputs = ["features", "embeddings", "scores"]
        by_definition = self.run_graph(self.check(path), outputs)
        features, embeddings, scores = self.run_opencv(path, outputs)
        head = there.swav_head(self.width)
        expected = self.features(self.regnet)
        self.assert_close(features, expected)
        hidden = torch.relu(expected @ head["projection_head.0.weight"].T +
                            head["projection_head.0.bias"])
        unit = torch.nn.functional.normalize(hidden @ head["projection_head.2.weight"].T +
                                             head["projection_head.2.bias"], dim=1)
        self.assert_close(embeddings, unit)
        self.assert_close(scores, unit @ head["prototypes.weight"].T)
        for ours, theirs in zip((features, embeddings, scores), by_definition):
            self.assert_close(ours, torch.from_numpy(theirs))

    def test_batch_normalisation_of_the_head_is_folded_too(self):
        torch.manual_seed(4)
        norm = torch.nn.BatchNorm1d(32).eval()
        torch.nn.init.uniform_(norm.weight)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        head = there.swav_head(self.width)
        named = {key.replace(".2.", ".3."): value for key, value in head.items()}
        named.update({"projection_head.1." + key: value for key, value in
                      norm.state_dict().items()})
        snapshot = self.snapshot("norm", NORM_HEAD, self.regnet, named)
        path = self.export(snapshot, "c.onnx", "--format", "onnx", "--part", "all")
        self.check(path)
        (embeddings,) = self.run_opencv(path, ["embeddings"])
        with torch.no_grad():
            hidden = torch.relu(norm(self.features(self.regnet) @ head["projection_head.0.weight"].T
                                     + head["projection_head.0.bias"]))
            unit = torch.nn.functional.normalize(hidden @ head["projection_head.2.weight"].T +
                                                 head["projection_head.2.bias"], dim=1)
        self.assert_close(embeddings, unit)

    def test_values_in_a_file_beside_it_are_the_same_values(self):
        inside = self.check(self.export(self.ours, "d.onnx", "--format", "onnx"))
        path = self.export(self.ours, "e.onnx", "--format", "onnx", "--external-data")
        beside = self.check(path)
        self.assertTrue(os.path.exists(path + ".data"))
        self.assertLess(os.path.getsize(path), os.path.getsize(self.path("d.onnx")) / 2)
        for one, other in zip(inside.graph.initializer, beside.graph.initializer):
            self.assertEqual(one.name, other.name)
            self.assertTrue(numpy.array_equal(numpy_helper.to_array(one),
                                              numpy_helper.to_array(other)))
        raw = onnx.load(path, load_external_data=False)
        offsets = [int(entry.value) for tensor in raw.graph.initializer
                   for entry in tensor.external_data if entry.key == "offset"]
        self.assertTrue(all(offset % 4096 == 0 for offset in offsets))

    def test_the_same_snapshot_gives_the_same_graph(self):
        paths = [self.export(self.ours, name, "--format", "onnx") for name in ("f", "g")]
        with open(paths[0], "rb") as first, open(paths[1], "rb") as second:
            self.assertEqual(first.read(), second.read())

    # ---- the hub

    def hub(self, snapshot, name, *arguments):
        folder = self.export(snapshot, name, "--format", "hub", *arguments)
        tensors, metadata = there.read_safetensors(os.path.join(folder, "model.safetensors"))
        self.assertEqual(metadata["format"], "pt")
        files = {}
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                files[name] = file.read()
        return tensors, json.loads(files["config.json"]), files

    def test_config_json_describes_the_regnet_that_the_tensors_are(self):
        tensors, config, files = self.hub(self.ours, "hub")
        self.assertEqual(config["architectures"], ["RegNetModel"])
        self.assertEqual((config["model_type"], config["layer_type"]), ("regnet", "y"))
        names = {"embedder.embedder.convolution.weight": (config["embedding_size"], 3, 3, 3)}
        width = config["embedding_size"]
        # RegNetYLayer of transformers' modeling_regnet.py, shape after shape.
        for stage, (depth, hidden) in enumerate(zip(config["depths"], config["hidden_sizes"])):
            for layer in range(depth):
                prefix = "encoder.stages.%d.layers.%d." % (stage, layer)
                groups = max(1, hidden // config["groups_width"])
                squeeze = int(round(width / 4))
                if layer == 0:
                    names[prefix + "shortcut.convolution.weight"] = (hidden, width, 1, 1)
                names.update({
                    prefix + "layer.0.convolution.weight": (hidden, width, 1, 1),
                    prefix + "layer.1.convolution.weight": (hidden, hidden // groups, 3, 3),
                    prefix + "layer.2.attention.0.weight": (squeeze, hidden, 1, 1),
                    prefix + "layer.2.attention.0.bias": (squeeze,),
                    prefix + "layer.2.attention.2.weight": (hidden, squeeze, 1, 1),
                    prefix + "layer.2.attention.2.bias": (hidden,),
                    prefix + "layer.3.convolution.weight": (hidden, hidden, 1, 1)})
                width = hidden
        convolutions = {name: tuple(tensor.shape) for name, tensor in tensors.items()
                        if "normalization" not in name}
        self.assertEqual(convolutions, names)
        norms = {name.rsplit(".", 1)[0] for name in tensors if "normalization" in name}
        self.assertEqual(norms, {name.replace("convolution.weight", "normalization")
                                 for name in names if name.endswith("convolution.weight")})
        picture = json.loads(files["preprocessor_config.json"])
        self.assertEqual(picture["size"], {"shortest_edge": SIZE})
        self.assertAlmostEqual(picture["image_mean"][0], 0.485)

    def test_the_card_says_what_the_run_knows(self):
        run = self.path("run")
        os.makedirs(os.path.join(run, "snapshots"))
        os.makedirs(os.path.join(run, "evals"))
        snapshot = os.path.join(run, "snapshots", "step-000000123.safetensors")
        with open(self.ours, "rb") as file:  # of step 123, and too old to have digests
            blob = file.read().replace(b'"everseer.step":"0"', b'"everseer.step":"123"', 1)
        length = int.from_bytes(blob[:8], "little")
        header = blob[8:10 + length].rstrip(b" ").replace(b"everseer.digests", b"everseer.without")
        with open(snapshot, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + blob[10 + length:])
        with open(os.path.join(run, "metrics.jsonl"), "w") as file:
            for step in range(125):
                file.write(json.dumps({"step": step, "loss": step / 100}) + "\n")
        with open(os.path.join(run, "evals", "linear-step-000000123.json"), "w") as file:
            json.dump({"train_images": 900, "test_images": 100, "classes": 10,
                       "layers": [{"layer": "avgpool", "top1": 61.25}]}, file)
        _, _, files = self.hub(snapshot, "hub-run")
        card = files["README.md"].decode()
        self.assertTrue(card.startswith("---\nlibrary_name: transformers\n"))
        for words in ("step 123", "Loss at this step: 1.2200 (ln 20 = %.4f" % math.log(20),
                      "| avgpool | 61.25 % |", "31488 seen in 123 steps of 256",
                      "20 prototypes", "were imported"):
            self.assertIn(words, card)
        self.assertNotIn(self.folder.name, card)

    def test_a_resnet_has_a_folder_too_and_timm_only_what_it_can_name(self):
        # torchvision's small ResNet is narrower inside than transformers can build.
        said = self.export(self.theirs, "x", "--format", "hub", code=2)
        self.assertIn("a quarter of a block's width inside", said)
        said = self.export(self.ours, "x", "--format", "hub", "--layout", "timm", code=2)
        self.assertIn("timm has no model of this shape", said)
        self.assertFalse(os.path.exists(self.path("x")))
        for build, config, name in (
                (torchvision.models.regnet_y_800mf, there.Y800 % "torchvision", "regnety_008_tv"),
                (torchvision.models.resnet50, "model: {family: resnet, stage_blocks: [3, 4, 6, 3], "
                 "groups: 1, group_width: 64, stem_width: 64, head: [32, 16], prototypes: 20}\n",
                 "resnet50")):
            with open(self.path("config.yaml"), "w") as file:
                file.write(config)
            torch.save(there.without_bytes(build(weights=None)), self.path("known.pth"))
            snapshot = self.path("known.snapshot")
            subprocess.run([there.SEER, "import", self.path("known.pth"), "--config",
                            self.path("config.yaml"), "--to", snapshot], check=True,
                           capture_output=True)
            _, config, files = self.hub(snapshot, "known", "--layout", "timm")
            self.assertEqual(config["architecture"], name)
            self.assertEqual(config["pretrained_cfg"]["input_size"], [3, 224, 224])
            self.assertIn("library_name: timm", files["README.md"].decode())
        _, config, _ = self.hub(snapshot, "known-too")
        self.assertEqual(config["model_type"], "resnet")
        self.assertEqual(config["hidden_sizes"], [256, 512, 1024, 2048])
        self.assertEqual(config["depths"], [3, 4, 6, 3])
        self.assertFalse(config["downsample_in_first_stage"])


if __name__ == "__main__":
    unittest.main()
