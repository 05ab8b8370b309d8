/* deltaring._kernel: the compiled form of the kernel. See docs/kernel.md. */

#include <string.h>

#include "entry.h"
#include "feed.h"
#include "reader.h"

static PyObject *bind(PyObject *module, PyObject *args)
{
    PyObject *pool, *track, *ring, *event;
    if (!PyArg_ParseTuple(args, "OOOO:bind", &pool, &track, &ring, &event)
        || feed_bind(pool, track, ring, event))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *simd_paths(PyObject *module, PyObject *nothing)
{
    PyObject *names = PyList_New(0);
    for (const base64_path *path = base64_paths(); names && path->name; path++) {
        PyObject *name = PyUnicode_FromString(path->name);
        if (!name || PyList_Append(names, name))
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *simd(PyObject *module, PyObject *nothing)
{
    return PyUnicode_FromString(base64_in_use.name);
}

static PyObject *use_simd(PyObject *module, PyObject *name)
{
    const char *wanted = PyUnicode_AsUTF8(name);
    if (!wanted)
        return NULL;
    for (const base64_path *path = base64_paths(); path->name; path++) {
        if (!strcmp(path->name, wanted)) {
            base64_in_use = *path;
            Py_RETURN_NONE;
        }
    }
    PyErr_Format(PyExc_ValueError, "this processor has no path %R", name);
    return NULL;
}

static PyObject *decode_quads(PyObject *module, PyObject *args)
{
    Py_buffer text, out;
    if (!PyArg_ParseTuple(args, "y*w*:decode_quads", &text, &out))
        return NULL;
    PyObject *result = NULL;
    if (text.len % 4 || out.len != text.len / 4 * 3)
        PyErr_SetString(PyExc_ValueError, "out must have 3 bytes for each 4 of text");
    else
        result = PyBool_FromLong(!base64_in_use.decode(text.buf, (size_t)text.len / 4, out.buf));
    PyBuffer_Release(&text);
    PyBuffer_Release(&out);
    return result;
}

static PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS,
     "bind(TrackPool, Track, AudioRing, AudioDelta)\n--\n\nSay whose slots feed() works on."},
    {"decode_method", decode_method, METH_VARARGS,
     "decode_method(python, owner, typed, handlers)\n--\n\nWhat is tried before Decoder.decode."},
    {"read_into_method", read_into_method, METH_VARARGS,
     "read_into_method(python, owner, int16, uint8, ndarray)\n--\n\nThe same for AudioRing.read_into."},
    {"decode_quads", decode_quads, METH_VARARGS,
     "decode_quads(text, out)\n--\n\nDecode whole quads by the path in use, for its tests; True if "
     "they were base64."},
    {"simd_paths", simd_paths, METH_NOARGS,
     "simd_paths()\n--\n\nThe base64 paths that this processor can run, the fastest first."},
    {"simd", simd, METH_NOARGS, "simd()\n--\n\nThe base64 path in use."},
    {"use_simd", use_simd, METH_O,
     "use_simd(name)\n--\n\nUse that path. ValueError where the processor has no such path."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "deltaring._kernel",
    .m_doc = "The compiled form of the kernel; deltaring.kernel chooses.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    base64_in_use = *base64_paths();
    if (PyType_Ready(&Feed_Type) || PyType_Ready(&Method_Type))
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddObjectRef(module, "Feed", (PyObject *)&Feed_Type))
        Py_CLEAR(module);
    return module;
}
