/* Rule: what is answered here is what the method in Python would have nothing to do about but what is
 * done here: a frame that feed() answers, and a short one of no audio. Everything else, errors
 * included, goes to that method as if nothing had been tried; nothing has been changed. */

#include "entry.h"

#include "feed.h"

enum { TYPED, HANDLERS };             /* objects: decode_known, {event class: its meaning} */
enum { FEED, SLOW, MAX_FRAME, SHORT }; /* slots */

/* The Feed whose method `feed` the decoder has; NULL if it has another function in its place. */
static Feed *feed_of(PyObject *decoder, Py_ssize_t offset)
{
    PyObject *feed = SLOT(decoder, offset);
    if (!feed || !PyCFunction_Check(feed))
        return NULL;
    PyObject *self = PyCFunction_GET_SELF(feed);
    return self && Py_IS_TYPE(self, &Feed_Type) ? (Feed *)self : NULL;
}

/* A short frame by the typed decoder: the event; NULL without an error where there is more to do. */
static PyObject *decode_text(Method *self, PyObject *decoder, PyObject *frame)
{
    long long slow;
    PyObject *count = NULL, *event = PyObject_CallOneArg(self->objects[TYPED], frame);
    if (!event) {
        if (PyErr_ExceptionMatches(PyExc_Exception))
            PyErr_Clear(); /* Python will find the same, and say it in its own words */
        return NULL;
    }
    /* What means something for the tracks is for Python: an event must not be handled twice. */
    int means = PyDict_Contains(self->objects[HANDLERS], (PyObject *)Py_TYPE(event));
    if (!means && read_count(decoder, self->slots[SLOW], &slow)
        && (count = PyLong_FromLongLong(slow + 1)))
        set_slot(decoder, self->slots[SLOW], count);
    else
        Py_CLEAR(event);
    Py_XDECREF(count);
    return event;
}

/* The bytes of a frame where they lie. A buffer is held until it is given back. */
typedef struct {
    const uint8_t *text;
    Py_ssize_t size;
    Py_buffer buffer; /* .obj is NULL where there is nothing to give back */
} borrowed;

static int borrow_buffer(PyObject *frame, borrowed *from)
{
    if (PyObject_GetBuffer(frame, &from->buffer, PyBUF_SIMPLE)) {
        PyErr_Clear();
        return 0;
    }
    from->text = from->buffer.buf;
    from->size = from->buffer.len;
    /* Without the lock, others could change what is read: Python makes a copy of that. */
    return from->size < UNLOCKED_FROM || from->buffer.readonly;
}

/* Return 0 for a frame whose bytes have to be made first, and for what is none. */
static int borrow(PyObject *frame, borrowed *from)
{
    from->buffer.obj = NULL;
    if (PyBytes_CheckExact(frame)) {
        from->text = (const uint8_t *)PyBytes_AS_STRING(frame);
        from->size = PyBytes_GET_SIZE(frame);
        return 1;
    }
    if (PyUnicode_CheckExact(frame) && PyUnicode_IS_COMPACT_ASCII(frame)) {
        from->text = PyUnicode_1BYTE_DATA(frame);
        from->size = PyUnicode_GET_LENGTH(frame);
        return 1;
    }
    return (PyMemoryView_Check(frame) || PyByteArray_CheckExact(frame))
           && borrow_buffer(frame, from);
}

static PyObject *decode_borrowed(Method *self, PyObject *decoder, PyObject *frame,
                                 const borrowed *from)
{
    long long longest, shortest;
    if (!read_count(decoder, self->slots[MAX_FRAME], &longest) || from->size > longest
        || !read_count(decoder, self->slots[SHORT], &shortest))
        return NULL;
    if (from->size <= shortest)
        return decode_text(self, decoder, frame);
    Feed *feed = feed_of(decoder, self->slots[FEED]);
    if (!feed)
        return NULL;
    Py_INCREF(feed); /* the pool runs Python, which may give the decoder another one */
    PyObject *event = feed_event(feed, from->text, from->size);
    Py_DECREF(feed);
    if (event == Py_None)
        Py_CLEAR(event);
    return event;
}

/* The event; NULL without an error set where the Python method has to do it. */
static PyObject *decode_quickly(Method *self, PyObject *decoder, PyObject *frame)
{
    borrowed from;
    PyObject *event = borrow(frame, &from) ? decode_borrowed(self, decoder, frame, &from) : NULL;
    if (from.buffer.obj)
        PyBuffer_Release(&from.buffer);
    return event;
}

PyObject *decode_method(PyObject *module, PyObject *args)
{
    static const char *const slots[] = {"_feed", "_slow", "_max_frame", "_short", NULL};
    PyObject *python, *owner, *typed, *handlers;
    if (!PyArg_ParseTuple(args, "OO!OO!:decode_method", &python, &PyType_Type, &owner, &typed,
                          &PyDict_Type, &handlers))
        return NULL;
    Method *method = method_new(python, owner, decode_quickly, slots);
    if (method) {
        method->objects[TYPED] = Py_NewRef(typed);
        method->objects[HANDLERS] = Py_NewRef(handlers);
    }
    return (PyObject *)method;
}
