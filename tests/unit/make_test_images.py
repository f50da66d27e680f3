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
    eight = (wide * 255 + 32767) // 65535  # rounded, not cut
    good(f'png-rgb16{tail}.png', png(wide, 16, 2, interlaced), eight)
    good(f'png-rgba16{tail}.png', png(np.dstack([wide, alpha * 256 + 7]), 16, 6, interlaced),
         on_white(eight, alpha), 1)
    good(f'png-grey16{tail}.png', png(wide[..., :1], 16, 0, interlaced), np.repeat(eight[..., :1], 3, 2))
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

# The orientation of PNG and WebP, whose Exif has no header of its own.
exif = Image.Exif()
exif[0x0112] = 6
for kind, options in (('PNG', {}), ('WEBP', {'lossless': True})):
    data = saved(Image.fromarray(picture(24, 13)), kind, exif=exif.tobytes(), **options)
    good(f'{kind.lower()}-exif-6.{kind.lower()}', data, seen(data))

# WebP: lossy and lossless, with alpha, animated, a frame smaller than its canvas; under a wrong name.
for name, options in (('lossy', {'quality': 80}), ('lossless', {'lossless': True})):
    rgb = picture(47, 31)
    data = saved(Image.fromarray(rgb), 'WEBP', **options)
    good(f'webp-{name}.jpg', data, seen(data))
    alpha = rng.integers(0, 256, rgb.shape[:2]).astype(np.uint8)
    data = saved(Image.fromarray(np.dstack([rgb, alpha])), 'WEBP', exact=True, **options)
    rgba = np.asarray(Image.open(io.BytesIO(data)))
    good(f'webp-{name}-alpha.webp', data, on_white(rgba[..., :3], rgba[..., 3]), 1)
    frames = [Image.fromarray(picture(20, 14)) for _ in range(3)]
    data = saved(frames[0], 'WEBP', save_all=True, append_images=frames[1:], **options)
    good(f'webp-{name}-animated.webp', data, seen(data))
part = picture(10, 8)
frame = saved(Image.fromarray(part), 'WEBP', lossless=True)[12:]
frame = struct.pack('<I', 2)[:3] + struct.pack('<I', 1)[:3] + struct.pack('<I', 9)[:3] + struct.pack('<I', 7)[:3] + b'\x64\0\0\0' + frame
body = (b'WEBPVP8X' + struct.pack('<I', 10) + b'\x02\0\0\0' + struct.pack('<I', 19)[:3] + struct.pack('<I', 14)[:3] +
        b'ANIM' + struct.pack('<I', 6) + bytes(6) + b'ANMF' + struct.pack('<I', len(frame)) + frame + bytes(len(frame) % 2))
whole = np.full((15, 20, 3), 255, np.uint8)
whole[2:10, 4:14] = part
good('webp-part.webp', b'RIFF' + struct.pack('<I', len(body)) + body, whole)

# GIF: grey and colour, transparent, interlaced, animated, a frame that is smaller or larger than the canvas.
rgb = Image.fromarray(picture(33, 21))
palette = rgb.quantize(60)
data = saved(palette, 'GIF')
good('gif.gif', data, seen(data))
good('gif-interlaced.gif', saved(palette, 'GIF', interlace=1), seen(saved(palette, 'GIF', interlace=1)))
good('gif-flat.gif', saved(palette, 'GIF', interlace=0), seen(saved(palette, 'GIF', interlace=0)))
data = saved(rgb.convert('L'), 'GIF')
good('gif-grey.png', data, seen(data))
data = saved(palette, 'GIF', save_all=True, append_images=[palette.transpose(Image.FLIP_TOP_BOTTOM)], duration=9)
good('gif-animated.gif', data, seen(data))
data = saved(palette, 'GIF', transparency=7)
clear = np.asarray(palette) == 7
good('gif-clear.gif', data, np.where(clear[..., None], 255, np.asarray(palette.convert('RGB'))))
data = saved(palette, 'GIF')
data = data[:6] + struct.pack('<HH', 40, 30) + data[10:]
whole = np.full((30, 40, 3), 255, np.uint8)
whole[:21, :33] = np.asarray(palette.convert('RGB'))
good('gif-part.gif', data, whole)
data = data[:6] + struct.pack('<HH', 5, 5) + data[10:]
good('gif-larger.gif', data, np.asarray(palette.convert('RGB')))

# What must be refused, and how it is called.
bad('empty.jpg', b'', 'empty')
bad('text.jpg', b'this is no picture at all', 'not_an_image')
bad('one-byte.png', b'\x89', 'not_an_image')
bad('bmp.bmp', saved(Image.fromarray(picture(9, 9)), 'BMP'), 'unsupported')
bad('tiff.jpg', saved(Image.fromarray(picture(9, 9)), 'TIFF'), 'unsupported')
bad('webp.jpg', b'RIFF\x24\0\0\0WEBPVP8 ' + bytes(24), 'corrupt')
bad('riff.webp', b'RIFF\x24\0\0\0WAVEfmt ' + bytes(24), 'not_an_image')
canvas = b'VP8X' + struct.pack('<I', 10) + b'\0\0\0\0' + b'\xfe\x3f\0' + b'\xfe\x3f\0'
lossless_bomb = b'VP8L' + struct.pack('<I', 6) + b'\x2f' + struct.pack('<I', 16382 | 16382 << 14) + b'\0'
body = b'WEBP' + canvas + lossless_bomb
bad('bomb.webp', b'RIFF' + struct.pack('<I', len(body)) + body, 'too_large')
small = saved(Image.fromarray(picture(9, 9)), 'GIF')
bad('bomb.gif', small[:6] + b'\xff\xff\xff\xff' + small[10:], 'too_large')
bad('no-frame.gif', b'GIF89a\x09\0\x09\0\0\0\0;', 'corrupt')
bad('no-colours.gif', b'GIF89a\x09\0\x09\0\0\0\0,\0\0\0\0\x09\0\x09\0\0\x02\x02\x44\x01\0;', 'corrupt')
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
