# one_thread.py - for programs that measure PyTorch: import it before torch, at the beginning.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""One thread, and the C library keeps what torch frees: else the kernel zeroes it anew in every step, which takes up to
half of the time where page faults are dear. Both are read when a process starts, so the program begins again once.
OTHERS_ENVIRONMENT is for programs that are started from it: without the memory that is kept."""
import os
import sys

SETTINGS = dict({f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}, OMP_WAIT_POLICY="passive")
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}

os.environ.update(SETTINGS)
if not KEEP_MEMORY.items() <= os.environ.items():
    os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ, **KEEP_MEMORY))
OTHERS_ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in KEEP_MEMORY}
