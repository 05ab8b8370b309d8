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

/* feed(frame) for a bytes object: the event, None for the slow path, or NULL with an error set. */
PyObject *feed_bytes(Feed *self, PyObject *frame);

/* Remember the classes whose instances feed_bytes works on. Return 0, or -1 with an error set. */
int feed_bind(PyObject *pool, PyObject *track, PyObject *ring, PyObject *event);

#endif
