# make_images.py - writes the pictures of tests/fuzz/corpus: python3 make_images.py CORPUS_DIR
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
#
# The files that tests/unit/make_test_images.py makes for test_image, the small ones.
import pathlib
import subprocess
import sys
import tempfile

BYTES_MAX = 4096

here = pathlib.Path(__file__).resolve().parent
to = pathlib.Path(sys.argv[1]) / 'image'
to.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, here.parent / 'unit' / 'make_test_images.py', folder], check=True)
    for line in (pathlib.Path(folder) / 'cases').read_text().splitlines():
        data = (pathlib.Path(folder) / line.split()[0]).read_bytes()
        if len(data) <= BYTES_MAX:
            (to / line.split()[0]).write_bytes(data)
