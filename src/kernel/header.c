/* The grammar, all of it: one object of string, integer and scalar members, without escapes.
 *
 *     frame   = "{" member *( "," [" "] member ) "}"
 *     member  = string ":" [" "] ( string / number / "null" / "true" / "false" )
 *     string  = quote *( %x20-21 / %x23-5B / %x5D-7E ) quote      the payload: any bytes but a quote
 *
 * Known keys may come in any order, each at most once, with the type that they need; `type` and
 * `delta` have to be there. Other keys may hold any scalar, and are skipped. Whatever else a frame
 * may contain (nesting, escapes, white space, other UTF-8, numbers of many digits) is not for here.
 */

#include "header.h"

#include <string.h>

/* How far from the end a frame is looked at for the sign that `delta` is not its last member: the
 * longest known tail after a payload, xAI's, has a quote every 40 bytes. A wrong guess costs time
 * only: a payload that is cut too late holds a quote, which is no base64. */
#define TAIL 64

typedef struct {
    const uint8_t *at, *end;
} cursor;

static int take(cursor *c, uint8_t byte)
{
    if (c->at >= c->end || *c->at != byte)
        return 0;
    c->at++;
    return 1;
}

static int is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* A string without escapes: what is between its quotes. */
static int take_string(cursor *c, span *text)
{
    if (!take(c, '"'))
        return 0;
    const uint8_t *start = c->at;
    while (c->at < c->end && is_plain(*c->at))
        c->at++;
    *text = (span){start, (size_t)(c->at - start)};
    return take(c, '"');
}

/* An integer of at most nine digits, as an index is. */
static int take_index(cursor *c, long *value)
{
    const uint8_t *start = c->at;
    *value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - start < 9)
        *value = *value * 10 + (*c->at++ - '0');
    return c->at > start && (*start != '0' || c->at == start + 1);
}

static int take_digits(cursor *c, int most)
{
    int count = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && count <= most)
        c->at++, count++;
    return count >= 1 && count <= most;
}

/* A number that is skipped; one of many digits or a large exponent is not for here. */
static int take_number(cursor *c)
{
    take(c, '-');
    const uint8_t *start = c->at;
    if (!take_digits(c, 30) || (*start == '0' && c->at > start + 1))
        return 0;
    if (take(c, '.') && !take_digits(c, 30))
        return 0;
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (!take(c, '+'))
            take(c, '-');
        return take_digits(c, 2);
    }
    return 1;
}

static int take_word(cursor *c, const char *word, size_t size)
{
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, word, size))
        return 0;
    c->at += size;
    return 1;
}

static int take_scalar(cursor *c)
{
    span text;
    if (c->at >= c->end)
        return 0;
    switch (*c->at) {
    case '"':
        return take_string(c, &text);
    case 'n':
        return take_word(c, "null", 4);
    case 't':
        return take_word(c, "true", 4);
    case 'f':
        return take_word(c, "false", 5);
    default:
        return take_number(c);
    }
}

/* The payload, up to its quote. Where `delta` seems to be the last member, it is taken to end with
 * the frame: looking for the quote would take as long as a third of decoding. */
static int take_payload(cursor *c, span *text)
{
    if (!take(c, '"'))
        return 0;
    const uint8_t *start = c->at, *close = NULL;
    size_t left = (size_t)(c->end - start);
    if (left > TAIL + 2 && !memcmp(c->end - 2, "\"}", 2) && !memchr(c->end - 2 - TAIL, '"', TAIL))
        close = c->end - 2;
    else
        close = memchr(start, '"', left);
    if (close == NULL)
        return 0;
    *text = (span){start, (size_t)(close - start)};
    c->at = close + 1;
    return 1;
}

enum { OTHER = 0, TYPE = 1, EVENT_ID = 2, RESPONSE_ID = 4, ITEM_ID = 8, OUTPUT = 16, CONTENT = 32,
       DELTA = 64 };

#define IS(text, word) (!memcmp((text).start, word, sizeof word - 1))

static int key_of(span key)
{
    switch (key.size) {
    case 4:
        return IS(key, "type") ? TYPE : OTHER;
    case 5:
        return IS(key, "delta") ? DELTA : OTHER;
    case 7:
        return IS(key, "item_id") ? ITEM_ID : OTHER;
    case 8:
        return IS(key, "event_id") ? EVENT_ID : OTHER;
    case 11:
        return IS(key, "response_id") ? RESPONSE_ID : OTHER;
    case 12:
        return IS(key, "output_index") ? OUTPUT : OTHER;
    case 13:
        return IS(key, "content_index") ? CONTENT : OTHER;
    default:
        return OTHER;
    }
}

static int take_type(cursor *c, audio_delta *found)
{
    span type;
    if (!take_string(c, &type))
        return 0;
    found->is_ga = type.size == 27 && IS(type, "response.output_audio.delta");
    return found->is_ga || (type.size == 20 && IS(type, "response.audio.delta"));
}

static int take_value(cursor *c, int key, audio_delta *found)
{
    switch (key) {
    case TYPE:
        return take_type(c, found);
    case EVENT_ID:
        return take_string(c, &found->event_id);
    case RESPONSE_ID:
        return take_string(c, &found->response_id);
    case ITEM_ID:
        return take_string(c, &found->item_id);
    case OUTPUT:
        return take_index(c, &found->output_index);
    case CONTENT:
        return take_index(c, &found->content_index);
    case DELTA:
        return take_payload(c, &found->payload);
    default:
        return take_scalar(c);
    }
}

/* --- the memo --------------------------------------------------------------------------------- */

/* The same header somewhere else. */
static void move(audio_delta *found, const uint8_t *from, const uint8_t *to)
{
    span *ids[] = {&found->event_id, &found->response_id, &found->item_id};
    for (int i = 0; i < 3; i++)
        ids[i]->start = to + (ids[i]->start - from);
}

/* Keep what stands before the payload, if the event_id is there: it is what differs. */
static void keep(header_memo *memo, const uint8_t *frame, const uint8_t *payload,
                 const audio_delta *found, int seen)
{
    size_t size = (size_t)(payload - frame);
    if (!(seen & EVENT_ID) || size > sizeof memo->bytes)
        return;
    memcpy(memo->bytes, frame, size);
    memo->size = size;
    memo->seen = seen;
    memo->found = *found;
    move(&memo->found, frame, memo->bytes);
}

/* Whether a frame begins as the last one did but for the characters of its event_id. */
static int begins_like(const header_memo *memo, const uint8_t *frame, size_t size)
{
    if (!memo->size || size <= memo->size)
        return 0;
    size_t start = (size_t)(memo->found.event_id.start - memo->bytes);
    size_t end = start + memo->found.event_id.size;
    if (memcmp(frame, memo->bytes, start)
        || memcmp(frame + end, memo->bytes + end, memo->size - end))
        return 0;
    int plain = 1;
    for (size_t i = start; i < end; i++)
        plain &= is_plain(frame[i]);
    return plain;
}

/* --- the frame -------------------------------------------------------------------------------- */

static int take_key(cursor *c, int first, int *key)
{
    span name;
    if (!first)
        take(c, ' ');
    if (!take_string(c, &name) || !take(c, ':'))
        return 0;
    take(c, ' ');
    *key = key_of(name);
    return 1;
}

int recognise(const uint8_t *frame, size_t size, audio_delta *found, header_memo *memo)
{
    cursor c = {frame, frame + size};
    int seen = 0, key = DELTA, recalled = begins_like(memo, frame, size);
    if (recalled) {
        *found = memo->found;
        move(found, memo->bytes, frame);
        seen = memo->seen;
        c.at += memo->size;
    } else {
        *found = (audio_delta){.event_id = {frame, 0}, .response_id = {frame, 0},
                               .item_id = {frame, 0}, .payload = {frame, 0}};
        if (!take(&c, '{') || !take_key(&c, 1, &key))
            return 0;
    }
    for (;;) {
        if (key == DELTA && !recalled)
            keep(memo, frame, c.at, found, seen);
        if ((seen & key) || !take_value(&c, key, found))
            return 0;
        seen |= key;
        if (!take(&c, ','))
            break;
        if (!take_key(&c, 0, &key))
            return 0;
    }
    return take(&c, '}') && c.at == c.end && (seen & TYPE) && (seen & DELTA);
}
