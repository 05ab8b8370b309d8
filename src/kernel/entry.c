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

/* What an event means for the tracks: a new reference to the event that it becomes. */
static PyObject *handle(Method *self, PyObject *decoder, PyObject *event)
{
    PyObject *handler = PyDict_GetItemWithError(self->objects[HANDLERS], (PyObject *)Py_TYPE(event));
    if (handler) {
        PyObject *args[] = {decoder, event};
        return PyObject_Vectorcall(handler, args, 2, NULL);
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(event);
}

/* A short frame by the typed decoder: the event; NULL without an error where that is not enough. */
static PyObject *decode_text(Method *self, PyObject *decoder, PyObject *frame)
{
    long long slow;
    PyObject *count = NULL, *event = NULL;
    PyObject *plain = PyObject_CallOneArg(self->objects[TYPED], frame);
    if (plain && read_count(decoder, self->slots[SLOW], &slow) && (count = PyLong_FromLongLong(slow + 1)))
        event = handle(self, decoder, plain);
    Py_XDECREF(plain);
    if (event) {
        set_slot(decoder, self->slots[SLOW], count);
    } else if (PyErr_ExceptionMatches(PyExc_ValueError)
               || PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear(); /* the Python method will find the same, and say it in its own words */
    }
    Py_XDECREF(count);
    return event;
}

/* The event; NULL without an error set where the Python method has to do it. */
static PyObject *decode_quickly(Method *self, PyObject *decoder, PyObject *frame)
{
    long long size, longest, shortest;
    if (!PyBytes_CheckExact(frame))
        return NULL;
    size = PyBytes_GET_SIZE(frame);
    if (!read_count(decoder, self->slots[MAX_FRAME], &longest) || size > longest
        || !read_count(decoder, self->slots[SHORT], &shortest))
        return NULL;
    if (size <= shortest)
        return decode_text(self, decoder, frame);
    Feed *feed = feed_of(decoder, self->slots[FEED]);
    PyObject *event = feed ? feed_bytes(feed, frame) : NULL;
    if (event == Py_None)
        Py_CLEAR(event);
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
