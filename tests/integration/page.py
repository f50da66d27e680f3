"""page.py - the dashboard in a browser: loads, follows a live run, tells deaths and joins, survives restarts, fits every width.

Exit 77 where there is no Chromium or no pictures to train on. SEER_SHOTS=DIR keeps screenshots.
"""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import browser

BIN, SOURCE = Path(os.environ["SEER_BIN"]), Path(os.environ["SEER_SOURCE"])
CLUSTER = SOURCE / "deploy/local_cluster.sh"
WIDTHS = ((1280, 900, False), (320, 640, False), (2560, 1440, True))


dashboards = []  # all that were started


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        select.select([], [], [], 0.1)


def make_store(folder):
    run(BIN / "colour-fashion", folder / "pictures", "--train", 256, "--test", 16)
    run(BIN / "seer", "ingest", *sorted((folder / "pictures").glob("*-train.tar")), "--labels", "cls", "--store", folder / "store")


def pid_of(folder, name):
    for line in (folder / "run/pids").read_text().splitlines():
        words = line.split()
        if words[-2] == name:
            return int(words[-1])
    return None


def start_dashboard(folder, listen):
    process = subprocess.Popen([BIN / "seer", "dashboard", "--run", folder / "run", "--listen", listen, "--orders", folder / "token"], stdout=subprocess.PIPE, text=True)
    dashboards.append(process)
    return process, process.stdout.readline().strip()


def restart_server(folder):
    command = next(line[7:] for line in (folder / "run/commands").read_text().splitlines() if line.startswith("server "))
    with open(folder / "run/server.log", "a") as log:
        return subprocess.Popen(shlex.split(command), stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def step(page):
    return page.value("run.step")


def goes_on(page):
    before = step(page)
    page.wait_until(f"run.step > {before} + 3")


def check_widths(page):
    shots = os.environ.get("SEER_SHOTS")
    for width, height, is_dark in WIDTHS:
        page.resize(width, height, is_dark)
        page.wait_until(f"innerWidth === {width} && document.documentElement.classList.contains('dark') === {str(is_dark).lower()}")
        page.value("draw()")
        assert page.value("document.documentElement.scrollWidth") <= width, f"wider than {width} px"
        cut = page.value("[...document.querySelectorAll('section')].filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.getAttribute('aria-labelledby'))")
        assert not cut, f"panels wider than their place at {width} px: {cut}"
        empty = page.value("[...document.querySelectorAll('canvas')].filter(c => !c.closest('[hidden]') && (!c.clientHeight || !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))).map(c => c.id)")
        assert not empty, f"empty at {width} px: {empty}"
        if shots:
            page.screenshot(f"{shots}/dashboard-{width}.png")
    page.resize(1280, 900)


def check_access(page):
    """What a keyboard and a screen reader need."""
    unnamed = page.value("""[...document.querySelectorAll('button, input, select, canvas, [role=region]')].filter(e =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.getAttribute('aria-labelledby') || e.getAttribute('aria-describedby'))).length""")
    assert unnamed == 0, f"{unnamed} controls without a name"
    page.value("document.getElementById('loss').focus()")
    for key in ("End", "ArrowLeft"):
        page.tell("Input.dispatchKeyEvent", type="keyDown", key=key)
    page.wait_until("document.querySelector('#loss ~ .tip')?.textContent.includes('smoothed')")
    assert "loss" in page.value("document.getElementById('c-loss').textContent")
    page.value("document.getElementById('loss').blur()")
    page.value("document.querySelector('#columns th[data-key=images_per_second] button').click()")
    assert page.value("document.querySelector('#columns th[data-key=images_per_second]').getAttribute('aria-sort')") == "descending"
    page.value("document.querySelector('#columns th[data-key=rank] button').click()")


def give(page, token):
    page.value(f"document.getElementById('order-token').value = {json.dumps(token)}; document.getElementById('order-reason').value = 'a look'; document.getElementById('order-give').click()")


def check_orders(page, folder):
    """Buttons, for who knows the token."""
    token = (folder / "token").read_text().strip()
    page.value("document.getElementById('pause').click()")
    page.wait_until("document.getElementById('order').open")
    give(page, "not the token at all")
    page.wait_until("document.getElementById('order-said').textContent.startsWith('Refused')")
    assert page.value("run.state") == "training"
    give(page, token)
    page.wait_until("run.state === 'paused' && document.getElementById('pause').textContent === 'Resume'")
    page.value("document.getElementById('order-close').click(); document.getElementById('pause').click()")
    assert page.value("document.getElementById('order-token').value") == token, "the token is asked for again"
    give(page, token)
    page.wait_until("run.state === 'training'")
    page.value("document.getElementById('order-close').click()")
    page.value("document.querySelector('#rows button[aria-label=\"Drain worker-3\"]').click()")
    give(page, token)
    page.wait_until("document.getElementById('log').textContent.includes('worker_left') && run.world_size === 2")
    page.value("document.getElementById('order-close').click()")
    events = [json.loads(line) for line in (folder / "run/events.jsonl").read_text().splitlines()]
    orders = [event["text"] for event in events if event["kind"] == "operator_command"]
    assert [text.split()[0] for text in orders] == ["command=pause", "command=resume", "command=worker_drain"], orders
    assert all('reason="a look" origin="page from 127.0.0.1"' in text for text in orders), orders


def watch(page, folder, dashboard, url):
    page.resize(1280, 900)
    page.open(url)
    page.wait_until("typeof run !== 'undefined' && run && run.points.length > 5 && document.querySelectorAll('#rows tr').length === 3")
    goes_on(page)
    os.kill(pid_of(folder, "worker-2"), signal.SIGKILL)
    page.wait_until("run.marks.some(m => m.kind === 'death') && document.getElementById('log').textContent.includes('worker_lost')")
    page.wait_until("run.world_size === 3")  # it was started again and let in
    page.wait_until("run.marks.filter(m => m.kind === 'join').length >= 4")
    goes_on(page)
    check_access(page)
    page.wait_until("run.learning && run.learnings.length > 1 && document.getElementById('learn').textContent.includes('Prototypes in use')", 60)
    check_widths(page)
    check_orders(page, folder)

    os.kill(pid_of(folder, "server"), signal.SIGKILL)
    page.wait_until("!document.getElementById('banner').hidden && document.getElementById('state').textContent === 'server not heard'")
    server = restart_server(folder)
    page.wait_until("document.getElementById('banner').hidden && run.epoch === 2")
    goes_on(page)

    before = page.value("run.points.reduce((n, p) => n + p.count, 0)")
    dashboard.terminate()
    assert dashboard.wait() == 0, "the dashboard does not end well while it is watched"
    page.wait_until("document.getElementById('state').textContent === 'no connection'")
    dashboard, _ = start_dashboard(folder, url.split("/")[2])
    page.wait_until("document.getElementById('banner').hidden && isConnected")
    goes_on(page)
    assert page.value("run.points.reduce((n, p) => n + p.count, 0)") >= before, "the past was lost with the dashboard"
    errors = [error for error in page.errors() if "401" not in error]  # the wrong token
    assert not errors, errors
    elsewhere = [address for address in page.addresses() if not address.startswith((url, "data:", "about:"))]
    assert not elsewhere, f"the page asks elsewhere: {elsewhere}"
    return dashboard, server


def main():
    if not browser.find() or not Path("/usr/share/datasets/fashion-mnist").is_dir():
        print("skipped: no Chromium, or no dataset-fashion-mnist")
        return 77
    with tempfile.TemporaryDirectory(prefix="seer-page-") as name:
        folder, page, dashboard, server = Path(name), None, None, None
        make_store(folder)
        try:
            run(CLUSTER, "--config", SOURCE / "tests/integration/tiny.yaml", "--run", folder / "run", "--workers", 3, "--store", folder / "store",
                "--seed", 7, "--respawn", "--detach")
            metrics = folder / "run/metrics.jsonl"
            wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") > 5, 60, "the first steps")
            dashboard, url = start_dashboard(folder, "127.0.0.1:0")
            page = browser.Browser()
            dashboard, server = watch(page, folder, dashboard, url)
            print(json.dumps({"steps": step(page)}))
        finally:
            if page:
                page.close()
            for process in dashboards:
                process.terminate()
                process.wait()
            subprocess.run([CLUSTER, "--run", folder / "run", "--stop"], check=False)
            if server:
                server.wait()
    return 0


sys.exit(main())
