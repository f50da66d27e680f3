#!/usr/bin/python3
# make_weights.py - writes tests/fuzz/corpus/weights: make_weights.py DIR. Run by hand when a form of file is added.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import argparse
import json
import os
import struct
import sys

import torch

ALL = {"model": {"stem.0.weight": torch.ones(2, 3), "half": torch.ones(3).half(),
                 "brain": torch.ones(3).bfloat16(), "wide": torch.ones(2).double(),
                 "view": torch.arange(6.0)[::2], "count": torch.tensor(5),
                 "conv1.block1-part0.block1-0.w": torch.nn.Parameter(torch.zeros(1))},
       "optimizer": {"state": {0: {"step": 1, "lr": 0.5, "name": None, "big": 1 << 80}}},
       "arguments": argparse.Namespace(a=[1, (2, 3)], b={4}), "done": True}

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
torch.save(ALL, os.path.join(folder, "zip"))
torch.save(ALL, os.path.join(folder, "zip-4"), pickle_protocol=4)
torch.save(ALL, os.path.join(folder, "plain"), _use_new_zipfile_serialization=False)
header = json.dumps({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}).encode()
with open(os.path.join(folder, "safetensors"), "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + bytes(4))
