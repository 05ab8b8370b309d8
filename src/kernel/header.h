/* Recognition: is the whole frame an audio delta whose every byte is accounted for? */

#ifndef DELTARING_HEADER_H
#define DELTARING_HEADER_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *start;
    size_t size;
} span;

typedef struct {
    int is_ga;         /* response.output_audio.delta; else response.audio.delta */
    span event_id;     /* printable ASCII without quote and backslash; empty where absent */
    span response_id;
    span item_id;
    long output_index; /* 0 where absent */
    long content_index;
    span payload;      /* what stands between delta's quotes; that it is base64 is not yet proven */
} audio_delta;

/* What the last frame had before its payload: the next one mostly differs in its event_id only, and
 * is compared (20 ns) where it need not be taken apart (180 ns). */
typedef struct {
    uint8_t bytes[400];  /* real ones take some 200 */
    size_t size;         /* up to the payload's quote; 0: nothing is remembered */
    audio_delta found;   /* what they say; its spans lie in `bytes` */
    int seen;
} header_memo;

/* Fill `found` and return 1 if `frame` is one flat JSON object, compact or with a space after each
 * colon and comma, that is an audio delta with each known key at most once; else return 0. The
 * payload is shown to end where it is said to only together with its base64: a quote is none. */
int recognise(const uint8_t *frame, size_t size, audio_delta *found, header_memo *memo);

#endif
