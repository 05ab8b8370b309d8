/* Method: a descriptor like a function's, so a call makes no bound method and no tuple. */

#include "method.h"

#include <stddef.h>
#include <structmember.h>

/* --- slots -------------------------------------------------------------------------------------- */

Py_ssize_t slot_offset(PyObject *type, const char *name)
{
    PyObject *slot = PyType_Check(type) ? PyObject_GetAttrString(type, name) : NULL;
    Py_ssize_t offset = -1;
    if (slot && Py_IS_TYPE(slot, &PyMemberDescr_Type))
        offset = ((PyMemberDescrObject *)slot)->d_member->offset;
    else if (!PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
    Py_XDECREF(slot);
    return offset;
}

int read_count(PyObject *object, Py_ssize_t offset, long long *count)
{
    PyObject *value = SLOT(object, offset);
    if (!value || !PyLong_CheckExact(value))
        return 0;
    int overflow;
    *count = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow && *count >= 0 && *count < 1LL << 62; /* sums must not overflow */
}

Py_buffer *ring_memory(PyObject *view)
{
    if (!view || !PyMemoryView_Check(view))
        return NULL;
    PyMemoryViewObject *object = (PyMemoryViewObject *)view;
    if (object->flags & _Py_MEMORYVIEW_RELEASED
        || object->mbuf->flags & _Py_MANAGED_BUFFER_RELEASED)
        return NULL;
    Py_buffer *memory = PyMemoryView_GET_BUFFER(view);
    int whole = memory->ndim == 1 && memory->itemsize == 1 && memory->strides[0] == 1;
    return whole ? memory : NULL;
}

void set_slot(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = Py_NewRef(value);
    Py_XDECREF(old);
}

/* --- calls -------------------------------------------------------------------------------------- */

static PyObject *method_call(PyObject *callable, PyObject *const *args, size_t nargsf,
                             PyObject *names)
{
    Method *self = (Method *)callable;
    if (PyVectorcall_NARGS(nargsf) == 2 && !names && PyObject_TypeCheck(args[0], self->owner)) {
        PyObject *result = self->attempt(self, args[0], args[1]);
        if (result || PyErr_Occurred())
            return result;
    }
    return PyObject_Vectorcall(self->python, args, nargsf, names);
}

Method *method_new(PyObject *python, PyObject *owner, method_attempt attempt,
                   const char *const *names)
{
    Py_ssize_t slots[METHOD_SLOTS] = {0};
    for (int i = 0; names[i]; i++)
        if ((slots[i] = slot_offset(owner, names[i])) < 0)
            return NULL;
    Method *self = (Method *)Method_Type.tp_alloc(&Method_Type, 0);
    if (self) {
        self->vectorcall = method_call;
        self->attempt = attempt;
        self->python = Py_NewRef(python);
        self->owner = (PyTypeObject *)Py_NewRef(owner);
        memcpy(self->slots, slots, sizeof slots);
    }
    return self;
}

/* --- the type ----------------------------------------------------------------------------------- */

static PyObject *method_get(PyObject *self, PyObject *instance, PyObject *type)
{
    return instance && instance != Py_None ? PyMethod_New(self, instance) : Py_NewRef(self);
}

static int method_traverse(Method *self, visitproc visit, void *arg)
{
    Py_VISIT(self->python);
    Py_VISIT(self->owner);
    for (int i = 0; i < METHOD_OBJECTS; i++)
        Py_VISIT(self->objects[i]);
    return 0;
}

static int method_clear(Method *self)
{
    Py_CLEAR(self->python);
    Py_CLEAR(self->owner);
    for (int i = 0; i < METHOD_OBJECTS; i++)
        Py_CLEAR(self->objects[i]);
    return 0;
}

static void method_dealloc(Method *self)
{
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    method_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* Docstring, signature and name are those of the method in Python. */
static PyObject *method_getattro(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr(((Method *)self)->python, name);
}

static PyMemberDef method_members[] = {
    {"__wrapped__", T_OBJECT, offsetof(Method, python), READONLY, NULL},
    {NULL},
};

static PyObject *method_doc(PyObject *self, void *nothing)
{
    return PyObject_GetAttrString(((Method *)self)->python, "__doc__");
}

static PyGetSetDef method_getset[] = {
    {"__doc__", method_doc, NULL, NULL, NULL},
    {NULL},
};

PyTypeObject Method_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "deltaring._kernel.Method",
    .tp_basicsize = sizeof(Method),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL
                | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_weaklistoffset = offsetof(Method, weakrefs),
    .tp_vectorcall_offset = offsetof(Method, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = method_get,
    .tp_getattro = method_getattro,
    .tp_dealloc = (destructor)method_dealloc,
    .tp_traverse = (traverseproc)method_traverse,
    .tp_clear = (inquiry)method_clear,
    .tp_members = method_members,
    .tp_getset = method_getset,
};
