/* scan: the audio deltas at the front of a buffer of lines, in one call. */

#ifndef DELTARING_SCAN_H
#define DELTARING_SCAN_H

#include "feed.h"

/* Feed.scan(buffer, start, stop, rows, max_frame) */
PyObject *feed_scan(PyObject *self, PyObject *args);

#endif
