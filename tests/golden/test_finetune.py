#!/usr/bin/python3
# test_finetune.py - `seer eval finetune` and low-shot by it, as a user runs them.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""What finetuning computes is held against PyTorch by learner.py; here, that it learns, that it is the
same whoever shares the work and however often it is interrupted, and what it refuses."""
import json, os, shutil, signal, statistics, subprocess, sys, tempfile, time, unittest
sys.dont_write_bytecode = True  # not into the sources

from test_eval import SEER, SIZE, make_pictures, random_network, seer, write_snapshot

CLASSES = ["ape", "bee", "cat", "dog"]
STEP = "step-000000007"
os.environ["SEER_LOG"] = "info"
USUAL = ("--threads", 1, "-o", "json", "--batch", 64, "--lr", 0.2)
WAIT_S = 60


class Finetune(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        os.makedirs(cls.path("run/snapshots"))
        cls.snapshot = cls.path("run/snapshots/s.safetensors")
        write_snapshot(cls.snapshot, random_network())
        make_pictures(cls.path("train"), CLASSES, 40, 1, SIZE, SIZE, 40)
        make_pictures(cls.path("test"), CLASSES + ["eel"], 40, 2, SIZE, SIZE, 40)
        for name in ("train", "test"):
            seer("ingest", cls.path(name), "--labels", "dir", "--store", cls.path(name + "-store"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        shutil.rmtree(self.path("run/evals"), ignore_errors=True)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def arguments(self, kind, *options):
        return ["eval", kind, "--snapshot", self.snapshot, "--train", self.path("train-store"),
                "--test", self.path("test-store"), *USUAL, *options]

    def evaluate(self, kind, *options, code=0):
        done = seer(*self.arguments(kind, *options), code=code)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def evals(self):
        folder = self.path("run/evals")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def interrupt(self, state, *arguments, by=signal.SIGKILL):
        """Ends the command by its pid once it has kept something."""
        process = subprocess.Popen([SEER, *map(str, arguments)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        deadline = time.monotonic() + WAIT_S
        while not os.path.exists(state) and process.poll() is None:
            self.assertLess(time.monotonic(), deadline, "nothing was kept")
            time.sleep(0.005)
        process.send_signal(by)
        out, error = process.communicate(timeout=WAIT_S)
        self.assertEqual(process.returncode, -by, (out, error))
        self.assertTrue(os.path.exists(state))

    def test_it_learns_and_says_what_and_how(self):
        result = self.evaluate("finetune", "--epochs", 12, "--milestones", "8,11",
                               "--classifier-lr", 0.4, "--nesterov")
        losses = result["loss_by_epoch"]
        self.assertEqual(len(losses), 12)
        self.assertLess(losses[-1], 0.8 * losses[0])
        self.assertTrue(40 < result["top1"] <= 80, result)  # chance is 20; eels are never right
        self.assertEqual((result["evaluation"], result["step"], result["classes"], result["epochs"],
                          result["milestones"], result["classifier_lr"], result["nesterov"],
                          result["train_images"], result["test_images"], result["skipped_images"]),
                         ("finetune", 7, 4, 12, [8, 11], 0.4, True, 160, 200, 0))
        with open(self.path(f"run/evals/finetune-{STEP}.json")) as file:
            kept = json.load(file)
        self.assertAlmostEqual(kept.pop("loss_by_epoch")[-1], result.pop("loss_by_epoch")[-1], 6)
        self.assertEqual(kept, result)
        self.assertFalse([name for name in self.evals() if "state" in name])

    def test_the_recipe_is_the_papers_unless_told_otherwise(self):
        done = seer("eval", "finetune", "--snapshot", self.snapshot, "--train",
                    self.path("train-store"), "--test", self.path("test-store"), "--train-limit", 4,
                    "--test-limit", 8, "-o", "json")
        result = json.loads(done.stdout)
        self.assertEqual([result[key] for key in ("epochs", "milestones", "factor", "batch", "lr",
                                                  "classifier_lr", "weight_decay", "momentum",
                                                  "nesterov")],
                         [35, [30], 0.1, 256, 0.0125, 0.0125, 1e-4, 0.9, False])

    def test_interrupted_and_gone_on_with_it_is_the_same_to_the_last_bit(self):
        state = self.path(f"run/evals/finetune-{STEP}.state")
        options = ("--epochs", 15, "--seed", 3)
        whole = self.evaluate("finetune", *options)
        self.interrupt(state, *self.arguments("finetune", *options))
        self.assertIn("--resume goes on with it", self.evaluate("finetune", *options, code=2))
        self.assertIn("of another finetuning",
                      self.evaluate("finetune", "--epochs", 15, "--seed", 4, "--resume", code=2))
        self.assertIn("of another finetuning",
                      self.evaluate("finetune", *options, "--test-limit", 9, "--resume", code=2))
        with open(state, "r+b") as file:  # the last byte of some tensor
            file.seek(-1, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        self.assertIn("is damaged", self.evaluate("finetune", *options, "--resume", code=1))
        with open(state, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(byte)
        again = seer(*self.arguments("finetune", *options, "--resume"))
        self.assertIn("event=finetune_resumed", again.stderr)
        self.assertEqual(json.loads(again.stdout), whole)
        self.assertFalse(os.path.exists(state))

    def test_workers_share_the_work_to_the_same_bits_also_when_they_are_interrupted(self):
        state = self.path("two.state")
        options = ("--epochs", 10, "--seed", 5)
        alone = self.evaluate("finetune", *options)
        shared = self.arguments("finetune", *options, "--workers", 2, "--state", state)
        self.interrupt(state, *shared, by=signal.SIGTERM)
        shared = self.evaluate("finetune", *options, "--workers", 2, "--state", state, "--resume")
        self.assertEqual(shared, alone)

    def test_low_shot_by_finetuning_is_repeated_over_draws_and_gone_on_with(self):
        options = ("--finetune", "--epochs", 10, "--per-class", "4", "--percent", "50", "--seeds", 2)
        whole = self.evaluate("lowshot", *options)
        self.assertEqual((whole["is_finetuned"], whole["epochs"]), (True, 10))
        percent, few = whole["subsets"]
        self.assertEqual((percent["images"], few["images"]), (80, 16))
        for subset in whole["subsets"]:
            draws = subset["layers"][0]["top1_by_seed"]
            self.assertEqual(len(draws), 2)
            self.assertAlmostEqual(subset["top1"], statistics.mean(draws), 6)
            self.assertAlmostEqual(subset["std"], statistics.stdev(draws), 6)
        # Killed in the second draw: the first is not trained again.
        second = self.path(f"run/evals/lowshot-{STEP}-50-percent-seed-1.state")
        self.interrupt(second, *self.arguments("lowshot", *options))
        again = seer(*self.arguments("lowshot", *options, "--resume"))
        self.assertEqual(json.loads(again.stdout), whole)
        self.assertIn("epochs=10 of=10", again.stderr)
        self.assertFalse([name for name in self.evals() if "state" in name])

    def test_what_cannot_be_done_is_refused_with_the_reason(self):
        for options, words in ((("--epochs", 0), "--epochs must be"),
                               (("--milestones", "5,3"), "rising numbers of epochs"),
                               (("--factor", 2), "--factor must be"),
                               (("--workers", 3), "has 2 slots of 32"),
                               (("--lr", 900, "--epochs", 30), "diverged"),
                               (("--batch", 1), "--batch must be 2 or more")):
            self.assertIn(words, self.evaluate("finetune", *options, code=2))
        self.assertIn("--epochs", self.evaluate("lowshot", "--finetune", "--steps", 5, code=2))
        self.assertIn("are of --finetune", self.evaluate("lowshot", "--resume", code=2))
        self.assertIn("are of --finetune", self.evaluate("lowshot", "--epochs", 3, code=2))
        loose = self.path("loose.safetensors")
        os.link(self.snapshot, loose)
        done = seer("eval", "finetune", "--snapshot", loose, "--train", self.path("train-store"),
                    "--test", self.path("test-store"), "--resume", code=2)
        self.assertIn("--resume needs --state", done.stderr)


if __name__ == "__main__":
    unittest.main()
