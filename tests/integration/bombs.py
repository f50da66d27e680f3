#!/usr/bin/python3
# bombs.py - files made to exhaust memory or time: each is refused with its reason, and ingest stays small.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""Every bomb goes through a `seer ingest --dry-run` of its own, whose peak memory is the kernel's word (ru_maxrss)."""
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

try:
    from PIL import Image
except ImportError as error:
    print("skipped: needs Debian's python3-pil:", error)
    sys.exit(77)

SEER = os.path.join(os.environ["SEER_BIN"], "seer")
HEADER_MB = 64  # what is refused by its header: the program, its libraries, threads and the file itself
BUDGET_MB = 1024 + HEADER_MB  # what one decode may take (image_limits_default.max_bytes)
IS_SANITIZED = os.environ.get("SEER_SANITIZED") == "1"  # shadow memory is not ours


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, kind, data, before=b"", interlaced=0, depth=8):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def zeros(count):
    """A zlib stream of so many zeros, made without compressing them: one flushed block again and again."""
    block = 1 << 20
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    once = deflater.compress(bytes(block)) + deflater.flush(zlib.Z_FULL_FLUSH)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = deflater.compress(bytes(count % block)) + deflater.flush()
    return b"\x78\xda" + once * (count // block) + rest + struct.pack(">I", (count % 65521) << 16 | 1)


def adam7_bytes(side, pixel_bytes):
    """Of a square picture: seven pictures of every so many columns and rows, a filter byte before each row."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return sum(len(range(y, side, down)) * (1 + pixel_bytes * len(range(x, side, across))) for x, y, across, down in passes)


def small(kind, size=(64, 64), **options):
    out = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def with_jpeg_size(data, width, height):
    at = next(at for at in (data.find(b"\xff\xc2"), data.find(b"\xff\xc0")) if at > 0)
    return data[:at + 5] + struct.pack(">HH", height, width) + data[at + 9:]


def endless_scans(count):
    """A progressive JPEG whose first scan, of the DC coefficients, comes again and again; in one go (Ah = Al = 0), since
    libjpeg calls every other repetition inconsistent."""
    data = small("JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    entropy = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
    end = next(at for at in range(entropy, len(data)) if data[at] == 0xFF and data[at + 1] != 0)
    scan = data[start:entropy - 1] + b"\0" + data[entropy:end]
    return data[:start] + scan * count + b"\xff\xd9"


def webp(width, height):
    body = (b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3] +
            b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", width - 1 | (height - 1) << 14) + b"\0")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(width, height):
    data = small("GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def cut(data):
    return data[:len(data) * 2 // 3]


ROWS_623 = 29700 * (1 + 4 * 20990)  # filter byte and RGBA

# name, bytes, reason (None: it is a picture, and harmless), MB
BOMBS = [
    ("header of 3.6 gigapixels.png", lambda: png(60000, 60000, 6, zeros(1 << 20), depth=16), "too_large", HEADER_MB),
    ("the same, interlaced.png", lambda: png(60000, 60000, 6, zeros(1 << 20), interlaced=1, depth=16), "too_large", HEADER_MB),
    ("623 megapixels, whole.png", lambda: png(20990, 29700, 6, zeros(ROWS_623)), "too_large", HEADER_MB),
    ("25 megapixels of 16 bits, interlaced, whole.png",
     lambda: png(5000, 5000, 6, zeros(adam7_bytes(5000, 8)), interlaced=1, depth=16), None, BUDGET_MB),
    ("text that inflates to a gigabyte.png",
     lambda: png(8, 8, 0, zeros(72), before=png_chunk(b"zTXt", b"bomb\0\0" + zeros(1 << 30))), None, HEADER_MB),
    ("profile that inflates to a gigabyte.png",
     lambda: png(8, 8, 0, zeros(72), before=png_chunk(b"iCCP", b"bomb\0\0" + zeros(1 << 30))), None, HEADER_MB),
    ("pixels that go on for a gigabyte.png", lambda: png(8, 8, 0, zeros(1 << 30)), None, HEADER_MB),
    ("cut.png", lambda: cut(small("PNG")), "truncated", HEADER_MB),
    ("header of 4 gigapixels.jpg", lambda: with_jpeg_size(small("JPEG"), 65000, 65000), "too_large", HEADER_MB),
    ("the same, progressive.jpg", lambda: with_jpeg_size(small("JPEG", progressive=True), 65000, 65000), "too_large", HEADER_MB),
    ("a gigapixel, nothing in it.jpg", lambda: with_jpeg_size(small("JPEG"), 32000, 32000), "corrupt", BUDGET_MB),
    ("90 megapixels, progressive, nothing in it.jpg",
     lambda: with_jpeg_size(small("JPEG", progressive=True), 9000, 10000), "corrupt", BUDGET_MB),
    ("2000 scans.jpg", lambda: endless_scans(2000), "corrupt", HEADER_MB),
    ("cut.jpg", lambda: cut(small("JPEG")), "truncated", HEADER_MB),
    ("header of 268 megapixels.webp", lambda: webp(16383, 16383), "too_large", HEADER_MB),
    ("cut.webp", lambda: cut(small("WEBP")), "truncated", HEADER_MB),
    ("header of 4 gigapixels.gif", lambda: gif(65535, 65535), "too_large", HEADER_MB),
    ("cut.gif", lambda: cut(small("GIF")), "truncated", HEADER_MB),
]


def ingest(path, scratch):
    """(reason or None, detail, peak MB)"""
    report = os.path.join(scratch, "report")
    process = subprocess.Popen([SEER, "ingest", path, "--dry-run", "--jobs", "1", "--store", os.path.join(scratch, "store"),
                                "-q", "-o", "json", "--report", report], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or json.loads(output)["scanned"] != 1:
        return f"ingest ended with {process.returncode}", output.decode(), 0
    with open(report, encoding="utf-8") as file:
        line = file.readline()
    refusal = json.loads(line) if line else {"reason": None, "detail": ""}
    return refusal["reason"], refusal["detail"], usage.ru_maxrss // 1024


def main():
    failures = 0
    with tempfile.TemporaryDirectory(prefix="everseer-bombs-") as scratch:
        for name, make, expected, allowed in BOMBS:
            path = os.path.join(scratch, name)
            with open(path, "wb") as file:
                file.write(make())
            reason, detail, peak = ingest(path, scratch)
            is_bad = reason != expected or (peak > allowed and not IS_SANITIZED)
            failures += is_bad
            print(f"{'FAILED' if is_bad else 'ok':6} {name}: {os.path.getsize(path) / 1e6:.1f} MB, peak {peak} MB of {allowed}, "
                  f"{reason or 'accepted'}{f' instead of {expected}' if reason != expected else ''}: {detail}", flush=True)
            os.unlink(path)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
