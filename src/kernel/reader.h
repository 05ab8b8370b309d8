/* AudioRing.read_into: a copy, where the buffer is of the ring's own kind. */

#ifndef DELTARING_READER_H
#define DELTARING_READER_H

#include "method.h"

/* read_into_method(python, owner, int16, uint8, ndarray) */
PyObject *read_into_method(PyObject *module, PyObject *args);

#endif
