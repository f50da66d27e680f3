#!/usr/bin/env python3
# plateau_run.py - a run whose rate falls when its loss no longer does, and the picture of its page for docs/.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: plateau_run.py FOLDER [--cuts N] [--workers N] [--minutes M] [--grey] [--set KEY=VALUE]...

The demo's pictures and recipe (configs/demo_cpu.yaml, or with --grey demo_grey.yaml), but schedule.kind plateau and no
end: trains until the rate was lowered N times and 200 steps more. Prints a table of the cuts with the loss before each,
what nearest neighbours make of the features, and the audit's word; leaves FOLDER/plateau.png (headless Chromium, if it
is installed). The programs are those of SEER_BIN, else of build/release. Exits 1 if the rate was not lowered so often in
M minutes, or if the audit is not clean."""
import argparse, glob, os, shutil, subprocess, sys, tempfile

SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.path[:0] = [os.path.join(SOURCE, "tests/chaos"), os.path.join(SOURCE, "tests/integration")]
import browser  # noqa: E402
import chaos_run  # noqa: E402

SETTINGS = ["run.name=plateau", "schedule.kind=plateau", "schedule.plateau_window_steps=50", "schedule.plateau_patience=2",
            "schedule.plateau_cooldown=1", "schedule.plateau_threshold=0.005", "train.steps=0", "snapshot.every_steps=200"]
REST_STEPS = 200  # after the last cut
MEAN_STEPS = 50


def seer(*words):
    return subprocess.run([os.path.join(chaos_run.BIN, "seer"), *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def make_stores(directory, is_grey):
    pictures = os.path.join(directory, "pictures")
    subprocess.run([os.path.join(chaos_run.BIN, "colour-fashion"), pictures, "--train", "60000", "--test", "10000",
                    *["--grey"] * is_grey],
                   check=True, stdout=subprocess.DEVNULL)
    for kind in ("train", "test"):
        seer("ingest", *glob.glob(os.path.join(pictures, f"*-{kind}.tar")), "--labels", "cls", "-q", "--store",
             os.path.join(directory, kind))


def words_of(event):
    return dict(word.split("=", 1) for word in event["text"].split())


def mean_loss(lines, end):
    last = [line["loss"] for line in lines if end - MEAN_STEPS <= line["step"] < end]
    return sum(last) / len(last)


def print_cuts(run):
    print(f"| cut at step | rate from then on | mean loss of the {MEAN_STEPS} steps before |\n|--:|--:|--:|")
    for event in run.events_from(0, "rate_cut"):
        cut = words_of(event)
        print(f"| {cut['step']} | {cut['lr']} | {mean_loss(run.steps.items, int(cut['step'])):.3f} |")
    last = run.steps.items[-1]["step"]
    print(f"| end: {last} | | {mean_loss(run.steps.items, last):.3f} |", flush=True)


def take_picture(directory, folder):
    if not browser.find():
        return print("no picture: no Chromium")
    page = None
    dashboard = subprocess.Popen([os.path.join(chaos_run.BIN, "seer"), "dashboard", "--run", directory, "--listen", "127.0.0.1:0"],
                                 stdout=subprocess.PIPE, text=True)
    try:
        url = dashboard.stdout.readline().strip()
        page = browser.Browser()
        page.open(url)
        page.wait_until("typeof run !== 'undefined' && run && run.points.length > 100")
        page.resize(1280, 900, False)
        page.wait_until("innerWidth === 1280")
        page.value("draw()")
        page.screenshot(os.path.join(folder, "plateau.png"))
    finally:
        if page:
            page.close()
        dashboard.terminate()
        dashboard.wait()


def judge(directory, run):
    snapshots = sorted(glob.glob(os.path.join(run.directory, "snapshots", "*.safetensors")))
    print(seer("eval", "knn", "--snapshot", snapshots[-1], "--train", os.path.join(directory, "train"), "--test",
               os.path.join(directory, "test"), "--train-limit", "10000"), end="")
    print(seer("audit", run.directory), end="")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("folder")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="everseer-plateau-")
    run = chaos_run.ChaosRun(os.path.join(directory, "run"), os.path.join(directory, "train"), options.workers, 7,
                             SETTINGS + options.settings, f"{os.getpid()}-plateau",
                             config=os.path.join(SOURCE, "configs", "demo_grey.yaml" if options.grey else "demo_cpu.yaml"))

    def is_over():
        cuts = run.events_from(0, "rate_cut")
        return len(cuts) >= options.cuts and \
            run.steps.items[-1]["step"] >= int(words_of(cuts[options.cuts - 1])["step"]) + REST_STEPS
    try:
        make_stores(directory, options.grey)
        run.start()
        run.wait(60 * options.minutes, f"{options.cuts} cuts of the rate", is_over)
        take_picture(run.directory, options.folder)
        run.stop()
        print_cuts(run)
        judge(directory, run)
    except BaseException as error:
        if run.steps.items:
            print_cuts(run)
        print(f"FAILED (folder {directory}): {error}", flush=True)
        run.kill_all()
        sys.exit(1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
