/* A sink: where the bytes of one delta go. Into free memory of a ring in up to two pieces, and what
 * does not fit into nothing, decoded all the same: only base64 that is good to its end counts. */

#ifndef DELTARING_SINK_H
#define DELTARING_SINK_H

#include "base64.h"

typedef struct {
    uint8_t *at[2];       /* the pieces, in order; G.711: of int16 samples */
    size_t room[2];       /* bytes of the stream that fit into each */
    const int16_t *table; /* G.711: the sample of each byte; NULL: bytes stay as they are */
} sink;

/* Take `size` bytes. */
void sink_put(sink *s, const uint8_t *bytes, size_t size);

/* Decode `quads` groups of four characters. Return 0, or another value if one was no base64. */
int sink_decode(sink *s, base64_quads decode, const uint8_t *src, size_t quads);

#endif
