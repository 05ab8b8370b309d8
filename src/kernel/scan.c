/* Rule: a line is taken if it is complete, and its frame one that feed() answers; the first other one
 * ends the run, and nothing of it has been changed. An envelope is of one form, that of the
 * package's own writer; what it is not sure of is for Python.
 *
 *     line     = ( frame / envelope ) [CR] LF
 *     envelope = '{"time":' time ',"source":"server","event":' frame '}'      a space may follow : and ,
 */

#include "scan.h"

#include <math.h>
#include <string.h>

/* run.ROW: one line of a run. */
typedef struct {
    int64_t line, length;
    double time;
    int64_t track, start, stop, dropped, ga;
} row;

/* --- one line --------------------------------------------------------------------------------- */

static int take_text(span *text, const char *word)
{
    size_t size = strlen(word);
    if (text->size < size || memcmp(text->start, word, size))
        return 0;
    text->start += size;
    text->size -= size;
    return 1;
}

/* Text that ends with a colon or a comma, and the space that may follow. */
static int take_mark(span *text, const char *word)
{
    if (!take_text(text, word))
        return 0;
    take_text(text, " ");
    return 1;
}

static size_t count_digits(const uint8_t *text, size_t size)
{
    size_t count = 0;
    while (count < size && text[count] >= '0' && text[count] <= '9')
        count++;
    return count;
}

/* A time: at most 12 digits and, after a point, 20. What else a number may have is for Python. */
static int take_time(span *text, double *time)
{
    char copy[40];
    size_t sign = text->size && *text->start == '-';
    size_t whole = count_digits(text->start + sign, text->size - sign), size = sign + whole;
    if (!whole || whole > 12 || (whole > 1 && text->start[sign] == '0'))
        return 0;
    if (size < text->size && text->start[size] == '.') {
        size_t part = count_digits(text->start + size + 1, text->size - size - 1);
        if (!part || part > 20)
            return 0;
        size += 1 + part;
    }
    memcpy(copy, text->start, size);
    copy[size] = 0;
    *time = PyOS_string_to_double(copy, NULL, NULL);
    text->start += size;
    text->size -= size;
    return !(*time == -1.0 && PyErr_Occurred());
}

/* Take off what is around the frame of a line. Return 0 if that is not for here. */
static int unwrap(span *line, double *time)
{
    *time = (double)NAN;
    if (line->size && line->start[line->size - 1] == '\r')
        line->size--;
    if (!take_mark(line, "{\"time\":"))
        return 1; /* a bare frame, or nothing that feed() will answer */
    if (!take_time(line, time) || !take_mark(line, ",") || !take_mark(line, "\"source\":")
        || !take_mark(line, "\"server\",") || !take_mark(line, "\"event\":") || !line->size
        || line->start[line->size - 1] != '}')
        return 0;
    line->size--;
    return 1;
}

/* --- the run ---------------------------------------------------------------------------------- */

typedef struct {
    Feed *feed;
    Py_buffer buffer, rows;
    Py_ssize_t at, stop, max_frame;
    Py_ssize_t count, room; /* of rows */
    PyObject *tracks;       /* each that got audio, once */
    PyObject *last;         /* the one that got it last; borrowed from `tracks` */
} run;

/* A run has few tracks: looking through them all takes less than a set would. */
static int note_track(run *r, PyObject *track)
{
    if (track == r->last)
        return 0;
    r->last = track;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(r->tracks); i++)
        if (PyList_GET_ITEM(r->tracks, i) == track)
            return 0;
    return PyList_Append(r->tracks, track);
}

/* Take the next line. Return 1 if it was taken, 0 if it ends the run, -1 with an error set. */
static int take_line(run *r)
{
    double time;
    feed_answer got = {.wants_event = 0};
    const uint8_t *start = (const uint8_t *)r->buffer.buf + r->at;
    const uint8_t *end = memchr(start, '\n', (size_t)(r->stop - r->at));
    if (!end)
        return 0;
    span frame = {start, (size_t)(end - start)};
    /* Long payloads are decoded without the lock, while others could change what is read. */
    if (!unwrap(&frame, &time) || frame.size > (size_t)r->max_frame || frame.size >= UNLOCKED_FROM)
        return PyErr_Occurred() ? -1 : 0;
    int taken = feed_text(r->feed, frame.start, (Py_ssize_t)frame.size, &got);
    if (taken <= 0)
        return taken;
    row *to = (row *)r->rows.buf + r->count++;
    *to = (row){r->at, end - start, time, feed_serial(got.track), got.start, got.stop, got.dropped,
                got.is_ga};
    r->at += end - start + 1;
    int failed = note_track(r, got.track);
    Py_DECREF(got.track);
    return failed ? -1 : 1;
}

static PyObject *take_lines(run *r)
{
    int taken = 1;
    r->room = r->rows.len / (Py_ssize_t)sizeof(row);
    if (r->at < 0 || r->stop > r->buffer.len || r->at > r->stop) {
        PyErr_SetString(PyExc_ValueError, "start and stop must lie in the buffer");
        return NULL;
    }
    r->tracks = PyList_New(0);
    if (!r->tracks)
        return NULL;
    while (taken > 0 && r->count < r->room)
        taken = take_line(r);
    if (taken >= 0)
        return Py_BuildValue("(nnN)", r->count, r->at, r->tracks);
    Py_DECREF(r->tracks);
    return NULL;
}

PyObject *feed_scan(PyObject *self, PyObject *args)
{
    run r = {.feed = (Feed *)self};
    PyObject *rows;
    if (!PyArg_ParseTuple(args, "y*nnOn:scan", &r.buffer, &r.at, &r.stop, &rows, &r.max_frame))
        return NULL;
    PyObject *result = NULL;
    if (!PyObject_GetBuffer(rows, &r.rows, PyBUF_WRITABLE)) {
        result = take_lines(&r);
        PyBuffer_Release(&r.rows);
    }
    PyBuffer_Release(&r.buffer);
    return result;
}
