/* fuzz_safetensors.c - any bytes as the head of a snapshot: refused, or tensors within the file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/check.h"
#include "common/safetensors.h"

/* The reverse of the reverse: what was read is laid out to the same data, and reads back. */
static void encode_again(struct safetensors_header *header)
{
    struct safetensors_header again;
    struct buf out;
    uint64_t data_bytes = header->data_bytes;
    buf_init(&out, 2 * SAFETENSORS_HEADER_BYTES_MAX);
    CHECK(safetensors_encode(header, &out) == OK);
    CHECK(header->data_bytes == data_bytes);
    safetensors_init(&again);
    CHECK(safetensors_decode("again", out.bytes, out.length, out.length + data_bytes, &again) ==
          OK);
    CHECK(again.tensor_count == header->tensor_count);
    CHECK(again.metadata_count == header->metadata_count);
    safetensors_done(&again);
    buf_done(&out);
}

static void check_tensors(const struct safetensors_header *header, uint64_t file_bytes)
{
    CHECK(header->data_start <= file_bytes);
    CHECK(header->data_bytes == file_bytes - header->data_start);
    for (int i = 0; i < header->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &header->tensors[i];
        CHECK(tensor->begin <= tensor->end && tensor->end <= header->data_bytes);
        CHECK(tensor->rank >= 0 && tensor->rank <= SAFETENSORS_RANK_MAX);
        CHECK(tensor->end - tensor->begin ==
              safetensors_elements(tensor) * safetensors_type_bytes(tensor->type));
        CHECK(safetensors_find(header, tensor->name) == tensor);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct safetensors_header header;
    safetensors_init(&header);
    if (safetensors_decode("fuzz", bytes, length, length, &header) == OK) {
        check_tensors(&header, length);
        encode_again(&header);
    }
    safetensors_done(&header);
    return 0;
}
