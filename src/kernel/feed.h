/* Feed: one call per frame. What it needs of the package's classes, it is told once, by bind(). */

#ifndef DELTARING_FEED_H
#define DELTARING_FEED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base64.h"
#include "header.h"

typedef struct {
    PyObject_HEAD
    PyObject *pool;
    PyObject *track;      /* where the last frame went, as long as pool.route says so; or NULL */
    long long taken;      /* frames that were answered */
    header_memo memo;
} Feed;

extern PyTypeObject Feed_Type;

/* The path that base64 takes now. */
extern base64_path base64_in_use;

/* Payloads of so many characters are decoded without the interpreter lock: 1 MiB takes some 25 us,
 * which other threads can use. Below, giving the lock away and getting it back would cost more than
 * decoding, and beside a busy thread 5 ms (benchmarks/latency.py). */
#define UNLOCKED_FROM (1 << 20)

/* What became of a delta. */
typedef struct {
    int wants_event;  /* said by the caller */
    PyObject *event;  /* new references; NULL if not wanted */
    PyObject *track;
    long long start, stop, dropped;
    int is_ga;
} feed_answer;

/* Decode a frame, whose bytes must not change meanwhile. Return 1 with the answer, 0 for the slow
 * path, or -1 with an error set. */
int feed_text(Feed *self, const uint8_t *text, Py_ssize_t size, feed_answer *answer);

/* The same for feed(frame): the event, None for the slow path, or NULL with an error set. */
PyObject *feed_event(Feed *self, const uint8_t *text, Py_ssize_t size);

/* The serial of a track. */
long long feed_serial(PyObject *track);

/* Remember the classes whose instances feed_text works on. Return 0, or -1 with an error set. */
int feed_bind(PyObject *pool, PyObject *track, PyObject *ring, PyObject *event);

#endif
