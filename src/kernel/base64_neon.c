/* base64 by NEON: 64 characters to 48 bytes. De-interleaving loads put the four characters of each
 * quad into four registers, table look-ups of 64 bytes each give their values, and an interleaving
 * store writes the three bytes. */

#include "base64.h"

#ifdef BASE64_NEON

#include <arm_neon.h>

static inline uint8x16x4_t table64(const uint8_t *values)
{
    return (uint8x16x4_t){{vld1q_u8(values), vld1q_u8(values + 16), vld1q_u8(values + 32),
                           vld1q_u8(values + 48)}};
}

int base64_neon(const uint8_t *src, size_t quads, uint8_t *dst)
{
    const uint8x16x4_t lower = table64(base64_value), upper = table64(base64_value + 64);
    const uint8x16_t bit6 = vdupq_n_u8(0x40);
    uint8x16_t bad = vdupq_n_u8(0);

    for (; quads >= 16; quads -= 16, src += 64, dst += 48) {
        uint8x16x4_t text = vld4q_u8(src), value;
        for (int i = 0; i < 4; i++) {
            /* A look-up gives 0 outside its table, so one of the two is 0 for ASCII. */
            value.val[i] = vorrq_u8(vqtbl4q_u8(lower, text.val[i]),
                                    vqtbl4q_u8(upper, veorq_u8(text.val[i], bit6)));
            bad = vorrq_u8(bad, vorrq_u8(text.val[i], value.val[i]));
        }
        uint8x16x3_t bytes;
        bytes.val[0] = vorrq_u8(vshlq_n_u8(value.val[0], 2), vshrq_n_u8(value.val[1], 4));
        bytes.val[1] = vorrq_u8(vshlq_n_u8(value.val[1], 4), vshrq_n_u8(value.val[2], 2));
        bytes.val[2] = vorrq_u8(vshlq_n_u8(value.val[2], 6), value.val[3]);
        vst3q_u8(dst, bytes);
    }
    return (vmaxvq_u8(bad) & 0x80) | base64_scalar(src, quads, dst);
}

#endif
