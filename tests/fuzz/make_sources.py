#!/usr/bin/python3
# make_sources.py - writes tests/fuzz/corpus/source: make_sources.py DIR. Run by hand when a kind of source is added.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import gzip
import io
import os
import struct
import sys
import tarfile
import tempfile
import zipfile

import lmdb

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010800000000"
                    "3a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082")
MEMBERS = {"a.png": PNG, "a.cls": b"3", "b.jpg": b"\xff\xd8\xff\xd9", "c.txt": b"no picture"}


def tar(kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()[:6 * 1024]


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return out.getvalue()


def database(values):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.mdb")
        with lmdb.open(path, subdir=False, map_size=1 << 20, lock=False) as env, env.begin(write=True) as transaction:
            for number, value in enumerate(values):
                transaction.put(b"%08d" % number, value)
        with open(path, "rb") as file:
            return file.read()


def datum(data, *fields):
    return b"".join(bytes(pair) for pair in fields) + b"\x22" + bytes([len(data)]) + data


IDX = struct.pack(">IIII", 0x803, 2, 2, 3) + bytes(range(12))
CORPUS = {
    "ustar": tar(tarfile.USTAR_FORMAT), "pax": tar(tarfile.PAX_FORMAT), "tar.gz": gzip.compress(tar(tarfile.USTAR_FORMAT), mtime=0),
    "zip": zipped(), "idx": IDX, "idx.gz": gzip.compress(IDX, mtime=0), "idx-cut": IDX[:-2], "labels": struct.pack(">II", 0x801, 2) + b"\1\2",
    "lsun": database([PNG, PNG + b"\0"]), "caffe": database([datum(PNG, (0x28, 3), (0x38, 1))] * 2),
    "raw": database([datum(bytes(18), (0x08, 3), (0x10, 2), (0x18, 3)), datum(bytes(6), (0x08, 1), (0x10, 2), (0x18, 3))]),
}

for name, data in CORPUS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as file:
        file.write(data)
