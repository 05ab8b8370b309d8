/* base64 by AVX2 and by AVX-512 VBMI.
 *
 * The ways are those of W. Mula and D. Lemire: "Faster Base64 Encoding and Decoding using AVX2
 * Instructions" (ACM Transactions on the Web, 2018) and "Base64 encoding and decoding at almost the
 * speed of a memory copy" (Software: Practice and Experience, 2020). Characters become values of six
 * bits by a table or by an offset per range; two multiply-adds join four of them into 24 bits; one
 * shuffle puts the three bytes of each into order.
 *
 * Stores are exact: nothing is written past 3 * quads bytes, since what lies there may be unread
 * audio of somebody else's.
 */

#include "base64.h"

#ifdef BASE64_X86

#include <immintrin.h>

#define TARGET_AVX2 __attribute__((target("avx2")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))

/* --- AVX2: 32 characters to 24 bytes ---------------------------------------------------------- */

/* Bit sets: a character is of the alphabet if the set of its low nibble and that of its high nibble
 * have no bit in common. High nibbles: 1 for 2x, 2 for 3x, 4 for 4x and 6x, 8 for 5x and 7x, 16 for
 * all others. The low nibbles that are bad for them follow from the code chart. */
#define LOW_NIBBLES                                                                               \
    0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1A, 0x1B, 0x1B, 0x1B, 0x1A
#define HIGH_NIBBLES                                                                              \
    0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10
/* What to add to a character of that high nibble; '/' has an entry of its own, one before '+'. */
#define OFFSETS 0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0
#define BYTES_IN_LANE 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1

TARGET_AVX2 int base64_avx2(const uint8_t *src, size_t quads, uint8_t *dst)
{
    const __m256i low_sets = _mm256_setr_epi8(LOW_NIBBLES, LOW_NIBBLES);
    const __m256i high_sets = _mm256_setr_epi8(HIGH_NIBBLES, HIGH_NIBBLES);
    const __m256i offsets = _mm256_setr_epi8(OFFSETS, OFFSETS);
    const __m256i order = _mm256_setr_epi8(BYTES_IN_LANE, BYTES_IN_LANE);
    const __m256i nibble = _mm256_set1_epi8(0x0f), slash = _mm256_set1_epi8('/');
    const __m256i join2 = _mm256_set1_epi32(0x01400140), join4 = _mm256_set1_epi32(0x00011000);
    __m256i bad = _mm256_setzero_si256();

    for (; quads >= 8; quads -= 8, src += 32, dst += 24) {
        __m256i text = _mm256_loadu_si256((const __m256i *)src);
        __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), nibble);
        __m256i low = _mm256_and_si256(text, nibble);
        __m256i slashes = _mm256_cmpeq_epi8(text, slash);
        __m256i offset = _mm256_shuffle_epi8(offsets, _mm256_add_epi8(slashes, high));
        bad = _mm256_or_si256(bad, _mm256_and_si256(_mm256_shuffle_epi8(low_sets, low),
                                                    _mm256_shuffle_epi8(high_sets, high)));
        __m256i value = _mm256_add_epi8(text, offset);
        value = _mm256_madd_epi16(_mm256_maddubs_epi16(value, join2), join4);
        value = _mm256_shuffle_epi8(value, order);
        __m128i second = _mm256_extracti128_si256(value, 1);
        /* 12 bytes of each half, put together to 16 and 8. */
        __m128i first = _mm_or_si128(_mm256_castsi256_si128(value), _mm_slli_si128(second, 12));
        _mm_storeu_si128((__m128i *)dst, first);
        _mm_storel_epi64((__m128i *)(dst + 16), _mm_srli_si128(second, 4));
    }
    int rest = base64_scalar(src, quads, dst);
    return rest || !_mm256_testz_si256(bad, bad);
}

/* --- AVX-512 VBMI: 64 characters to 48 bytes, the rest by masks --------------------------------- */

/* For the 16 words of four values, the positions of their three bytes, the highest first. */
static const uint8_t word_bytes[64] = {
    2,  1,  0,  6,  5,  4,  10, 9,  8,  14, 13, 12, 18, 17, 16, 22, 21, 20, 26, 25, 24, 30,
    29, 28, 34, 33, 32, 38, 37, 36, 42, 41, 40, 46, 45, 44, 50, 49, 48, 54, 53, 52, 58, 57,
    56, 62, 61, 60,
};

TARGET_AVX512 static inline __m512i join(__m512i value)
{
    const __m512i join2 = _mm512_set1_epi32(0x01400140), join4 = _mm512_set1_epi32(0x00011000);
    value = _mm512_madd_epi16(_mm512_maddubs_epi16(value, join2), join4);
    return _mm512_permutexvar_epi8(_mm512_loadu_si512(word_bytes), value);
}

TARGET_AVX512 int base64_avx512(const uint8_t *src, size_t quads, uint8_t *dst)
{
    const __m512i lower = _mm512_loadu_si512(base64_value);
    const __m512i upper = _mm512_loadu_si512(base64_value + 64);
    const __mmask64 bytes48 = ((__mmask64)1 << 48) - 1;
    __m512i bad = _mm512_setzero_si512(); /* the highest bit: no ASCII, or not of the alphabet */

    for (; quads >= 16; quads -= 16, src += 64, dst += 48) {
        __m512i text = _mm512_loadu_si512(src);
        __m512i value = _mm512_permutex2var_epi8(lower, text, upper);
        bad = _mm512_ternarylogic_epi32(bad, text, value, 0xfe); /* or of all three */
        /* A whole store is faster than a masked one; the next one overwrites its last 16 bytes. */
        if (quads >= 22)
            _mm512_storeu_si512(dst, join(value));
        else
            _mm512_mask_storeu_epi8(dst, bytes48, join(value));
    }
    if (quads) {
        __mmask64 in = ((__mmask64)1 << 4 * quads) - 1, out = ((__mmask64)1 << 3 * quads) - 1;
        __m512i text = _mm512_mask_loadu_epi8(_mm512_set1_epi8('A'), in, src);
        __m512i value = _mm512_permutex2var_epi8(lower, text, upper);
        bad = _mm512_ternarylogic_epi32(bad, text, value, 0xfe);
        _mm512_mask_storeu_epi8(dst, out, join(value));
    }
    return _mm512_movepi8_mask(bad) != 0;
}

#endif
