# chaos_oracle.py - judges a run by an undisturbed one: same steps, same bits.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""train.reduction is 'exact': a step's numbers are functions of seed and config, whoever computed
it and whatever happened on the way. So every line, of voided lineages too, must equal the line of
its step in a run of one worker that nobody disturbed, and so must the parameters at the end."""
import glob, json, os, struct, subprocess

from chaos_run import BIN, Failure

DISAGREEMENTS = ("digests_differ", "applied_without_commit", "committed_not_applied", "records_differ",
                 "journals_damaged")
SAME = ("loss", "lr", "grad_norm", "images", "digest", "is_commit")

# Of the run that others are held against: on a busy machine it is only slower.
PATIENCE = ["server.lost_ms=60000", "server.form_ms=600000", "server.step_ms=600000"]


def surviving(lines):
    """The lines of the history that counts: a new lineage voids what it repeats."""
    history, lineage = [], 0
    for line in lines:
        if line["lineage"] != lineage:
            lineage = line["lineage"]
            history = [kept for kept in history if kept["step"] < line["step"]]
        history.append(line)
    return history


def check_history(history):
    steps = [line["step"] for line in history]
    if steps != list(range(len(steps))):
        odd = [i for i, step in enumerate(steps) if step != i][0]
        raise Failure(f"metrics.jsonl: step {steps[odd]} where step {odd} must follow")


def differing(lines, reference):
    expected = {line["step"]: line for line in reference}
    return [(line["lineage"], line["step"],
             {key: (line[key], expected.get(line["step"], {}).get(key)) for key in SAME})
            for line in lines
            if any(line[key] != expected.get(line["step"], {}).get(key) for key in SAME)]


def audit(directory):
    done = subprocess.run([os.path.join(BIN, "seer"), "audit", directory, "-o", "json"],
                          stdout=subprocess.PIPE, text=True, timeout=60)
    if not done.stdout:
        raise Failure(f"seer audit ended with {done.returncode} and says nothing")
    return json.loads(done.stdout)


def snapshot_of(directory, step):
    """name -> bytes of every tensor, of the newest lineage's snapshot of the step."""
    paths = glob.glob(os.path.join(directory, "snapshots", f"step-{step:09d}*.safetensors"))
    if not paths:
        raise Failure(f"'{directory}' has no snapshot of step {step}")
    with open(max(paths, key=os.path.getmtime), "rb") as file:
        blob = file.read()
    (length,) = struct.unpack_from("<Q", blob)
    header, data = json.loads(blob[8:8 + length]), memoryview(blob)[8 + length:]
    header.pop("__metadata__")
    return {name: bytes(data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def unequal_tensors(left, right, step):
    a, b = snapshot_of(left, step), snapshot_of(right, step)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
