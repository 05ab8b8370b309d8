/* Strict base64 (RFC 4648, section 4): whole quads at the speed of memory, the last one by hand. */

#ifndef DELTARING_BASE64_H
#define DELTARING_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Decode `quads` groups of four characters into exactly 3 * quads bytes. Nothing is read or written
 * beyond them. Return 0 if every character was of the alphabet ('=' is not), else another value;
 * then the output holds nonsense. */
typedef int (*base64_quads)(const uint8_t *src, size_t quads, uint8_t *dst);

typedef struct {
    const char *name;
    base64_quads decode;
} base64_path;

/* The paths that this processor can run, the fastest first, "scalar" last; ended by a NULL name. */
const base64_path *base64_paths(void);

/* Decode the last quad of a text, which may be padded, into up to 3 bytes. Return how many, or -1. */
int base64_last(const uint8_t *src, uint8_t *dst);

int base64_scalar(const uint8_t *src, size_t quads, uint8_t *dst);

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define BASE64_X86 1
int base64_avx2(const uint8_t *src, size_t quads, uint8_t *dst);
int base64_avx512(const uint8_t *src, size_t quads, uint8_t *dst);
#endif

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define BASE64_NEON 1
int base64_neon(const uint8_t *src, size_t quads, uint8_t *dst);
#endif

/* What a character stands for, 0 to 63; 0x80 for what is not of the alphabet. */
extern const uint8_t base64_value[256];

#endif
