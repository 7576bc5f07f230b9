/* Depthwise convolutions of bfloat16 pictures, channels last, and their gradients.
 *
 * PyTorch's gradients of these on processors take most of a training step. Here each of 16 channels
 * keeps its taps, or the gradients of its taps, in registers while a row is passed over.
 * Channels must be a multiple of 16. Compiled by arithmetic.py. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float floats __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));

static inline floats load(const uint16_t *p) {
    halves h;
    memcpy(&h, p, sizeof h);
    return (floats)(__builtin_convertvector(h, words) << 16);
}

static inline void store(uint16_t *p, floats value) {
    words bits = (words)value;
    halves h = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, halves);
    memcpy(p, &h, sizeof h);
}

typedef struct {
    int n, h, w, c, k, stride, dilation, top, left, oh, ow;
} shape;

static inline __attribute__((always_inline)) void forward_row(
    const shape *s, const int k, const uint16_t **rows, const float *weight, floats bias,
    uint16_t *out, int block, int active) {
    floats taps[25];
    for (int t = 0; t < k * k; t++) memcpy(&taps[t], weight + (long)t * s->c + block, sizeof(floats));
    for (int ox = 0; ox < s->ow; ox++) {
        int ix = ox * s->stride - s->left;
        floats sum = bias;
        if (ix >= 0 && ix + (k - 1) * s->dilation < s->w) {
#pragma GCC unroll 5
            for (int i = 0; i < k; i++)
#pragma GCC unroll 5
                for (int j = 0; j < k; j++)
                    sum += taps[i * k + j] * load(rows[i] + (long)(ix + j * s->dilation) * s->c + block);
        } else {
            for (int i = 0; i < k; i++)
                for (int j = 0; j < k; j++) {
                    int x = ix + j * s->dilation;
                    if (x >= 0 && x < s->w) sum += taps[i * k + j] * load(rows[i] + (long)x * s->c + block);
                }
        }
        if (active) {
            const floats six = (floats){0} + 6.0f;
            words below = (words)(sum < six);
            sum = (floats)(((words)sum & below) | ((words)six & ~below));
            sum = (floats)((words)sum & (words)(sum > 0.0f));
        }
        store(out + (long)ox * s->c + block, sum);
    }
}

/* y = conv(x) + bias, through ReLU6 if active; weight float [k * k][c]. */
void depthwise_forward(const shape *s, const uint16_t *x, const float *weight, const float *bias,
                       uint16_t *y, int active) {
    uint16_t *empty = calloc((size_t)s->w * s->c, sizeof *empty);
    for (int n = 0; n < s->n; n++)
        for (int oy = 0; oy < s->oh; oy++) {
            const uint16_t *rows[5];
            for (int i = 0; i < s->k; i++) {
                int iy = oy * s->stride - s->top + i * s->dilation;
                rows[i] = iy >= 0 && iy < s->h ? x + ((long)n * s->h + iy) * s->w * s->c : empty;
            }
            uint16_t *out = y + ((long)n * s->oh + oy) * s->ow * s->c;
            for (int block = 0; block < s->c; block += 16) {
                floats b = {0};
                if (bias) memcpy(&b, bias + block, sizeof b);
                if (s->k == 3) forward_row(s, 3, rows, weight, b, out, block, active);
                else forward_row(s, 5, rows, weight, b, out, block, active);
            }
        }
    free(empty);
}

/* g = 0 where ReLU6 was at a limit; in place. */
void relu6_backward(uint16_t *g, const uint16_t *y, long count) {
    for (long i = 0; i < count; i++) g[i] = (y[i] != 0 && y[i] < 0x40c0) ? g[i] : 0;
}

static inline __attribute__((always_inline)) void weight_row(
    const shape *s, const int k, const uint16_t **rows, const uint16_t *g, float *grad, float *gbias,
    int block) {
    floats taps[25] = {{0}}, bias = {0};
    for (int ox = 0; ox < s->ow; ox++) {
        int ix = ox * s->stride - s->left;
        floats value = load(g + (long)ox * s->c + block);
        bias += value;
        if (ix >= 0 && ix + (k - 1) * s->dilation < s->w) {
#pragma GCC unroll 5
            for (int i = 0; i < k; i++)
#pragma GCC unroll 5
                for (int j = 0; j < k; j++)
                    taps[i * k + j] += value * load(rows[i] + (long)(ix + j * s->dilation) * s->c + block);
        } else {
#pragma GCC unroll 5
            for (int i = 0; i < k; i++)
#pragma GCC unroll 5
                for (int j = 0; j < k; j++) {
                    int at = ix + j * s->dilation;
                    if (at >= 0 && at < s->w) taps[i * k + j] += value * load(rows[i] + (long)at * s->c + block);
                }
        }
    }
    for (int t = 0; t < k * k; t++) {
        floats sum;
        memcpy(&sum, grad + (long)t * s->c + block, sizeof sum);
        sum += taps[t];
        memcpy(grad + (long)t * s->c + block, &sum, sizeof sum);
    }
    floats sum;
    memcpy(&sum, gbias + block, sizeof sum);
    sum += bias;
    memcpy(gbias + block, &sum, sizeof sum);
}

/* Adds to grad [k * k][c] and gbias [c]. */
void depthwise_weight(const shape *s, const uint16_t *x, const uint16_t *g, float *grad, float *gbias) {
    uint16_t *empty = calloc((size_t)s->w * s->c, sizeof *empty);
    for (int n = 0; n < s->n; n++)
        for (int oy = 0; oy < s->oh; oy++) {
            const uint16_t *rows[5];
            for (int i = 0; i < s->k; i++) {
                int iy = oy * s->stride - s->top + i * s->dilation;
                rows[i] = iy >= 0 && iy < s->h ? x + ((long)n * s->h + iy) * s->w * s->c : empty;
            }
            const uint16_t *row = g + ((long)n * s->oh + oy) * s->ow * s->c;
            for (int block = 0; block < s->c; block += 16) {
                if (s->k == 3) weight_row(s, 3, rows, row, grad, gbias, block);
                else weight_row(s, 5, rows, row, grad, gbias, block);
            }
        }
    free(empty);
}

/* Gradient of the input, for any stride: each row of it is summed up from the rows it reached. */
void depthwise_input(const shape *s, const uint16_t *g, const float *weight, uint16_t *gx) {
    int reach = s->k * s->dilation + s->stride;
    floats *sums = aligned_alloc(64, sizeof(floats) * (size_t)(s->w + 2 * reach + s->stride));
    for (int n = 0; n < s->n; n++)
        for (int iy = 0; iy < s->h; iy++)
            for (int block = 0; block < s->c; block += 16) {
                memset(sums, 0, sizeof(floats) * (size_t)(s->w + 2 * reach + s->stride));
                for (int i = 0; i < s->k; i++) {
                    int at = iy + s->top - i * s->dilation;
                    if (at < 0 || at % s->stride || at / s->stride >= s->oh) continue;
                    const uint16_t *row = g + ((long)n * s->oh + at / s->stride) * s->ow * s->c + block;
                    floats taps[5];
                    for (int j = 0; j < s->k; j++)
                        memcpy(&taps[j], weight + (long)(i * s->k + j) * s->c + block, sizeof(floats));
                    for (int ox = 0; ox < s->ow; ox++) {
                        floats value = load(row + (long)ox * s->c);
                        floats *to = sums + reach + ox * s->stride - s->left;
                        for (int j = 0; j < s->k; j++) to[j * s->dilation] += taps[j] * value;
                    }
                }
                uint16_t *out = gx + ((long)n * s->h + iy) * s->w * s->c + block;
                for (int ix = 0; ix < s->w; ix++) store(out + (long)ix * s->c, sums[reach + ix]);
            }
    free(sums);
}
