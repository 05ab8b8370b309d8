/* Rule: the consumer's side. Samples are copied before `consumed` moves, and nothing else is changed.
 * A buffer of another kind, shape or stride goes to the method in Python, which takes or refuses it. */

#include "reader.h"

#include <string.h>

enum { INT16, UINT8, ARRAY }; /* objects: the dtypes of a ring that are known here, np.ndarray */
enum { DTYPE, BUFFER, CAPACITY, WRITTEN, CONSUMED, ORIGIN }; /* slots */

/* Bytes of a sample, and their format in a buffer; 0 where the ring is of another kind. */
static Py_ssize_t sample_size(Method *self, PyObject *ring, char *format)
{
    PyObject *dtype = SLOT(ring, self->slots[DTYPE]);
    *format = dtype == self->objects[INT16] ? 'h' : 'B';
    return dtype == self->objects[INT16] ? 2 : dtype == self->objects[UINT8] ? 1 : 0;
}

/* How many of `room` samples were copied, or -1 where the ring is not as it should be. */
static long long copy(Method *self, PyObject *ring, char *out, long long room, Py_ssize_t size)
{
    long long capacity, written, consumed, origin;
    const Py_buffer *memory = ring_memory(SLOT(ring, self->slots[BUFFER]));
    if (!memory || !read_count(ring, self->slots[CONSUMED], &consumed)
        || !read_count(ring, self->slots[WRITTEN], &written)
        || !read_count(ring, self->slots[CAPACITY], &capacity)
        || !read_count(ring, self->slots[ORIGIN], &origin))
        return -1;
    long long count = written - consumed < room ? written - consumed : room;
    if (count <= 0)
        return count;
    if (consumed < origin || written - consumed > capacity || memory->len / size < capacity)
        return -1;
    long long start = (consumed - origin) % capacity;
    long long first = capacity - start < count ? capacity - start : count;
    /* Somebody may read into the memory that they gave the ring. */
    memmove(out, (char *)memory->buf + start * size, (size_t)(first * size));
    memmove(out + first * size, memory->buf, (size_t)((count - first) * size));
    PyObject *now = PyLong_FromLongLong(consumed + count);
    if (!now)
        return -1;
    set_slot(ring, self->slots[CONSUMED], now);
    Py_DECREF(now);
    return count;
}

static PyObject *read_into(Method *self, PyObject *ring, PyObject *out)
{
    char format;
    Py_buffer buffer;
    long long count = -1;
    Py_ssize_t size = sample_size(self, ring, &format);
    if (!size || (PyObject *)Py_TYPE(out) != self->objects[ARRAY])
        return NULL;
    if (PyObject_GetBuffer(out, &buffer, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_ND)) {
        PyErr_Clear();
        return NULL;
    }
    if (buffer.ndim == 1 && buffer.itemsize == size && buffer.format && buffer.format[0] == format
        && !buffer.format[1])
        count = copy(self, ring, buffer.buf, buffer.len / size, size);
    PyBuffer_Release(&buffer);
    return count < 0 ? NULL : PyLong_FromLongLong(count);
}

PyObject *read_into_method(PyObject *module, PyObject *args)
{
    static const char *const slots[] = {"dtype",    "_buffer",  "capacity", "written",
                                        "consumed", "_origin", NULL};
    PyObject *python, *owner, *int16, *uint8, *array;
    if (!PyArg_ParseTuple(args, "OO!OOO:read_into_method", &python, &PyType_Type, &owner, &int16,
                          &uint8, &array))
        return NULL;
    Method *method = method_new(python, owner, read_into, slots);
    if (method) {
        method->objects[INT16] = Py_NewRef(int16);
        method->objects[UINT8] = Py_NewRef(uint8);
        method->objects[ARRAY] = Py_NewRef(array);
    }
    return (PyObject *)method;
}
