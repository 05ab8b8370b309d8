#include "sink.h"

#include <string.h>

#define CHUNK 1024 /* quads that are decoded at once where they cannot go straight: 3 KiB of stack */

static void put_piece(sink *s, int piece, const uint8_t *bytes, size_t size)
{
    if (s->table) {
        for (size_t i = 0; i < size; i++) /* memcpy: memory from outside may lie at odd addresses */
            memcpy(s->at[piece] + 2 * i, &s->table[bytes[i]], 2);
        s->at[piece] += 2 * size;
    } else {
        memcpy(s->at[piece], bytes, size);
        s->at[piece] += size;
    }
    s->room[piece] -= size;
}

void sink_put(sink *s, const uint8_t *bytes, size_t size)
{
    for (int piece = 0; piece < 2 && size; piece++) {
        size_t count = size < s->room[piece] ? size : s->room[piece];
        if (count)
            put_piece(s, piece, bytes, count);
        bytes += count;
        size -= count;
    }
}

/* Decode by way of the stack: around the end of a piece, into a table's samples, or into nothing. */
static int decode_chunk(sink *s, base64_quads decode, const uint8_t *src, size_t quads)
{
    uint8_t bytes[3 * CHUNK];
    int bad = decode(src, quads, bytes);
    if (!bad)
        sink_put(s, bytes, 3 * quads);
    return bad;
}

int sink_decode(sink *s, base64_quads decode, const uint8_t *src, size_t quads)
{
    while (quads) {
        int piece = s->room[0] ? 0 : 1;
        size_t straight = s->table ? 0 : s->room[piece] / 3, count;
        if (straight) {
            count = quads < straight ? quads : straight;
            if (decode(src, count, s->at[piece]))
                return 1;
            s->at[piece] += 3 * count;
            s->room[piece] -= 3 * count;
        } else {
            /* Only one where the end of a piece is near: what follows can go straight again. */
            count = s->room[piece] && !s->table ? 1 : quads < CHUNK ? quads : CHUNK;
            if (decode_chunk(s, decode, src, count))
                return 1;
        }
        src += 4 * count;
        quads -= count;
    }
    return 0;
}
