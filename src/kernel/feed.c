/* Feed: recognise a frame, decode its audio into the ring of its track, make the event.
 *
 * Rule: nothing is published before the whole frame is proven. Until then only free memory of the
 * ring is written, which nobody reads; then the counters move, and the event is made. If anything
 * is not as expected, the answer is None, and the slow path does the same in Python.
 *
 * Rings and tracks are ordinary objects of the package, with __slots__; their slots are read and
 * written where they lie. That costs 2 ns each, where an attribute by its name costs 15. */

#include "feed.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

#include "method.h"
#include "scan.h"
#include "sink.h"

base64_path base64_in_use;

static struct {
    PyTypeObject *pool, *track, *ring;
    PyObject *event;
    Py_ssize_t pool_route;
    Py_ssize_t track_key, track_ring, track_carry, track_plain, track_done, track_overrun, track_late,
        track_wide, track_table, track_serial;
    Py_ssize_t ring_buffer, ring_capacity, ring_written, ring_consumed, ring_dropped, ring_origin;
} bound;

static PyObject *beta_name, *ga_name, *name_track;

int feed_bind(PyObject *pool, PyObject *track, PyObject *ring, PyObject *event)
{
    const struct {
        PyObject *type;
        const char *name;
        Py_ssize_t *offset;
    } slots[] = {
        {pool, "route", &bound.pool_route},       {track, "key", &bound.track_key},
        {track, "serial", &bound.track_serial},   {track, "ring", &bound.track_ring},
        {track, "_carry", &bound.track_carry},    {track, "_plain", &bound.track_plain},
        {track, "done", &bound.track_done},       {track, "overrun", &bound.track_overrun},
        {track, "_late", &bound.track_late},      {track, "_wide", &bound.track_wide},
        {track, "_table", &bound.track_table},
        {ring, "_buffer", &bound.ring_buffer},    {ring, "capacity", &bound.ring_capacity},
        {ring, "written", &bound.ring_written},   {ring, "consumed", &bound.ring_consumed},
        {ring, "dropped", &bound.ring_dropped},   {ring, "_origin", &bound.ring_origin},
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if ((*slots[i].offset = slot_offset(slots[i].type, slots[i].name)) < 0)
            return -1;
    beta_name = PyUnicode_InternFromString("response.audio.delta");
    ga_name = PyUnicode_InternFromString("response.output_audio.delta");
    name_track = PyUnicode_InternFromString("track");
    if (!beta_name || !ga_name || !name_track)
        return -1;
    bound.pool = (PyTypeObject *)Py_NewRef(pool);
    bound.track = (PyTypeObject *)Py_NewRef(track);
    bound.ring = (PyTypeObject *)Py_NewRef(ring);
    bound.event = Py_NewRef(event);
    return 0;
}

/* --- text ------------------------------------------------------------------------------------- */

static int is_text(PyObject *text, span bytes)
{
    return PyUnicode_CheckExact(text) && PyUnicode_IS_ASCII(text)
           && (size_t)PyUnicode_GET_LENGTH(text) == bytes.size
           && !memcmp(PyUnicode_1BYTE_DATA(text), bytes.start, bytes.size);
}

static PyObject *new_text(span bytes)
{
    PyObject *text = PyUnicode_New((Py_ssize_t)bytes.size, 127);
    if (text && bytes.size)
        memcpy(PyUnicode_1BYTE_DATA(text), bytes.start, bytes.size);
    return text;
}

/* --- the track -------------------------------------------------------------------------------- */

static int leads_to(PyObject *track, const audio_delta *found)
{
    int overflow;
    PyObject *key = SLOT(track, bound.track_key);
    return key && PyTuple_CheckExact(key) && PyTuple_GET_SIZE(key) == 3
           && is_text(PyTuple_GET_ITEM(key, 1), found->item_id)
           && is_text(PyTuple_GET_ITEM(key, 0), found->response_id)
           && PyLong_CheckExact(PyTuple_GET_ITEM(key, 2))
           && PyLong_AsLongAndOverflow(PyTuple_GET_ITEM(key, 2), &overflow)
                  == found->content_index;
}

/* Ask the pool, which may open a track, or bring one back. */
static PyObject *ask_for_track(Feed *self, const audio_delta *found)
{
    PyObject *key = Py_BuildValue("(NNl)", new_text(found->response_id), new_text(found->item_id),
                                  found->content_index);
    if (!key)
        return NULL;
    PyObject *track = PyObject_CallMethodOneArg(self->pool, name_track, key);
    Py_DECREF(key);
    return track;
}

/* --- one delta -------------------------------------------------------------------------------- */

/* All that a delta changes, worked out before anything is changed. */
typedef struct {
    PyObject *track, *ring;
    long long written, dropped, origin, late; /* before */
    long long samples;                        /* in this delta, with what was carried */
    long long accepted;                       /* of them, those that the ring has room for */
    int restart;                              /* the ring was empty: it begins anew */
    int wide;                                 /* bytes of the wire in a sample: 1 or 2 */
    int carried;                              /* bytes (0 or 1) that were */
    int done, overrun;                        /* what the track is */
    sink to;
} plan;

/* Lay the free memory of the ring out for `accepted` samples of `size` bytes each. */
static int lay_out(plan *p, long long capacity, int size)
{
    Py_buffer *memory = ring_memory(SLOT(p->ring, bound.ring_buffer));
    if (!memory || memory->len / size < capacity || memory->readonly)
        return 0;
    long long start = capacity ? (p->written - p->origin) % capacity : 0;
    long long first = capacity - start < p->accepted ? capacity - start : p->accepted;
    uint8_t *bytes = memory->buf;
    p->to.at[0] = bytes + start * size;
    p->to.at[1] = bytes;
    p->to.room[0] = (size_t)first * (size_t)p->wide;
    p->to.room[1] = (size_t)(p->accepted - first) * (size_t)p->wide;
    return 1;
}

static int read_truth(PyObject *object, Py_ssize_t offset, int *truth)
{
    PyObject *value = SLOT(object, offset);
    *truth = value == Py_True;
    return value == Py_True || value == Py_False;
}

/* The track's side of a plan. Return 0 if it is not as it should be. */
static int read_track(plan *p, PyObject *track)
{
    int wide, plain;
    PyObject *carry = SLOT(track, bound.track_carry), *table = SLOT(track, bound.track_table);
    p->track = track;
    p->ring = SLOT(track, bound.track_ring);
    if (!p->ring || !Py_IS_TYPE(p->ring, bound.ring) || !carry || !PyBytes_CheckExact(carry)
        || !read_truth(track, bound.track_wide, &wide)
        || !read_truth(track, bound.track_plain, &plain)
        || !read_truth(track, bound.track_done, &p->done)
        || !read_truth(track, bound.track_overrun, &p->overrun)
        || !read_count(track, bound.track_late, &p->late))
        return 0;
    p->wide = wide ? 2 : 1;
    p->carried = (int)PyBytes_GET_SIZE(carry);
    p->to.table = NULL;
    if (table == Py_None)
        return p->carried < p->wide;
    if (!table || !PyBytes_CheckExact(table) || PyBytes_GET_SIZE(table) != 512)
        return 0;
    p->to.table = (const int16_t *)PyBytes_AS_STRING(table);
    return !wide && !p->carried;
}

/* Work out what `bytes` bytes of audio do to their track. Return 0 if that is not for here. */
static int make_plan(plan *p, PyObject *track, size_t bytes)
{
    long long capacity, consumed;
    if (!read_track(p, track) || !read_count(p->ring, bound.ring_capacity, &capacity)
        || !read_count(p->ring, bound.ring_written, &p->written)
        || !read_count(p->ring, bound.ring_consumed, &consumed) || consumed > p->written
        || !read_count(p->ring, bound.ring_dropped, &p->dropped)
        || !read_count(p->ring, bound.ring_origin, &p->origin) || p->origin > p->written
        || p->written - consumed > capacity)
        return 0;
    p->samples = ((long long)bytes + p->carried) / p->wide;
    /* After a refused sample a track takes no more. */
    long long room = p->overrun ? 0 : capacity - (p->written - consumed);
    p->accepted = p->samples < room ? p->samples : room;
    p->restart = consumed == p->written && p->accepted;
    if (p->restart)
        p->origin = p->written; /* an empty ring starts again at the beginning of its memory */
    return lay_out(p, capacity, p->wide == 2 || p->to.table ? 2 : 1);
}

/* How many bytes a payload of that length decodes to, if it is base64. */
static size_t decoded_size(span payload)
{
    if (!payload.size)
        return 0;
    const uint8_t *end = payload.start + payload.size;
    return payload.size / 4 * 3 - (end[-1] == '=') - (end[-1] == '=' && end[-2] == '=');
}

/* Decode a payload into a sink. Return the last byte, 0 where there is none, or -1 if it is no
 * base64. */
static int decode(sink *to, span payload)
{
    uint8_t last[3];
    if (!payload.size)
        return 0;
    size_t quads = payload.size / 4 - 1;
    if (sink_decode(to, base64_in_use.decode, payload.start, quads))
        return -1;
    int count = base64_last(payload.start + 4 * quads, last);
    if (count < 0)
        return -1;
    sink_put(to, last, (size_t)count);
    return last[count - 1];
}

/* --- finding the track -------------------------------------------------------------------------- */

/* Remember where the last frame went, if the next one is sure to go there as well: not to a track
 * that is done or has no memory, which may need another ring. */
static void remember(Feed *self, PyObject *track)
{
    long long capacity;
    PyObject *ring = SLOT(track, bound.track_ring);
    if (ring && Py_IS_TYPE(ring, bound.ring) && read_count(ring, bound.ring_capacity, &capacity)
        && capacity && SLOT(track, bound.track_done) == Py_False) {
        Py_XSETREF(self->track, Py_NewRef(track));
        set_slot(self->pool, bound.pool_route, track);
    }
}

/* The track of a frame: a new reference; NULL without an error set where that is not for here. */
static PyObject *find_track(Feed *self, const audio_delta *found, int proven)
{
    sink nowhere = {.table = NULL}; /* no room in either piece */
    /* pool.route is gone whenever what a key leads to may have changed. */
    if (self->track && SLOT(self->pool, bound.pool_route) == self->track
        && leads_to(self->track, found))
        return Py_NewRef(self->track);
    /* A track is opened only for what is known to be base64. */
    if (!proven && decode(&nowhere, found->payload) < 0)
        return NULL;
    PyObject *track = ask_for_track(self, found);
    if (track && !Py_IS_TYPE(track, bound.track))
        Py_CLEAR(track);
    if (track)
        remember(self, track);
    return track;
}

/* --- publishing --------------------------------------------------------------------------------- */

/* The objects that a delta leaves behind: all of them are made before one of them is stored. */
typedef struct {
    PyObject *event, *written, *dropped, *late, *carry;
} changes;

static PyObject *make_event(const audio_delta *found, const plan *p, PyObject *written)
{
    long long before = p->written + p->dropped;
    PyObject *event = NULL, *event_id = new_text(found->event_id);
    PyObject *output_index = PyLong_FromLong(found->output_index);
    PyObject *dropped = PyLong_FromLongLong(p->samples - p->accepted);
    /* The ints of the ring's counters are the event's, too. */
    PyObject *start = p->dropped ? PyLong_FromLongLong(before)
                                 : Py_NewRef(SLOT(p->ring, bound.ring_written));
    PyObject *stop = p->dropped || p->accepted < p->samples
                         ? PyLong_FromLongLong(before + p->samples)
                         : Py_NewRef(written);
    if (event_id && output_index && dropped && start && stop) {
        PyObject *fields[] = {found->is_ga ? ga_name : beta_name, event_id, p->track, output_index,
                              start, stop, dropped};
        event = PyObject_Vectorcall(bound.event, fields, 7, NULL);
    }
    Py_XDECREF(event_id);
    Py_XDECREF(output_index);
    Py_XDECREF(dropped);
    Py_XDECREF(start);
    Py_XDECREF(stop);
    return event;
}

/* Return 0, or -1 with an error set. The event is made where it is wanted. */
static int make_changes(changes *c, const audio_delta *found, const plan *p, size_t bytes, int last,
                        int wanted)
{
    int odd = p->wide == 2 && (p->carried + bytes) % 2;
    char rest = (char)last;
    *c = (changes){.written = PyLong_FromLongLong(p->written + p->accepted)};
    if (!c->written || (wanted && !(c->event = make_event(found, p, c->written))))
        return -1;
    if (p->done && !(c->late = PyLong_FromLongLong(p->late + 1)))
        return -1;
    if (p->accepted < p->samples
        && !(c->dropped = PyLong_FromLongLong(p->dropped + p->samples - p->accepted)))
        return -1;
    if (bytes && (odd || p->carried) && !(c->carry = PyBytes_FromStringAndSize(&rest, odd)))
        return -1;
    return 0;
}

/* Data is there: move the counters. Nothing here can fail. */
static void store(const changes *c, const plan *p)
{
    PyObject *carry = c->carry ? c->carry : SLOT(p->track, bound.track_carry);
    int plain = p->wide == 2 && !PyBytes_GET_SIZE(carry) && !p->done && !p->overrun && !c->dropped;
    if (p->restart)
        set_slot(p->ring, bound.ring_origin, SLOT(p->ring, bound.ring_written));
    set_slot(p->ring, bound.ring_written, c->written);
    set_slot(p->track, bound.track_plain, plain ? Py_True : Py_False);
    if (c->late)
        set_slot(p->track, bound.track_late, c->late);
    if (c->carry)
        set_slot(p->track, bound.track_carry, c->carry);
    if (c->dropped) {
        set_slot(p->ring, bound.ring_dropped, c->dropped);
        set_slot(p->track, bound.track_overrun, Py_True);
    }
}

/* --- one frame ---------------------------------------------------------------------------------- */

/* A payload that was decoded beforehand; NULL where it was not. */
typedef struct {
    uint8_t *bytes;
    size_t size;
} decoded;

/* Decode a long payload without the lock, and not into the ring: what others do to tracks and rings
 * meanwhile is none of our concern. Return 0; -1 with an error set; 1 if it is no base64. */
static int decode_unlocked(span payload, decoded *into)
{
    sink to = {.table = NULL};
    int last;
    into->size = decoded_size(payload);
    into->bytes = PyMem_RawMalloc(into->size + 1);
    if (!into->bytes) {
        PyErr_NoMemory();
        return -1;
    }
    to.at[0] = into->bytes;
    to.room[0] = into->size;
    Py_BEGIN_ALLOW_THREADS
    last = decode(&to, payload);
    Py_END_ALLOW_THREADS
    return last < 0;
}

/* The audio of a frame into its track, as the answer says. */
static int feed_track(Feed *self, const audio_delta *found, const decoded *ready, PyObject *track,
                      feed_answer *answer)
{
    plan p;
    changes c;
    int last;
    size_t bytes = ready->bytes ? ready->size : decoded_size(found->payload);
    if (!make_plan(&p, track, bytes))
        return 0;
    if (p.carried && bytes)
        sink_put(&p.to, (uint8_t *)PyBytes_AS_STRING(SLOT(track, bound.track_carry)), 1);
    if (ready->bytes) {
        sink_put(&p.to, ready->bytes, bytes);
        last = ready->bytes[bytes - 1];
    } else {
        last = decode(&p.to, found->payload);
    }
    if (last < 0)
        return 0;
    int failed = make_changes(&c, found, &p, bytes, last, answer->wants_event);
    if (!failed) {
        store(&c, &p);
        self->taken++;
        answer->event = Py_XNewRef(c.event);
        answer->track = Py_NewRef(track);
        answer->start = p.written + p.dropped;
        answer->stop = answer->start + p.samples;
        answer->dropped = p.samples - p.accepted;
        answer->is_ga = found->is_ga;
    }
    Py_XDECREF(c.event);
    Py_XDECREF(c.written);
    Py_XDECREF(c.dropped);
    Py_XDECREF(c.late);
    Py_XDECREF(c.carry);
    return failed ? -1 : 1;
}

int feed_text(Feed *self, const uint8_t *text, Py_ssize_t size, feed_answer *answer)
{
    audio_delta found;
    decoded ready = {NULL, 0};
    int result = 0;
    int bad = !self->pool || !recognise(text, (size_t)size, &found, &self->memo)
              || found.payload.size % 4;
    if (!bad && found.payload.size >= UNLOCKED_FROM)
        bad = decode_unlocked(found.payload, &ready);
    PyObject *track = bad ? NULL : find_track(self, &found, ready.bytes != NULL);
    if (track)
        result = feed_track(self, &found, &ready, track, answer);
    else if (PyErr_Occurred())
        result = -1;
    PyMem_RawFree(ready.bytes);
    Py_XDECREF(track);
    return result;
}

PyObject *feed_event(Feed *self, const uint8_t *text, Py_ssize_t size)
{
    feed_answer answer = {.wants_event = 1};
    int result = feed_text(self, text, size, &answer);
    if (result <= 0)
        return result ? NULL : Py_NewRef(Py_None);
    Py_DECREF(answer.track);
    return answer.event;
}

long long feed_serial(PyObject *track)
{
    long long serial;
    return read_count(track, bound.track_serial, &serial) ? serial : -1;
}

/* --- the type ----------------------------------------------------------------------------------- */

static PyObject *feed_feed(PyObject *self, PyObject *frame)
{
    if (!PyBytes_CheckExact(frame)) {
        PyErr_Format(PyExc_TypeError, "a frame must be bytes, not %.100s", Py_TYPE(frame)->tp_name);
        return NULL;
    }
    return feed_event((Feed *)self, (const uint8_t *)PyBytes_AS_STRING(frame),
                      PyBytes_GET_SIZE(frame));
}

static PyObject *feed_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"pool", NULL};
    PyObject *pool;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &pool))
        return NULL;
    if (!bound.event || !Py_IS_TYPE(pool, bound.pool)) {
        PyErr_SetString(PyExc_TypeError, "pool must be a TrackPool, and bind() come first");
        return NULL;
    }
    Feed *self = (Feed *)type->tp_alloc(type, 0);
    if (self)
        self->pool = Py_NewRef(pool);
    return (PyObject *)self;
}

static int feed_traverse(Feed *self, visitproc visit, void *arg)
{
    Py_VISIT(self->pool);
    Py_VISIT(self->track);
    return 0;
}

static int feed_clear(Feed *self)
{
    Py_CLEAR(self->pool);
    Py_CLEAR(self->track);
    return 0;
}

static void feed_dealloc(Feed *self)
{
    PyObject_GC_UnTrack(self);
    feed_clear(self);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef feed_methods[] = {
    {"feed", feed_feed, METH_O,
     "feed(frame)\n--\n\nDecode `frame` if it is proven to be an audio delta, else return None."},
    {"scan", feed_scan, METH_VARARGS,
     "scan(buffer, start, stop, rows, max_frame)\n--\n\nTake the audio deltas that "
     "`buffer[start:stop]` begins with, a line each."},
    {NULL},
};

static PyMemberDef feed_members[] = {
    {"taken", T_LONGLONG, offsetof(Feed, taken), READONLY, "Frames that were answered."},
    {NULL},
};

PyTypeObject Feed_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "deltaring._kernel.Feed",
    .tp_doc = "One call per frame: the AudioDelta, its samples in the ring, or None.",
    .tp_basicsize = sizeof(Feed),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = feed_new,
    .tp_dealloc = (destructor)feed_dealloc,
    .tp_traverse = (traverseproc)feed_traverse,
    .tp_clear = (inquiry)feed_clear,
    .tp_methods = feed_methods,
    .tp_members = feed_members,
};
