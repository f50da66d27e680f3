#!/usr/bin/env python3
# page_story.py - a run to which everything happens, and the pictures of its page for docs/.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: page_story.py DIR

Workers join, drain, die one by one and all at once (so the run goes back to a snapshot), new images
come, snapshots are evaluated: then DIR/dashboard-1280.png, dashboard-2560-dark.png and dashboard-320.png show what happened. Exits 1 if a kind of mark is missing in the page."""
import os, shutil, signal, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import browser  # noqa: E402
import chaos_run  # noqa: E402
from chaos import make_store  # noqa: E402

SEER = os.path.join(chaos_run.BIN, "seer")
KINDS = ["join", "leave", "death", "rollback", "snapshot", "refresh", "evaluation"]
SETTINGS = ["run.name=everything-happens", "schedule.kind=plateau", "swav.epsilon=0.02", "optimizer.kind=larc", "schedule.lr_peak=0.3", "schedule.lr_final=0.001", "schedule.plateau_window_steps=30",
            "schedule.plateau_patience=2", "schedule.plateau_threshold=0.02", "schedule.plateau_cooldown=2", "snapshot.every_steps=60", "train.steps=0"]
SHOTS = ((1280, 900, False, "dashboard-1280"), (2560, 1440, True, "dashboard-2560-dark"), (320, 640, False, "dashboard-320"))


class Story:
    def __init__(self, directory):
        self.directory, self.store = directory, make_store(directory)
        self.run = chaos_run.ChaosRun(os.path.join(directory, "run"), self.store, 3, 7, SETTINGS, f"{os.getpid()}-story")

    def rest(self, steps=40):
        first = len(self.run.steps.items)
        self.run.wait(300, f"{steps} steps", lambda: len(self.run.steps.items) >= first + steps)

    def kill(self, name, number=signal.SIGKILL):
        os.kill(self.run.worker_pids()[name], number)
        self.rest()

    def ingest(self):
        pictures = os.path.join(self.directory, "more")
        subprocess.run([os.path.join(chaos_run.BIN, "colour-fashion"), pictures, "--train", "900", "--test", "64"], check=True, stdout=subprocess.DEVNULL)
        for kind, store in (("train", self.store), ("test", os.path.join(self.directory, "held-out"))):
            subprocess.run([SEER, "ingest", os.path.join(pictures, f"colour-fashion-{kind}.tar"), "--labels", "cls", "--store", store],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.labelled = os.path.join(self.directory, "labelled")
        subprocess.run([SEER, "ingest", os.path.join(pictures, "colour-fashion-train.tar"), "--labels", "cls", "--store", self.labelled],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.rest()

    def evaluate(self):
        snapshots = sorted(name for name in os.listdir(os.path.join(self.run.directory, "snapshots")) if name.endswith(".safetensors"))
        subprocess.run([SEER, "eval", "knn", "--snapshot", os.path.join(self.run.directory, "snapshots", snapshots[-1]), "--train", self.labelled,
                        "--test", os.path.join(self.directory, "held-out"), "--train-limit", "256"], check=True, stdout=subprocess.DEVNULL)

    def lose_all(self):
        for pid in self.run.worker_pids().values():
            os.kill(pid, signal.SIGKILL)
        self.rest()

    def tell(self):
        self.rest(80)
        self.run.start_guest("guest-1")
        self.rest(60)
        self.kill("worker-2")
        self.ingest()
        self.evaluate()
        self.rest(80)
        self.run.leaving["guest-1"] = self.run.guests.pop("guest-1")
        self.run.leaving["guest-1"].terminate()
        self.rest(60)
        self.lose_all()
        self.rest(80)
        self.run.start_guest("guest-2")
        self.rest(60)
        self.evaluate()
        self.kill("worker-1")
        self.rest(100)
        self.evaluate()
        self.rest(40)


def picture(page, url, folder):
    page.open(url)
    page.wait_until("typeof run !== 'undefined' && run && run.points.length > 100")
    missing = page.value(f"{KINDS}.filter(kind => !run.marks.some(mark => mark.kind === kind))")
    for width, height, is_dark, name in SHOTS:
        page.resize(width, height, is_dark)
        page.wait_until(f"innerWidth === {width} && document.documentElement.classList.contains('dark') === {str(is_dark).lower()}")
        page.value("draw()")
        page.screenshot(os.path.join(folder, name + ".png"))
    return missing


def main():
    if len(sys.argv) != 2 or not browser.find():
        sys.exit(__doc__ if len(sys.argv) != 2 else "skipped: no Chromium")
    os.makedirs(sys.argv[1], exist_ok=True)
    directory = tempfile.mkdtemp(prefix="everseer-story-")
    story, page, dashboard = Story(directory), None, None
    try:
        story.run.start()
        dashboard = subprocess.Popen([SEER, "dashboard", "--run", story.run.directory, "--listen", "127.0.0.1:0", "--orders",
                                      os.path.join(directory, "token")], stdout=subprocess.PIPE, text=True)
        url = dashboard.stdout.readline().strip()
        story.tell()
        page = browser.Browser()
        missing = picture(page, url, sys.argv[1])
    finally:
        if page:
            page.close()
        if dashboard:
            dashboard.terminate()
            dashboard.wait()
        story.run.kill_all()
    shutil.rmtree(directory)
    if missing:
        sys.exit(f"marks that are not on the page: {missing}")


if __name__ == "__main__":
    main()
