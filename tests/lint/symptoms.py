#!/usr/bin/python3
"""symptoms.py - what docs/troubleshooting.md quotes is what the programs say, keys of the config that pages for operators name are
keys, and docs/metrics.md has every metric and no other."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import os
import pathlib
import re
import sys

SOURCE = pathlib.Path(os.environ["SEER_SOURCE"])
found = []


def code():
    """All of the programs' sources, with strings that stand side by side made one, and quotes in them plain."""
    files = [path for folder in ("common", "proto", "loader", "server", "worker") for path in sorted((SOURCE / folder).rglob("*.c"))]
    text = "\n".join(path.read_text() for path in files)
    return re.sub(r'"\s*\n?\s*"', "", text).replace('\\"', '"')


def quotes(page):
    """Code spans in the first column of the tables; options and keys of the config in it are none."""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("| ") and not set(line) <= set("|- "):
            for quote in re.findall(r"`([^`]*)`", line.split(" | ")[0]):
                if not quote.startswith("seer "):
                    yield number, quote


def config_keys():
    """section.key of the reference, which a test keeps complete."""
    section = ""
    for line in (SOURCE / "configs/reference.yaml").read_text().splitlines():
        if match := re.match(r"([a-z_]+):", line):
            section = match[1]
        elif match := re.match(r"  (?:- )?([a-z_]+):", line):
            yield f"{section}.{match[1]}"


def metrics_of(text):
    return set(re.findall(r"\bseer_[a-z_]+[a-z]\b", text))


text = code()
keys = set(config_keys())
sections = "|".join({key.split(".")[0] for key in keys})
count = 0
for number, quote in quotes(SOURCE / "docs/troubleshooting.md"):
    count += 1
    if quote not in text:
        found.append(f"docs/troubleshooting.md:{number}: no program says '{quote}'")
for page in ("troubleshooting", "operator", "deployment"):
    named = re.findall(rf"`((?:{sections})\.[a-z_]+)\b(?!\.)", (SOURCE / f"docs/{page}.md").read_text())
    found += [f"docs/{page}.md: no config has the key {name}" for name in named if name not in keys and not name.endswith((".json", ".c"))]
told = metrics_of((SOURCE / "docs/metrics.md").read_text())
exported = set(re.findall(r'"(seer_[a-z_]+)"', (SOURCE / "server/watch/metrics.c").read_text()))
found += [f"docs/metrics.md: {name} is not there" for name in sorted(exported - told)]
found += [f"docs/metrics.md: no program exports {name}" for name in sorted(told - exported)]
for user in ("deploy/prometheus/seer.rules.yaml", "deploy/grafana/seer.json"):
    found += [f"{user}: no program exports {name}" for name in sorted(metrics_of((SOURCE / user).read_text()) - exported)]
print("\n".join(found) or f"{count} quotes, {len(told)} metrics")
sys.exit(1 if found or not count or not told else 0)
