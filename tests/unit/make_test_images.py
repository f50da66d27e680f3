# make_test_images.py - image files of all kinds with the pixels that Pillow sees in them, for test_image.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
#
# python3 make_test_images.py DIR writes DIR/cases: a line "FILE WIDTH HEIGHT TOLERANCE" with FILE.rgb beside
# it for files that decode, "FILE REASON" for those that must be refused.
import io
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

out = sys.argv[1]
cases = open(out + '/cases', 'w')
rng = np.random.default_rng(5)


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], 2)
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


def good(name, data, rgb, tolerance=0):
    open(f'{out}/{name}', 'wb').write(data)
    rgb = np.ascontiguousarray(rgb, dtype=np.uint8)
    rgb.tofile(f'{out}/{name}.rgb')
    cases.write(f'{name} {rgb.shape[1]} {rgb.shape[0]} {tolerance}\n')


def bad(name, data, reason):
    open(f'{out}/{name}', 'wb').write(data)
    cases.write(f'{name} {reason}\n')


def saved(image, kind, **options):
    to = io.BytesIO()
    image.save(to, kind, **options)
    return to.getvalue()


def seen(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert('RGB'))


def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def pack_rows(samples, depth):
    """samples [height][width][channels] -> filtered scan lines of a PNG at this bit depth."""
    rows = b''
    for row in samples:
        flat = row.reshape(-1)
        if depth == 16:
            body = flat.astype('>u2').tobytes()
        elif depth == 8:
            body = flat.astype('u1').tobytes()
        else:
            bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype('u1')
            body = np.packbits(bits.reshape(-1)).tobytes()
        rows += b'\0' + body
    return rows


def png(samples, depth, colour, interlaced=False, extra=b''):
    height, width = samples.shape[:2]
    if interlaced:
        raw = b''
        for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                               (1, 0, 2, 2), (0, 1, 1, 2)):
            part = samples[y0::dy, x0::dx]
            if part.size:
                raw += pack_rows(part, depth)
    else:
        raw = pack_rows(samples, depth)
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, int(interlaced))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + extra + chunk(b'IDAT', zlib.compress(raw)) +
            chunk(b'IEND', b''))


def on_white(rgb, alpha):
    alpha = alpha.astype(float)[..., None] / 255
    return np.floor(rgb * alpha + 255 * (1 - alpha) + .5)


# JPEG: every subsampling, odd sizes, grey, progressive, arithmetic of inks, all orientations.
for subsampling in (0, 1, 2, '4:1:1'):
    for progressive in (False, True):
        data = saved(Image.fromarray(picture(61, 43)), 'JPEG', quality=90, subsampling=subsampling,
                     progressive=progressive)
        good(f'jpeg-{str(subsampling).replace(":", "")}-{int(progressive)}.jpg', data, seen(data))
data = saved(Image.fromarray(picture(33, 17)).convert('L'), 'JPEG', quality=85)
good('jpeg-grey.jpg', data, seen(data))
data = saved(Image.fromarray(picture(1, 1)), 'JPEG')
good('jpeg-one-pixel.jpg', data, seen(data))
data = saved(Image.fromarray(picture(40, 30)).convert('CMYK'), 'JPEG', quality=95)
good('jpeg-cmyk.jpg', data, seen(data), 1)
data = data.replace(b'Adobe', b'Xdobe', 1)
good('jpeg-cmyk-not-adobe.jpg', data, seen(data), 1)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(picture(24, 13)), 'JPEG', quality=95, exif=exif)
    good(f'jpeg-exif-{orientation}.jpg', data, seen(data))
for name, orientation in (('zero', 0), ('nine', 9)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(picture(24, 13)), 'JPEG', exif=exif)
    good(f'jpeg-exif-{name}.jpg', data, np.asarray(Image.open(io.BytesIO(data)).convert('RGB')))
plain = saved(Image.fromarray(picture(24, 13)), 'JPEG')
for i, body in enumerate((b'Exif\0\0', b'Exif\0\0MM\0*\xff\xff\xff\xff', b'Exif\0\0II*\0\x08\0\0\0\xff\xff',
                          b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0')):
    data = plain[:2] + b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body + plain[2:]
    good(f'jpeg-exif-broken-{i}.jpg', data, seen(plain))
good('jpeg-named.png', plain, seen(plain))

# PNG: all colour types and depths, alpha, palettes, interlaced or not.
for interlaced in (False, True):
    tail = '-interlaced' if interlaced else ''
    rgb = picture(29, 19)
    grey = rgb[..., :1]
    alpha = rng.integers(0, 256, rgb.shape[:2])
    good(f'png-rgb{tail}.png', png(rgb, 8, 2, interlaced), rgb)
    good(f'png-rgba{tail}.png', png(np.dstack([rgb, alpha]), 8, 6, interlaced), on_white(rgb, alpha), 1)
    good(f'png-grey-alpha{tail}.png', png(np.dstack([grey, alpha]), 8, 4, interlaced),
         on_white(np.repeat(grey, 3, 2), alpha), 1)
    wide = rgb.astype(int) * 256 + rng.integers(0, 256, rgb.shape)
    good(f'png-rgb16{tail}.png', png(wide, 16, 2, interlaced), rgb)
    good(f'png-rgba16{tail}.png', png(np.dstack([wide, alpha * 256 + 7]), 16, 6, interlaced),
         on_white(rgb, alpha), 1)
    good(f'png-grey16{tail}.png', png(wide[..., :1], 16, 0, interlaced), np.repeat(grey, 3, 2))
    for depth in (1, 2, 4, 8):
        levels = grey.astype(int) >> (8 - depth)
        full = levels * 255 // ((1 << depth) - 1)
        good(f'png-grey{depth}{tail}.png', png(levels, depth, 0, interlaced), np.repeat(full, 3, 2))
        colours = rng.integers(0, 256, (1 << depth, 3))
        plte = chunk(b'PLTE', colours.astype('u1').tobytes())
        good(f'png-palette{depth}{tail}.png', png(levels, depth, 3, interlaced, plte), colours[levels[..., 0]])
        clear = rng.integers(0, 256, 1 << depth)
        trns = chunk(b'tRNS', clear.astype('u1').tobytes())
        good(f'png-palette{depth}-clear{tail}.png', png(levels, depth, 3, interlaced, plte + trns),
             on_white(colours[levels[..., 0]], clear[levels[..., 0]]), 1)

# What must be refused, and how it is called.
bad('empty.jpg', b'', 'empty')
bad('text.jpg', b'this is no picture at all', 'not_an_image')
bad('one-byte.png', b'\x89', 'not_an_image')
bad('gif.gif', saved(Image.fromarray(picture(9, 9)), 'GIF'), 'unsupported')
bad('bmp.bmp', saved(Image.fromarray(picture(9, 9)), 'BMP'), 'unsupported')
bad('tiff.jpg', saved(Image.fromarray(picture(9, 9)), 'TIFF'), 'unsupported')
bad('webp.jpg', b'RIFF\x24\0\0\0WEBPVP8 ' + bytes(24), 'unsupported')
huge = struct.pack('>IIBBBBB', 60000, 60000, 8, 6, 0, 0, 1)
bad('bomb.png', b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', huge) + chunk(b'IDAT', zlib.compress(bytes(99))), 'too_large')
wide = struct.pack('>IIBBBBB', 0x7fffffff, 1, 1, 0, 0, 0, 0)
bad('wide.png', b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', wide) + chunk(b'IDAT', zlib.compress(bytes(99))), 'too_large')
sof = plain.index(b'\xff\xc0')
bad('bomb.jpg', plain[:sof + 5] + struct.pack('>HH', 65000, 65000) + plain[sof + 9:], 'too_large')
bad('crc.png', (lambda d: d[:60] + bytes([d[60] ^ 1]) + d[61:])(png(picture(29, 19), 8, 2)), 'corrupt')
bad('header-only.png', png(picture(9, 9), 8, 2)[:33], 'truncated')
bad('half.jpg', plain[:len(plain) * 2 // 3], 'truncated')
bad('twelve-bit.jpg', plain[:sof + 4] + b'\x0c' + plain[sof + 5:], 'unsupported')
lossless = plain[:sof] + b'\xff\xc3' + plain[sof + 2:]
bad('lossless.jpg', lossless, 'unsupported')
slow = saved(Image.fromarray(picture(64, 64)), 'JPEG', progressive=True)
scan = slow.rindex(b'\xff\xda')
bad('scans.jpg', slow[:scan] + slow[scan:-2] * 600 + slow[-2:], 'corrupt')
cases.close()
