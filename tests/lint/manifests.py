#!/usr/bin/python3
"""manifests.py - every manifest is what the API's own models take: known fields, right types, nothing required that lacks; and
its config is one."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import yaml
    from kubernetes.client import models
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

SOURCE = pathlib.Path(os.environ["SEER_SOURCE"])
KINDS = {("v1", "ConfigMap"): "V1ConfigMap", ("v1", "Service"): "V1Service", ("apps/v1", "StatefulSet"): "V1StatefulSet"}
PRIMITIVES = {"str": str, "bool": bool, "int": int, "float": (int, float), "object": object, "datetime": object}
found = []


def check(value, kind, place):
    """value is as YAML has it, kind as the models name types: str, list[V1Container], dict(str, str), V1Pod."""
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            return found.append(f"{place}: a list is wanted, not {value!r}")
        for i, item in enumerate(value):
            check(item, match[1], f"{place}[{i}]")
    elif match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        if not isinstance(value, dict):
            return found.append(f"{place}: a map is wanted, not {value!r}")
        for key, item in value.items():
            # Quantities are an int or a string; the models say str.
            check(str(item) if "limits" in place or "requests" in place else item, match[1], f"{place}.{key}")
    elif kind in PRIMITIVES:
        if not isinstance(value, PRIMITIVES[kind]) or (kind == "int" and isinstance(value, bool)):
            found.append(f"{place}: {kind} is wanted, not {value!r}")
    else:
        check_object(value, getattr(models, kind), place)


def check_object(value, model, place):
    if not isinstance(value, dict):
        return found.append(f"{place}: a map is wanted, not {value!r}")
    fields = {name: attribute for attribute, name in model.attribute_map.items()}
    for key, item in value.items():
        if key not in fields:
            found.append(f"{place}.{key}: there is no such field")
        else:
            check(item, model.openapi_types[fields[key]], f"{place}.{key}")
    present = {fields[key]: item for key, item in value.items() if key in fields}
    try:
        model(**present)  # says what is missing
    except ValueError as error:
        found.append(f"{place}: {error}")


def check_config(text, place):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([os.environ["SEER_BIN"] + "/seer", "config", "check", file.name], capture_output=True, text=True)
        if done.returncode != 0:
            found.append(f"{place}: {done.stderr.strip()}")


count = 0
for path in sorted((SOURCE / "deploy/kubernetes").glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        place = f"{path.name}: {document.get('kind')}"
        model = KINDS.get((document.get("apiVersion"), document.get("kind")))
        if model is None:
            found.append(f"{place}: an object of an unknown kind")
            continue
        check_object(document, getattr(models, model), place)
        if document["kind"] == "ConfigMap":
            check_config(document["data"]["config.yaml"], place)
        count += 1
print("\n".join(found) or f"{count} objects")
sys.exit(1 if found or count == 0 else 0)
