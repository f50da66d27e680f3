#!/usr/bin/env bats
# ingest.bats - seer ingest and seer store as their users run them.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors

load wait

setup_file() {
    seer=${SEER_BIN:?}/seer
    export seer
    pictures=$BATS_FILE_TMPDIR/pictures
    export pictures
    /usr/bin/python3 - "$pictures" <<'PYTHON'
import io, os, sys, tarfile, zipfile
import numpy as np
from PIL import Image
root = sys.argv[1]
rng = np.random.default_rng(3)
def picture(kind='PNG', size=24):
    to = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(to, kind)
    return to.getvalue()
for name in ('zebra', 'ant', 'cow/brown'):
    os.makedirs(f'{root}/classes/{name}')
    for i in range(4):
        open(f'{root}/classes/{name}/{i}.img', 'wb').write(picture('JPEG' if i % 2 else 'PNG'))
os.makedirs(f'{root}/mixed')
good = picture()
files = {'a.png': good, 'same.png': good, 'b.jpg': picture('JPEG'), 'text.jpg': b'hello', 'empty.png': b'',
         'cut.png': picture()[:-30], 'bmp.bmp': picture('BMP'), '.hidden.png': picture(), 'new.png.part': b'x'}
for name, data in files.items():
    open(f'{root}/mixed/{name}', 'wb').write(data)
samples = [('%06d.png' % i, picture()) for i in range(6)]
with tarfile.open(f'{root}/web.tar', 'w') as tar:
    for i, (name, data) in enumerate(samples):
        members = [(name, data), (name[:6] + '.cls', b'%d\n' % (i % 3)), (name[:6] + '.json', b'{}')]
        for member, content in (members if i % 2 else members[::-1]):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
whole = open(f'{root}/web.tar', 'rb').read()
open(f'{root}/cut.tar', 'wb').write(whole[:whole.index(samples[4][1][:60]) + 400])
with tarfile.open(f'{root}/folders.tar.gz', 'w:gz') as tar:
    tar.add(f'{root}/classes', arcname='.')
with zipfile.ZipFile(f'{root}/pictures.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in samples:
        archive.writestr('deep/' + name, data)
os.makedirs(f'{root}/many')
for i in range(3000):
    open(f'{root}/many/{i:05}.png', 'wb').write(picture(size=40))
PYTHON
}

setup() {
    store=$BATS_TEST_TMPDIR/store
}

has_unsealed() { # a shard is being written: beside the lock there is its folder
    [ -e "$store/unsealed" ] && [ "$(ls "$store/unsealed" | wc -l)" -ge 2 ]
}

ingest() {
    "$seer" ingest "$@" --store "$store" -o json
}

@test "a mixed folder is taken in, and each refused file is counted by reason and listed" {
    run ingest "$pictures/mixed" --report "$BATS_TEST_TMPDIR/refused.jsonl"
    [ "$status" -eq 0 ]
    jq -e '.schema_version == 1 and .scanned == 7 and .accepted == 2 and .duplicates == 1 and
        .rejected == {empty: 1, not_an_image: 1, truncated: 1, unsupported: 1} and
        (.shards | length) == 1 and .bytes > 0 and .images_per_second > 0' <<< "$output"
    jq -se 'length == 5 and (map(.reason) | sort) ==
        ["duplicate", "empty", "not_an_image", "truncated", "unsupported"] and
        (.[] | select(.reason == "empty") | .source | endswith("mixed/empty.png"))' \
        "$BATS_TEST_TMPDIR/refused.jsonl"
}

@test "a bomb is refused from its header, with its reason, in little memory" {
    mkdir "$BATS_TEST_TMPDIR/bombs"
    /usr/bin/python3 - "$BATS_TEST_TMPDIR/bombs" <<'PYTHON'
import io, struct, sys, zlib
from PIL import Image
def save(name, data):
    open(sys.argv[1] + '/' + name, 'wb').write(data)
def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
def small(kind, **options):
    to = io.BytesIO()
    Image.new('RGB', (16, 16), (9, 200, 70)).save(to, kind, **options)
    return to.getvalue()
for i, interlaced in enumerate((0, 1)):
    header = struct.pack('>IIBBBBB', 60000, 60000, 16, 6, 0, 0, interlaced)
    save(f'{i}.png', b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(1 << 20))))
for name, progressive in (('flat.jpg', False), ('progressive.jpg', True)):
    data = small('JPEG', progressive=progressive)
    at = data.index(b'\xff\xc2' if progressive else b'\xff\xc0')
    save(name, data[:at + 5] + struct.pack('>HH', 65000, 65000) + data[at + 9:])
gif = small('GIF')
save('wide.gif', gif[:6] + b'\xff\xff\xff\xff' + gif[10:])
body = (b'WEBPVP8X' + struct.pack('<I', 10) + bytes(4) + b'\xfe\x3f\0' * 2 + b'VP8L' + struct.pack('<I', 6) + b'\x2f' +
        struct.pack('<I', 16382 | 16382 << 14) + b'\0')
save('lossless.webp', b'RIFF' + struct.pack('<I', len(body)) + body)
PYTHON
    # A dry run, since a shard being written maps more than that; 300 MB would hold no bomb's pixels.
    run bash -c "ulimit -v 300000; '$seer' ingest '$BATS_TEST_TMPDIR/bombs' --dry-run --jobs 1 --store '$store' -q -o json \
        --report '$BATS_TEST_TMPDIR/report'"
    [ "$status" -eq 0 ]
    jq -e '.scanned == 6 and .accepted == 0 and .rejected == {too_large: 6}' <<< "$output"
    jq -se 'all(.detail | test("over the limit of"))' "$BATS_TEST_TMPDIR/report"
}

@test "a misspelt source leaves no store behind, and an empty one makes one" {
    run ingest "$pictures/mixed" "$pictures/no-such-folder"
    [ "$status" -eq 2 ]
    [ ! -e "$store" ]
    mkdir "$BATS_TEST_TMPDIR/empty"
    ingest "$BATS_TEST_TMPDIR/empty"
    "$seer" store ls "$store" -o json | jq -e '.shards == []'
}

@test "with --strict a refused image makes the exit code 4, and the good ones are still stored" {
    run ingest "$pictures/mixed" --strict
    [ "$status" -eq 4 ]
    [ "$("$seer" store stat "$store" -o json | jq .records)" -eq 2 ]
    run ingest "$pictures/web.tar" --strict
    [ "$status" -eq 0 ]
}

@test "labels by folder follow the sorted names and stay what they were when folders are added" {
    ingest "$pictures/classes" --labels dir | jq -e '.accepted == 12 and .labelled == 12'
    [ "$(paste -sd, "$store/labels.txt")" = ant,cow,zebra ]
    "$seer" store stat "$store" -o json | jq -e '.labels == {"0": 4, "1": 4, "2": 4}'
    mkdir -p "$BATS_TEST_TMPDIR/more/bee" "$BATS_TEST_TMPDIR/more/zebra"
    cp "$pictures/many/00000.png" "$BATS_TEST_TMPDIR/more/bee/"
    cp "$pictures/many/00001.png" "$BATS_TEST_TMPDIR/more/zebra/"
    ingest "$BATS_TEST_TMPDIR/more" --labels dir | jq -e '.accepted == 2'
    [ "$(paste -sd, "$store/labels.txt")" = ant,cow,zebra,bee ]
    "$seer" store stat "$store" -o json | jq -e '.labels == {"0": 4, "1": 4, "2": 5, "3": 1}'
}

@test "without a rule folders give no labels" {
    ingest "$pictures/classes" | jq -e '.accepted == 12 and .labelled == 0'
}

@test "a WebDataset tar gives its .cls as labels, wherever the member stands in its sample" {
    ingest "$pictures/web.tar" | jq -e '.scanned == 6 and .accepted == 6 and .labelled == 6'
    "$seer" store stat "$store" -o json | jq -e '.labels == {"0": 2, "1": 2, "2": 2}'
}

@test "the same pictures in a zip, a tar.gz or a folder of archives are the same records" {
    ingest "$pictures/pictures.zip" | jq -e '.accepted == 6 and .labelled == 0'
    ingest "$pictures/web.tar" | jq -e '.accepted == 0 and .duplicates == 6'
    ingest "$pictures/folders.tar.gz" --labels dir | jq -e '.accepted == 12 and .labelled == 12'
    [ "$(paste -sd, "$store/labels.txt")" = ant,cow,zebra ]
    mkdir "$BATS_TEST_TMPDIR/archives"
    cp "$pictures/web.tar" "$pictures/pictures.zip" "$BATS_TEST_TMPDIR/archives"
    ingest "$BATS_TEST_TMPDIR/archives" --keep-duplicates | jq -e '.accepted == 12 and .labelled == 6'
}

@test "a tar that breaks off gives what is before the break and one refusal" {
    run ingest "$pictures/cut.tar"
    [ "$status" -eq 0 ]
    jq -e '.accepted == 4 and ([.rejected[]] | add) == 1' <<< "$output"
}

@test "an archive without files is called empty and not damaged" {
    mkdir -p "$BATS_TEST_TMPDIR/folders/a/b"
    tar -cf "$BATS_TEST_TMPDIR/nothing.tar" -T /dev/null
    tar -cf "$BATS_TEST_TMPDIR/folders.tar" -C "$BATS_TEST_TMPDIR/folders" a
    for name in nothing folders; do
        ingest "$BATS_TEST_TMPDIR/$name.tar" --labels dir --report "$BATS_TEST_TMPDIR/report" |
            jq -e '.accepted == 0 and .rejected == {empty: 1}'
        jq -e '.detail == "the archive has no files in it"' "$BATS_TEST_TMPDIR/report"
    done
}

@test "paths come on stdin, ended by new lines or by 0" {
    find "$pictures/classes" -type f | sort | ingest - --labels dir |
        jq -e '.accepted == 12 and .labelled == 12'
    store=$BATS_TEST_TMPDIR/zero
    find "$pictures/classes" -type f -print0 | ingest - -0 | jq -e '.accepted == 12'
    store=$BATS_TEST_TMPDIR/missing
    echo /does/not/exist.png | ingest - | jq -e '.rejected == {io: 1}'
}

@test "a line on stdin of any length is refused, what follows it is taken" {
    { head -c 300000 /dev/zero | tr '\0' x; echo; echo "$pictures/mixed/a.png"; } > "$BATS_TEST_TMPDIR/list"
    ingest - --report "$BATS_TEST_TMPDIR/report" < "$BATS_TEST_TMPDIR/list" |
        jq -e '.scanned == 2 and .accepted == 1 and .rejected == {io: 1}'
    jq -e '.detail == "the path is too long" and (.source | length) == 4095' "$BATS_TEST_TMPDIR/report"
}

@test "a second ingest into a store waits for the first, then sees its labels and its images" {
    mkfifo "$BATS_TEST_TMPDIR/list"
    "$seer" ingest - --store "$store" --labels dir -q < "$BATS_TEST_TMPDIR/list" > "$BATS_TEST_TMPDIR/first" 2>&1 &
    first=$!
    exec 9> "$BATS_TEST_TMPDIR/list"
    ls "$pictures"/classes/zebra/* >&9
    wait_until 60 has_unsealed
    "$seer" ingest "$pictures/classes" --store "$store" --labels dir -q -o json 9>&- \
        > "$BATS_TEST_TMPDIR/second" 2> "$BATS_TEST_TMPDIR/words" &
    second=$!
    wait_until 60 grep -q waiting "$BATS_TEST_TMPDIR/words"
    [[ $(< "$BATS_TEST_TMPDIR/words") == "seer ingest: another ingest (pid $first) writes into '$store'"* ]]
    exec 9>&-
    wait "$first"
    wait "$second"
    jq -e '.accepted == 8 and .duplicates == 4' "$BATS_TEST_TMPDIR/second"
    [ "$(paste -sd, "$store/labels.txt")" = zebra,ant,cow ]
    "$seer" store stat "$store" -o json | jq -e '.records == 12 and .labels == {"0": 4, "1": 4, "2": 4}'
}

@test "Ctrl-C ends an ingest that waits for another one" {
    mkdir -p "$store"
    flock "$store/lock" "$seer" ingest "$pictures/mixed" --store "$store" -o json \
        > "$BATS_TEST_TMPDIR/out" 2> "$BATS_TEST_TMPDIR/words" &
    pid=$!
    wait_until 60 grep -q waiting "$BATS_TEST_TMPDIR/words"
    kill -INT "$(cat "/proc/$pid/task/$pid/children")"
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 130 ]
    jq -e '.accepted == 0 and .stopped' "$BATS_TEST_TMPDIR/out"
}

@test "IDX files come with the labels beside them, or those that are named" {
    mkdir "$BATS_TEST_TMPDIR/idx"
    /usr/bin/python3 - "$BATS_TEST_TMPDIR/idx" <<'PYTHON'
import gzip, struct, sys
import numpy as np
images = np.random.default_rng(1).integers(0, 256, (5, 7, 9), dtype=np.uint8)
data = struct.pack('>IIII', 0x803, 5, 7, 9) + images.tobytes()
gzip.open(sys.argv[1] + '/t-images-idx3-ubyte.gz', 'wb').write(data)
gzip.open(sys.argv[1] + '/t-labels-idx1-ubyte.gz', 'wb').write(struct.pack('>II', 0x801, 5) + bytes(range(5)))
open(sys.argv[1] + '/plain', 'wb').write(data[:-10])
open(sys.argv[1] + '/short', 'wb').write(struct.pack('>II', 0x801, 4) + bytes(4))
images.tofile(sys.argv[1] + '/pixels')
PYTHON
    cd "$BATS_TEST_TMPDIR/idx"
    ingest t-images-idx3-ubyte.gz | jq -e '.accepted == 5 and .labelled == 5'
    /usr/bin/python3 - "$store" <<'PYTHON'
import glob, io, sys
import lmdb, numpy as np
from PIL import Image
path, = glob.glob(sys.argv[1] + '/shards/*')
want = np.fromfile('pixels', np.uint8).reshape(5, 7, 9)
with lmdb.open(path, readonly=True, lock=False).begin() as transaction:
    for i, (key, value) in enumerate(transaction.cursor()):
        assert key == b'%08d' % i
        assert value[:7] == bytes([8, 3, 16, 7, 24, 9, 34]), value[:7]
        assert value[-2:] == bytes([56, 1])
        assert (np.asarray(Image.open(io.BytesIO(value[value.index(b'\x89PNG'):]))) == want[i]).all()
    assert i == 4
PYTHON
    store=$BATS_TEST_TMPDIR/named
    ingest plain --labels idx:t-labels-idx1-ubyte.gz |
        jq -e '.accepted == 4 and .labelled == 4 and .rejected == {truncated: 1}'
    store=$BATS_TEST_TMPDIR/wrong
    run ingest plain --labels idx:short
    [ "$status" -eq 2 ]
    [[ $output == *"do not belong together"* ]]
}

@test "the order of records is that of the sources, whatever the number of decoders" {
    ingest "$pictures/many" --jobs 1 > /dev/null
    first=$(cat "$store"/shards/*/hashes.bin | sha256sum)
    store=$BATS_TEST_TMPDIR/again
    ingest "$pictures/many" --jobs 7 > /dev/null
    [ "$first" = "$(cat "$store"/shards/*/hashes.bin | sha256sum)" ]
}

@test "shards roll by size, are listed in order and verify" {
    ingest "$pictures/many" --shard-mb 4 | jq -e '.accepted == 3000 and (.shards | length) == 4'
    "$seer" store ls "$store" -o json | jq -e '.schema_version == 1 and (.shards | length) == 4 and
        (.shards | map(.records) | add) == 3000 and (.shards | map(.name) | . == sort)'
    "$seer" store verify "$store" --decode -o json | jq -e '.damaged == 0 and .records == 3000'
}

@test "a changed byte in a stored image is found by verify, with shard and record" {
    ingest "$pictures/many" --limit 100 | jq -e '.accepted == 100'
    data=$(echo "$store"/shards/*/data.mdb)
    printf 'X' | dd of="$data" bs=1 seek=$(($(stat -c %s "$data") / 2 + 100)) conv=notrunc status=none
    run "$seer" store verify "$store" -o json
    [ "$status" -eq 1 ]
    jq -e '.damaged == 1 and (.shards[0].error | contains("record"))' <<< "${output%seer store:*}"
}

@test "a Caffe or LSUN shard that is put into a store is read; one that is cut off is named" {
    mkdir -p "$store/shards"
    /usr/bin/python3 - "$store/shards" "$pictures/many" <<'PYTHON'
import glob, sys
import lmdb
def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])
files = sorted(glob.glob(sys.argv[2] + '/*'))[:40]
caffe = lmdb.open(sys.argv[1] + '/caffe', map_size=1 << 24)
lsun = lmdb.open(sys.argv[1] + '/lsun', map_size=1 << 24)
with caffe.begin(write=True) as c, lsun.begin(write=True) as l:
    for i, path in enumerate(files):
        data = open(path, 'rb').read()
        datum = bytes([34]) + varint(len(data)) + data + bytes([40, i % 4, 56, 1])
        c.put(b'%08d_%s' % (i, path.encode()), datum)
        l.put(path.encode()[::-1], data)
PYTHON
    "$seer" store stat "$store" -o json | jq -e '.records == 80 and .unlabelled == 40 and
        .labels == {"0": 10, "1": 10, "2": 10, "3": 10} and .formats.png == 80'
    "$seer" store verify "$store" --decode
    truncate -s 20000 "$store/shards/lsun/data.mdb"
    run "$seer" store stat "$store"
    [ "$status" -eq 1 ]
    [[ $output == *"shards/lsun/data.mdb' is cut off"*"ingest its images again"* ]]
}

@test "Caffe and LSUN LMDBs are sources, also within a folder, and a tar comes on stdin" {
    mkdir -p "$BATS_TEST_TMPDIR/lmdb"
    /usr/bin/python3 - "$BATS_TEST_TMPDIR/lmdb" "$pictures/many" <<'PYTHON'
import glob, sys
import lmdb
def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])
files = sorted(glob.glob(sys.argv[2] + '/*'))[:20]
caffe = lmdb.open(sys.argv[1] + '/caffe', map_size=1 << 24)
lsun = lmdb.open(sys.argv[1] + '/lsun', map_size=1 << 24)
with caffe.begin(write=True) as c, lsun.begin(write=True) as l:
    for i, path in enumerate(files):
        data = open(path, 'rb').read()
        c.put(b'%08d_%s' % (i, path.encode()), bytes([34]) + varint(len(data)) + data + bytes([40, i % 4, 56, 1]))
        l.put(path.encode()[::-1], data)
PYTHON
    ingest "$BATS_TEST_TMPDIR/lmdb/caffe" | jq -e '.scanned == 20 and .accepted == 20 and .labelled == 20'
    ingest "$BATS_TEST_TMPDIR/lmdb" | jq -e '.scanned == 40 and .duplicates == 40 and .rejected == {}'
    store=$BATS_TEST_TMPDIR/tar
    gzip < "$pictures/web.tar" | ingest - --tar | jq -e '.accepted == 6 and .labelled == 6'
    store=$BATS_TEST_TMPDIR/none
    run ingest - --tar < "$pictures/mixed/text.jpg"
    [ "$status" -eq 2 ]
    [ ! -e "$store" ]
}

@test "a Caffe LMDB of raw pixels is a source: each becomes a PNG of the same pixels, and a broken one is refused" {
    /usr/bin/python3 - "$BATS_TEST_TMPDIR" <<'PYTHON'
import sys
import lmdb, numpy as np
from PIL import Image
def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])
def datum(pixels, channels, label):
    rows, columns = pixels.shape[:2]
    planes = pixels.reshape(rows, columns, channels)[..., ::-1].transpose(2, 0, 1).tobytes() # blue first
    return (b'\x08' + varint(channels) + b'\x10' + varint(rows) + b'\x18' + varint(columns) + b'\x22' + varint(len(planes)) +
            planes + b'\x28' + varint(label))
numbers = np.random.default_rng(3)
with lmdb.open(sys.argv[1] + '/raw', map_size=1 << 24).begin(write=True) as t:
    for i in range(6):
        channels = 1 if i == 5 else 3
        pixels = numbers.integers(0, 256, (20 + i, 30, channels), dtype=np.uint8)
        t.put(b'%08d' % i, datum(pixels, channels, i))
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).convert('RGB').save(f'{sys.argv[1]}/{i}.ppm')
    t.put(b'%08d' % 6, datum(pixels, 1, 6)[:-20])
    t.put(b'%08d' % 7, datum(pixels[..., [0, 0]], 2, 7))
PYTHON
    ingest "$BATS_TEST_TMPDIR/raw" --report "$BATS_TEST_TMPDIR/report" |
        jq -e '.accepted == 6 and .labelled == 6 and .formats == {jpeg: 0, png: 6, webp: 0, gif: 0} and .rejected == {corrupt: 2}'
    jq -se '.[1].detail | contains("2 channels, 25 rows and 30 columns: 1 or 3 channels are read")' "$BATS_TEST_TMPDIR/report"
    "$seer" store export "$store" --format dir --to "$BATS_TEST_TMPDIR/out"
    /usr/bin/python3 - "$BATS_TEST_TMPDIR" <<'PYTHON'
import glob, sys
from PIL import Image
for i in range(6):
    path, = glob.glob(f'{sys.argv[1]}/out/*/{i:08}.png')
    assert Image.open(path).convert('RGB').tobytes() == Image.open(f'{sys.argv[1]}/{i}.ppm').tobytes(), path
PYTHON
}

@test "of a JPEG that breaks off the whole rows are kept when asked for, once, and nothing made up; else it is refused" {
    mkdir "$BATS_TEST_TMPDIR/cut"
    /usr/bin/python3 - "$BATS_TEST_TMPDIR" <<'PYTHON'
import io, sys
from PIL import Image
picture = Image.effect_noise((160, 120), 90).convert('RGB')
for name, part, options in (('most', 0.8, {}), ('little', 0.3, {}), ('progressive', 0.8, {'progressive': True})):
    data = io.BytesIO()
    picture.save(data, 'JPEG', quality=95, **options)
    open(f'{sys.argv[1]}/cut/{name}.jpg', 'wb').write(data.getvalue()[:int(len(data.getvalue()) * part)])
    if name == 'most':
        Image.open(data).save(f'{sys.argv[1]}/whole.png')
PYTHON
    ingest "$BATS_TEST_TMPDIR/cut" --dry-run | jq -e '.accepted == 0 and .rejected == {truncated: 3}'
    ingest "$BATS_TEST_TMPDIR/cut" --accept-truncated --report "$BATS_TEST_TMPDIR/report" |
        jq -e '.accepted == 1 and .cut == 1 and .formats.png == 1 and .rejected == {truncated: 2}'
    grep -q 'breaks off after' "$BATS_TEST_TMPDIR/report"
    ingest "$BATS_TEST_TMPDIR/cut" --accept-truncated | jq -e '.accepted == 0 and .cut == 0 and .duplicates == 1'
    "$seer" store verify "$store" --decode
    "$seer" store export "$store" --format dir --to "$BATS_TEST_TMPDIR/out"
    /usr/bin/python3 - "$BATS_TEST_TMPDIR" <<'PYTHON'
import glob, sys
from PIL import Image
kept = Image.open(glob.glob(sys.argv[1] + '/out/*/*.png')[0])
assert kept.width == 160 and 60 <= kept.height < 120, kept.size
assert kept.tobytes() == Image.open(sys.argv[1] + '/whole.png').crop((0, 0, *kept.size)).tobytes()
PYTHON
}

@test "a store is exported as tar, folder and LSUN LMDB, from which the same store comes again" {
    ingest "$pictures/web.tar" "$pictures/mixed" > /dev/null
    for format in tar dir lsun; do
        to=$BATS_TEST_TMPDIR/out.$format
        "$seer" store export "$store" --format $format --to "$to" -o json | jq -e '.records == 8 and .bytes > 0'
        "$seer" ingest "$to" --store "$BATS_TEST_TMPDIR/again.$format" -q -o json > "$BATS_TEST_TMPDIR/counts"
        jq -e '.accepted == 8 and .rejected == {}' "$BATS_TEST_TMPDIR/counts"
        [ $format = lsun ] || jq -e '.labelled == 6' "$BATS_TEST_TMPDIR/counts"
        run "$seer" store export "$store" --format $format --to "$to"
        [ "$status" -eq 2 ]
        [[ $output == *"exists already"* ]]
    done
    "$seer" store export "$store" --format tar --to - | tar -t | grep -c 'jpg$\|png$' | grep -qx 8
    ls "$BATS_TEST_TMPDIR/out.dir"/*/00000000.png
    run "$seer" store export "$store" --format zip --to "$BATS_TEST_TMPDIR/zip"
    [ "$status" -eq 2 ]
}

@test "a dry run counts and writes nothing" {
    ingest "$pictures/mixed" --dry-run | jq -e '.accepted == 2 and .shards == []'
    [ ! -e "$store" ]
}

@test "wrong usage is exit 2 with the nearest name, and nothing is made" {
    run "$seer" ingest "$pictures/mixed" --stroe "$store"
    [ "$status" -eq 2 ]
    [[ $output == *"did you mean '--store'"* ]]
    run "$seer" ingest /does/not/exist --store "$store"
    [ "$status" -eq 2 ]
    [[ $output == *"/does/not/exist"* ]]
    run "$seer" store verify /usr/share
    [ "$status" -eq 2 ]
    [[ $output == *"not a store"* ]]
}

@test "a kill in the middle leaves only whole shards, and the next ingest takes up the rest" {
    for delay in 0.01 0.04 0.08 0.15; do
        "$seer" ingest "$pictures/many" --store "$store" --shard-mb 1 -q > /dev/null 2>&1 &
        pid=$!
        # Not a wait for something: the instant of the kill is what varies.
        sleep "$delay"
        kill -9 "$pid" 2> /dev/null || true
        wait "$pid" || true
        [ ! -d "$store/shards" ] || "$seer" store verify "$store"
    done
    ingest "$pictures/many" | jq -e '.accepted + .duplicates == 3000'
    "$seer" store verify "$store" -o json | jq -e '.records == 3000 and .damaged == 0'
    [ "$(ls "$store/unsealed")" = lock ]
}

@test "a full disk is a clear error, and what was sealed stays valid" {
    mkdir "$BATS_TEST_TMPDIR/small"
    mount -t tmpfs -o size=6m tmpfs "$BATS_TEST_TMPDIR/small" 2> /dev/null || skip "cannot mount a tmpfs"
    store=$BATS_TEST_TMPDIR/small/store
    run ingest "$pictures/many" --shard-mb 2 -q
    failed=$status words=$output
    run "$seer" store verify "$store" -o json
    umount "$BATS_TEST_TMPDIR/small"
    [ "$failed" -eq 1 ]
    [[ $words == *"No space left on device"*"free some space"* ]]
    jq -e '.damaged == 0 and .records > 0' <<< "$output"
}

@test "Ctrl-C seals what is there" {
    mkfifo "$BATS_TEST_TMPDIR/list"
    "$seer" ingest - --store "$store" -q < "$BATS_TEST_TMPDIR/list" > "$BATS_TEST_TMPDIR/out" 2>&1 &
    pid=$!
    exec 9> "$BATS_TEST_TMPDIR/list"
    find "$pictures/many" -type f | head -500 >&9
    wait_until 60 has_unsealed
    kill -TERM "$pid"
    find "$pictures/many" -type f | tail -500 >&9 || true
    exec 9>&-
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 130 ]
    "$seer" store verify "$store" -o json | jq -e '.damaged == 0 and .records > 0 and .records < 1000'
}
