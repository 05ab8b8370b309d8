/* base64: the scalar path, the last quad, and which paths there are. */

#include "base64.h"

#define NO 0x80
const uint8_t base64_value[256] = {
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 62, NO, NO, NO, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO, NO,
    NO, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, NO,
    NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
};
#undef NO

int base64_scalar(const uint8_t *src, size_t quads, uint8_t *dst)
{
    uint8_t bad = 0;
    for (; quads; quads--, src += 4, dst += 3) {
        uint8_t a = base64_value[src[0]], b = base64_value[src[1]];
        uint8_t c = base64_value[src[2]], d = base64_value[src[3]];
        bad |= a | b | c | d;
        dst[0] = (uint8_t)(a << 2 | b >> 4);
        dst[1] = (uint8_t)(b << 4 | c >> 2);
        dst[2] = (uint8_t)(c << 6 | d);
    }
    return bad & 0x80;
}

int base64_last(const uint8_t *src, uint8_t *dst)
{
    uint8_t text[4] = {src[0], src[1], src[2], src[3]}, bytes[3];
    int count = 3;
    if (text[3] == '=') {
        text[3] = 'A';
        count = 2;
        if (text[2] == '=') {
            text[2] = 'A';
            count = 1;
        }
    }
    if (base64_scalar(text, 1, bytes))
        return -1;
    for (int i = 0; i < count; i++)
        dst[i] = bytes[i];
    return count;
}

const base64_path *base64_paths(void)
{
    static base64_path paths[4];
    base64_path *next = paths;
    if (paths[0].name)
        return paths;
#ifdef BASE64_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
        *next++ = (base64_path){"avx512", base64_avx512};
    if (__builtin_cpu_supports("avx2"))
        *next++ = (base64_path){"avx2", base64_avx2};
#endif
#ifdef BASE64_NEON
    *next++ = (base64_path){"neon", base64_neon}; /* every aarch64 processor has it */
#endif
    *next = (base64_path){"scalar", base64_scalar};
    return paths;
}
