/* kernel_pixels.cu - images in, activations to and from fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/flat.h"

using value = CUDA_VALUES;

struct image_args {
    const uint8_t *images;
    value *y;
    size_t count;
    float scale[3], bias[3];
};

static __device__ inline float normalized(const struct image_args &args, size_t i, uint8_t byte)
{
    const unsigned c = (unsigned)(i % 3);
    const float scale = c == 0 ? args.scale[0] : c == 1 ? args.scale[1] : args.scale[2];
    const float bias = c == 0 ? args.bias[0] : c == 1 ? args.bias[1] : args.bias[2];
    return (float)byte * scale + bias;
}

/* N values at a time, and those that are left one by one. */
template <int N> static __global__ void images_kernel(struct image_args args)
{
    const size_t whole = args.count / N;
    for (size_t i = flat_first(); i < whole; i += flat_step()) {
        const pack<uint8_t, N> bytes = *(const pack<uint8_t, N> *)(args.images + i * N);
        float v[N];
        for (int j = 0; j < N; j++)
            v[j] = normalized(args, i * N + (size_t)j, bytes.v[j]);
        store(args.y + i * N, v);
    }
    for (size_t i = whole * N + flat_first(); i < args.count; i += flat_step())
        from_float(normalized(args, i, args.images[i]), args.y + i);
}

void KERNEL(images_normalize)(struct device *device, const uint8_t *images, size_t pixels,
                              const float mean[3], const float std[3], void *y)
{
    constexpr int N = vector_of<value>();
    struct image_args args = {images, (value *)y, 3 * pixels, {}, {}};
    for (int c = 0; c < 3; c++) {
        args.scale[c] = (float)(1 / (255 * (double)std[c]));
        args.bias[c] = (float)(-(double)mean[c] / (double)std[c]);
    }
    const bool is_wide = is_vector<value>(0, images, y);
    cuda_images_join(device);
    LAUNCH((is_wide ? images_kernel<N> : images_kernel<1>),
           flat_blocks(args.count, is_wide ? N : 1), dim3(FLAT_THREADS), cuda_stream(device), args);
    cuda_launched(device, "images_normalize");
    cuda_images_read(device);
}

/* y = x in another type; N values at a time, and those that are left one by one. */
template <class From, class To, int N>
static __global__ void convert_kernel(const From *x, size_t count, To *y)
{
    const size_t whole = count / N;
    for (size_t i = flat_first(); i < whole; i += flat_step()) {
        float v[N];
        load(x + i * N, v);
        store(y + i * N, v);
    }
    for (size_t i = whole * N + flat_first(); i < count; i += flat_step())
        from_float(to_float(x[i]), y + i);
}

/* Four values: 16 bytes of fp32. */
template <class From, class To>
static void convert(struct device *device, const From *x, size_t count, To *y)
{
    const bool is_wide = is_vector<float>(0, x, y);
    LAUNCH((is_wide ? convert_kernel<From, To, 4> : convert_kernel<From, To, 1>),
           flat_blocks(count, is_wide ? 4 : 1), dim3(FLAT_THREADS), cuda_stream(device), x, count,
           y);
    cuda_launched(device, "convert");
}

void KERNEL(to_float)(struct device *device, const void *x, size_t count, float *y)
{
    convert(device, (const value *)x, count, y);
}

void KERNEL(from_float)(struct device *device, const float *x, size_t count, void *y)
{
    convert(device, x, count, (value *)y);
}
