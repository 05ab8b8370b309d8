/* Method: something that is tried in C before a method in Python is called. */

#ifndef DELTARING_METHOD_H
#define DELTARING_METHOD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define METHOD_OBJECTS 3
#define METHOD_SLOTS 7

typedef struct method Method;

/* The result of self.method(argument); NULL with an error set; or NULL without one, having changed
 * nothing, where the method in Python has to do it. */
typedef PyObject *(*method_attempt)(Method *method, PyObject *self, PyObject *argument);

struct method {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    method_attempt attempt;
    PyObject *python;                  /* the method in Python */
    PyTypeObject *owner;               /* the class that it belongs to */
    PyObject *objects[METHOD_OBJECTS]; /* whatever the attempt needs; may be NULL */
    Py_ssize_t slots[METHOD_SLOTS];    /* where instances of the owner keep what it needs */
    PyObject *weakrefs;
};

extern PyTypeObject Method_Type;

/* Make one, with the offsets of `names` (METHOD_SLOTS at most, ended by NULL) in `owner`. */
Method *method_new(PyObject *python, PyObject *owner, method_attempt attempt,
                   const char *const *names);

/* A count in a slot: 1, or 0 where there is none. */
int read_count(PyObject *object, Py_ssize_t offset, long long *count);

/* The memory of a ring, behind the memoryview that it keeps: bytes in one piece; or NULL. */
Py_buffer *ring_memory(PyObject *view);

/* Put a value into a slot; the slot takes a reference of its own. */
void set_slot(PyObject *object, Py_ssize_t offset, PyObject *value);

/* Where instances of a class with __slots__ keep that one; -1 with an error set if they don't. */
Py_ssize_t slot_offset(PyObject *type, const char *name);

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

#endif
