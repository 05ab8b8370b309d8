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
#include "sink.h"

base64_path base64_in_use;

static struct {
    PyTypeObject *pool, *track, *ring;
    PyObject *event;
    Py_ssize_t pool_route;
    Py_ssize_t track_key, track_ring, track_carry, track_plain, track_done, track_overrun, track_late,
        track_wide, track_table;
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
        {track, "ring", &bound.track_ring},       {track, "_carry", &bound.track_carry},
        {track, "_plain", &bound.track_plain},    {track, "done", &bound.track_done},
        {track, "overrun", &bound.track_overrun}, {track, "_late", &bound.track_late},
        {track, "_wide", &bound.track_wide},      {track, "_table", &bound.track_table},
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
    PyObject *key = SLOT(track, bound.track_key);
    return key && PyTuple_CheckExact(key) && PyTuple_GET_SIZE(key) == 3
           && is_text(PyTuple_GET_ITEM(key, 1), found->item_id)
           && is_text(PyTuple_GET_ITEM(key, 0), found->response_id)
           && PyLong_CheckExact(PyTuple_GET_ITEM(key, 2))
           && PyLong_AsLong(PyTuple_GET_ITEM(key, 2)) == found->content_index;
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
    long long written, dropped, origin; /* of the ring, before */
    long long samples;                  /* in this delta, with what was carried */
    long long accepted;                 /* of them, those that the ring has room for */
    int restart;                        /* the ring was empty: it begins anew */
    int wide;                           /* bytes of the wire in a sample: 1 or 2 */
    int carried;                        /* bytes (0 or 1) that were */
    sink to;
} plan;

/* Lay the free memory of the ring out for `accepted` samples of `size` bytes each. */
static int lay_out(plan *p, long long capacity, int size)
{
    PyObject *view = SLOT(p->ring, bound.ring_buffer);
    if (!view || !PyMemoryView_Check(view))
        return 0;
    Py_buffer *memory = PyMemoryView_GET_BUFFER(view);
    if (memory->len / size < capacity || memory->readonly)
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

/* Work out what `bytes` bytes of audio do to their track. Return 0 if that is not for here. */
static int make_plan(plan *p, PyObject *track, size_t bytes)
{
    long long capacity, consumed;
    PyObject *ring = SLOT(track, bound.track_ring), *carry = SLOT(track, bound.track_carry);
    PyObject *table = SLOT(track, bound.track_table), *wide = SLOT(track, bound.track_wide);
    if (!ring || !Py_IS_TYPE(ring, bound.ring) || !carry || !PyBytes_CheckExact(carry) || !table
        || PyBytes_GET_SIZE(carry) > 1 || !read_count(ring, bound.ring_capacity, &capacity)
        || !read_count(ring, bound.ring_written, &p->written)
        || !read_count(ring, bound.ring_consumed, &consumed) || consumed > p->written
        || !read_count(ring, bound.ring_dropped, &p->dropped)
        || !read_count(ring, bound.ring_origin, &p->origin) || p->origin > p->written
        || p->written - consumed > capacity)
        return 0;
    p->track = track;
    p->ring = ring;
    p->to.table = NULL;
    if (table != Py_None) {
        if (!PyBytes_CheckExact(table) || PyBytes_GET_SIZE(table) != 512)
            return 0;
        p->to.table = (const int16_t *)PyBytes_AS_STRING(table);
    }
    p->wide = wide == Py_True ? 2 : 1;
    p->carried = (int)PyBytes_GET_SIZE(carry);
    p->samples = ((long long)bytes + p->carried) / p->wide;
    long long room = capacity - (p->written - consumed);
    if (SLOT(track, bound.track_overrun) != Py_False)
        room = 0; /* after a refused sample a track takes no more */
    p->accepted = p->samples < room ? p->samples : room;
    p->restart = consumed == p->written;
    if (p->restart)
        p->origin = p->written; /* an empty ring starts again at the beginning of its memory */
    return lay_out(p, capacity, p->wide == 2 || p->to.table ? 2 : 1);
}

/* Decode the payload as planned. Return the bytes (1 to 3) of its last quad, 0 if there is none, or
 * -1 if it is no base64. */
static int decode(plan *p, span payload, uint8_t *last)
{
    if (!payload.size)
        return 0;
    if (p->carried)
        sink_put(&p->to, (uint8_t *)PyBytes_AS_STRING(SLOT(p->track, bound.track_carry)), 1);
    size_t quads = payload.size / 4 - 1;
    int bad;
    if (payload.size < UNLOCKED_FROM) {
        bad = sink_decode(&p->to, base64_in_use.decode, payload.start, quads);
    } else {
        Py_BEGIN_ALLOW_THREADS
        bad = sink_decode(&p->to, base64_in_use.decode, payload.start, quads);
        Py_END_ALLOW_THREADS
    }
    int count = bad ? -1 : base64_last(payload.start + 4 * quads, last);
    if (count > 0)
        sink_put(&p->to, last, (size_t)count);
    return count;
}

/* How many bytes a payload of that length decodes to, if it is base64. */
static size_t decoded_size(span payload)
{
    if (!payload.size)
        return 0;
    const uint8_t *end = payload.start + payload.size;
    return payload.size / 4 * 3 - (end[-1] == '=') - (end[-1] == '=' && end[-2] == '=');
}

/* --- finding the track -------------------------------------------------------------------------- */

/* Whether a payload is base64. Known before a track is opened for it. */
static int is_base64(span payload)
{
    plan nowhere = {.carried = 0}; /* no room in either piece */
    uint8_t last[3];
    return decode(&nowhere, payload, last) >= 0;
}

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
static PyObject *find_track(Feed *self, const audio_delta *found)
{
    /* pool.route is gone whenever what a key leads to may have changed. */
    if (self->track && SLOT(self->pool, bound.pool_route) == self->track
        && leads_to(self->track, found))
        return Py_NewRef(self->track);
    if (!is_base64(found->payload))
        return NULL;
    PyObject *track = ask_for_track(self, found);
    if (track && !Py_IS_TYPE(track, bound.track))
        Py_CLEAR(track);
    if (track)
        remember(self, track);
    return track;
}

/* --- publishing --------------------------------------------------------------------------------- */

static int set_count(PyObject *object, Py_ssize_t offset, long long count)
{
    PyObject *value = PyLong_FromLongLong(count);
    if (!value)
        return -1;
    set_slot(object, offset, value);
    Py_DECREF(value);
    return 0;
}

/* What the next delta has to know of this one, where that is not nothing. */
static int update_track(plan *p, size_t bytes, uint8_t last)
{
    PyObject *track = p->track;
    int odd = p->wide == 2 && (p->carried + bytes) % 2;
    long long late;
    if (SLOT(track, bound.track_done) != Py_False) {
        if (!read_count(track, bound.track_late, &late)
            || set_count(track, bound.track_late, late + 1))
            return -1;
    }
    if (bytes && (odd || p->carried)) {
        PyObject *carry = PyBytes_FromStringAndSize((char *)&last, odd);
        if (!carry)
            return -1;
        set_slot(track, bound.track_carry, carry);
        Py_DECREF(carry);
    }
    if (p->accepted < p->samples) {
        if (set_count(p->ring, bound.ring_dropped, p->dropped + p->samples - p->accepted))
            return -1;
        set_slot(track, bound.track_overrun, Py_True);
    }
    int plain = p->wide == 2 && !PyBytes_GET_SIZE(SLOT(track, bound.track_carry))
                && SLOT(track, bound.track_done) == Py_False
                && SLOT(track, bound.track_overrun) == Py_False;
    set_slot(track, bound.track_plain, plain ? Py_True : Py_False);
    return 0;
}

/* Move the counters, data being there. The ints are the event's, too. */
static int publish(plan *p, size_t bytes, uint8_t last, PyObject **start, PyObject **stop)
{
    long long before = p->written + p->dropped;
    PyObject *written = PyLong_FromLongLong(p->written + p->accepted);
    *start = p->dropped ? PyLong_FromLongLong(before)
                        : Py_NewRef(SLOT(p->ring, bound.ring_written));
    *stop = p->dropped || p->accepted < p->samples ? PyLong_FromLongLong(before + p->samples)
                                                   : Py_XNewRef(written);
    int failed = !written || !*start || !*stop;
    if (!failed) {
        if (p->restart)
            set_slot(p->ring, bound.ring_origin, SLOT(p->ring, bound.ring_written));
        set_slot(p->ring, bound.ring_written, written);
        if (SLOT(p->track, bound.track_plain) != Py_True || (p->carried + bytes) % 2
            || p->accepted < p->samples)
            failed = update_track(p, bytes, last);
    }
    Py_XDECREF(written);
    return failed ? -1 : 0;
}

static PyObject *make_event(const audio_delta *found, plan *p, PyObject *start, PyObject *stop)
{
    PyObject *event = NULL;
    PyObject *event_id = new_text(found->event_id);
    PyObject *output_index = PyLong_FromLong(found->output_index);
    PyObject *dropped = PyLong_FromLongLong(p->samples - p->accepted);
    if (event_id && output_index && dropped) {
        PyObject *fields[] = {found->is_ga ? ga_name : beta_name, event_id, p->track, output_index,
                              start, stop, dropped};
        event = PyObject_Vectorcall(bound.event, fields, 7, NULL);
    }
    Py_XDECREF(event_id);
    Py_XDECREF(output_index);
    Py_XDECREF(dropped);
    return event;
}

/* The audio of a recognised frame into its track: the event, None, or NULL with an error set. */
static PyObject *feed_track(Feed *self, const audio_delta *found, PyObject *track)
{
    plan p;
    uint8_t last[3];
    size_t bytes = decoded_size(found->payload);
    if (!make_plan(&p, track, bytes))
        Py_RETURN_NONE;
    int count = decode(&p, found->payload, last);
    if (count < 0)
        Py_RETURN_NONE;
    PyObject *start = NULL, *stop = NULL, *event = NULL;
    if (!publish(&p, bytes, count ? last[count - 1] : 0, &start, &stop)) {
        self->taken++;
        event = make_event(found, &p, start, stop);
    }
    Py_XDECREF(start);
    Py_XDECREF(stop);
    return event;
}

PyObject *feed_text(Feed *self, const uint8_t *text, Py_ssize_t size)
{
    audio_delta found;
    if (!recognise(text, (size_t)size, &found, &self->memo) || found.payload.size % 4)
        Py_RETURN_NONE;
    PyObject *track = find_track(self, &found);
    if (!track && PyErr_Occurred())
        return NULL;
    if (!track)
        Py_RETURN_NONE;
    PyObject *event = feed_track(self, &found, track);
    Py_DECREF(track);
    return event;
}

/* --- the type ----------------------------------------------------------------------------------- */

static PyObject *feed_feed(PyObject *self, PyObject *frame)
{
    if (!PyBytes_CheckExact(frame)) {
        PyErr_Format(PyExc_TypeError, "a frame must be bytes, not %.100s", Py_TYPE(frame)->tp_name);
        return NULL;
    }
    return feed_text((Feed *)self, (const uint8_t *)PyBytes_AS_STRING(frame),
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
