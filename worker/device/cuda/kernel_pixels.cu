/* kernel_pixels.cu - images in, activations to and from fp32, and the scale of
 * squeeze-and-excitation. */
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

struct scale_args {
    const value *x;
    const float *s;
    value *y;
    int rows, pixels, channels; /* pixels of a row */
};

template <int N> static __global__ void scale_kernel(struct scale_args args)
{
    const int channels = args.channels, c = tile_channel(N);
    for (int row = (int)blockIdx.y; c < channels && row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels * (size_t)channels;
        float s[N];
        load_plain(args.s + (size_t)row * (size_t)channels + c, s);
        tile_pixels((size_t)args.pixels, channels, c, [&](size_t at) {
            float v[N];
            load(args.x + start + at, v);
            for (int i = 0; i < N; i++)
                v[i] *= s[i];
            store(args.y + start + at, v);
        });
    }
}

void KERNEL(row_scale)(struct device *device, const void *x, const float *s, int rows,
                       int pixels_per_row, int channels, void *y)
{
    constexpr int N = vector_of<value>();
    const struct scale_args args = {(const value *)x, s,       (value *)y, rows,
                                    pixels_per_row,   channels};
    const bool is_wide = is_vector<value>(channels, x, y);
    LAUNCH((is_wide ? scale_kernel<N> : scale_kernel<1>),
           tile_blocks((size_t)rows, (size_t)pixels_per_row, channels, is_wide ? N : 1),
           tile_threads(), cuda_stream(device), args);
    cuda_launched(device, "row_scale");
}

struct scale_backward_args {
    const value *dy, *x;
    float *ds;
    int rows, pixels, channels; /* pixels of a row */
};

/* One block sums a row of pixels, for its channels. */
template <int N> static __global__ void scale_backward_kernel(struct scale_backward_args args)
{
    const int channels = args.channels, c = tile_channel(N), channel = tile_sum_channel(N);
    for (int row = (int)blockIdx.y; row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels * (size_t)channels;
        double total[1][N] = {};
        if (c < channels)
            tile_sums<true>((size_t)args.pixels, channels, c, total,
                            [&](size_t at, float(&part)[1][N]) {
                                float v[N], d[N];
                                load(args.x + start + at, v);
                                load(args.dy + start + at, d);
                                for (int i = 0; i < N; i++)
                                    part[0][i] += d[i] * v[i];
                            });
        const double sum = tile_sum(total[0]);
        if (channel < channels)
            args.ds[(size_t)row * (size_t)channels + (size_t)channel] = (float)sum;
    }
}

void KERNEL(row_scale_backward)(struct device *device, const void *dy, const void *x, int rows,
                                int pixels_per_row, int channels, float *ds)
{
    constexpr int N = vector_of<value>();
    const struct scale_backward_args args = {(const value *)dy, (const value *)x, ds, rows,
                                             pixels_per_row,    channels};
    const bool is_wide = is_vector<value>(channels, dy, x);
    LAUNCH((is_wide ? scale_backward_kernel<N> : scale_backward_kernel<1>),
           tile_blocks((size_t)rows, 1, channels, is_wide ? N : 1), tile_threads(),
           cuda_stream(device), args);
    cuda_launched(device, "row_scale_backward");
}
