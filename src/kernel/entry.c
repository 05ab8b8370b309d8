/* Entry: Decoder.decode in front of the Python method of that name.
 *
 * Rule: it answers where that method would have nothing to do but what is done here: a frame that
 * feed() answers, and a short one that the typed decoder takes and that means nothing to the tracks.
 * Everything else, errors included, goes to the Python method as if nothing had been tried; nothing
 * has been changed. It is a method descriptor, so a call makes no bound method and no tuple. */

#include "entry.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *method;   /* decode(self, frame) in Python */
    PyTypeObject *owner; /* the class that it belongs to */
    PyObject *typed;    /* decode_known(frame) */
    PyObject *handlers; /* {event class: what it means for the tracks} */
    Py_ssize_t feed, slow, max_frame, shortest; /* where a decoder keeps these */
} Entry;

static int read_size(PyObject *decoder, Py_ssize_t offset, Py_ssize_t *size)
{
    PyObject *value = SLOT(decoder, offset);
    if (!value || !PyLong_CheckExact(value))
        return 0;
    *size = PyLong_AsSsize_t(value);
    if (*size == -1)
        PyErr_Clear();
    return *size >= 0;
}

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
static PyObject *handle(Entry *self, PyObject *decoder, PyObject *event)
{
    PyObject *handler = PyDict_GetItemWithError(self->handlers, (PyObject *)Py_TYPE(event));
    if (handler) {
        PyObject *args[] = {decoder, event};
        return PyObject_Vectorcall(handler, args, 2, NULL);
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(event);
}

/* A short frame by the typed decoder: the event; NULL without an error where that is not enough. */
static PyObject *decode_text(Entry *self, PyObject *decoder, PyObject *frame)
{
    Py_ssize_t slow;
    PyObject *count = NULL, *event = NULL;
    PyObject *plain = PyObject_CallOneArg(self->typed, frame);
    if (plain && read_size(decoder, self->slow, &slow) && (count = PyLong_FromSsize_t(slow + 1)))
        event = handle(self, decoder, plain);
    Py_XDECREF(plain);
    if (event) {
        PyObject *old = SLOT(decoder, self->slow);
        SLOT(decoder, self->slow) = Py_NewRef(count);
        Py_XDECREF(old);
    } else if (PyErr_ExceptionMatches(PyExc_ValueError)
               || PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear(); /* the Python method will find the same, and say it in its own words */
    }
    Py_XDECREF(count);
    return event;
}

/* The event; NULL without an error set where the Python method has to do it. */
static PyObject *decode_quickly(Entry *self, PyObject *decoder, PyObject *frame)
{
    Py_ssize_t size = PyBytes_GET_SIZE(frame), longest, shortest;
    if (!read_size(decoder, self->max_frame, &longest) || size > longest
        || !read_size(decoder, self->shortest, &shortest))
        return NULL;
    if (size <= shortest)
        return decode_text(self, decoder, frame);
    Feed *feed = feed_of(decoder, self->feed);
    PyObject *event = feed ? feed_bytes(feed, frame) : NULL;
    if (event == Py_None)
        Py_CLEAR(event);
    return event;
}

static PyObject *entry_call(PyObject *callable, PyObject *const *args, size_t nargsf,
                            PyObject *names)
{
    Entry *self = (Entry *)callable;
    if (PyVectorcall_NARGS(nargsf) == 2 && !names && PyBytes_CheckExact(args[1])
        && PyObject_TypeCheck(args[0], self->owner)) {
        PyObject *event = decode_quickly(self, args[0], args[1]);
        if (event || PyErr_Occurred())
            return event;
    }
    return PyObject_Vectorcall(self->method, args, nargsf, names);
}

/* --- the type ----------------------------------------------------------------------------------- */

static PyObject *entry_get(PyObject *self, PyObject *decoder, PyObject *type)
{
    return decoder && decoder != Py_None ? PyMethod_New(self, decoder) : Py_NewRef(self);
}

static PyObject *entry_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"method", "owner", "typed", "handlers", NULL};
    PyObject *method, *owner, *typed, *handlers;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!OO!", names, &method, &PyType_Type, &owner,
                                     &typed, &PyDict_Type, &handlers))
        return NULL;
    Entry *self = (Entry *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->vectorcall = entry_call;
    self->method = Py_NewRef(method);
    self->owner = (PyTypeObject *)Py_NewRef(owner);
    self->typed = Py_NewRef(typed);
    self->handlers = Py_NewRef(handlers);
    self->feed = slot_offset(owner, "_feed");
    self->slow = self->feed < 0 ? -1 : slot_offset(owner, "_slow");
    self->max_frame = self->slow < 0 ? -1 : slot_offset(owner, "_max_frame");
    self->shortest = self->max_frame < 0 ? -1 : slot_offset(owner, "_short");
    if (self->shortest < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int entry_traverse(Entry *self, visitproc visit, void *arg)
{
    Py_VISIT(self->method);
    Py_VISIT(self->owner);
    Py_VISIT(self->typed);
    Py_VISIT(self->handlers);
    return 0;
}

static int entry_clear(Entry *self)
{
    Py_CLEAR(self->method);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->typed);
    Py_CLEAR(self->handlers);
    return 0;
}

static void entry_dealloc(Entry *self)
{
    PyObject_GC_UnTrack(self);
    entry_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* Docstring, signature, name: those of the Python method. */
static PyObject *entry_getattro(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr(((Entry *)self)->method, name);
}

static PyMemberDef entry_members[] = {
    {"__wrapped__", T_OBJECT, offsetof(Entry, method), READONLY, NULL},
    {NULL},
};

PyTypeObject Entry_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "deltaring._kernel.Entry",
    .tp_basicsize = sizeof(Entry),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL
                | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_vectorcall_offset = offsetof(Entry, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = entry_get,
    .tp_getattro = entry_getattro,
    .tp_new = entry_new,
    .tp_dealloc = (destructor)entry_dealloc,
    .tp_traverse = (traverseproc)entry_traverse,
    .tp_clear = (inquiry)entry_clear,
    .tp_members = entry_members,
};
