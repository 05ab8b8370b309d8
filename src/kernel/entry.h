/* Decoder.decode: the fast path, and short text, before the method in Python. */

#ifndef DELTARING_ENTRY_H
#define DELTARING_ENTRY_H

#include "method.h"

/* decode_method(python, owner, typed, handlers) */
PyObject *decode_method(PyObject *module, PyObject *args);

#endif
