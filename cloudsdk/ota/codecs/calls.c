/* Single blocks without cffi, whose call would cost more than the coding.
 *
 * A function made by `bind` codes exact bytes as far as `output` goes, with the interpreter's lock held. For
 * anything else (other types, larger blocks, every error) it calls the Python function it is bound to.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "core.h"

enum { OUTPUT_SIZE = 64 * 1024 }; /* bytes */

typedef int64_t (*decoder)(const uint8_t *, size_t, uint8_t *, size_t, core_fault *);
typedef int64_t (*encoder)(const uint8_t *, size_t, uint8_t *, size_t);

/* Where everything is coded; the interpreter's lock gives it one user at a time. */
static uint8_t output[OUTPUT_SIZE];

static const uint8_t *content(PyObject *bytes) { return (const uint8_t *)PyBytes_AsString(bytes); }

static PyObject *output_bytes(int64_t size)
{
    return PyBytes_FromStringAndSize((const char *)output, (Py_ssize_t)size);
}

static PyObject *decompress(decoder decode, PyObject *otherwise, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "decompress takes a block and a size, not %zd arguments", count);
    if (PyBytes_CheckExact(args[0]) && PyLong_CheckExact(args[1])) {
        int overflow; /* then max_size is -1 */
        long long max_size = PyLong_AsLongLongAndOverflow(args[1], &overflow);
        int64_t size = decode(content(args[0]), (size_t)PyBytes_Size(args[0]), output, sizeof output, NULL);
        if (0 <= size && size <= max_size)
            return output_bytes(size);
    }
    return PyObject_CallFunctionObjArgs(otherwise, args[0], args[1], NULL);
}

static PyObject *compress(encoder encode, PyObject *otherwise, PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        /* The encoder refuses data whose block might not fit. */
        int64_t size = encode(content(data), (size_t)PyBytes_Size(data), output, sizeof output);
        if (size >= 0)
            return output_bytes(size);
    }
    return PyObject_CallFunctionObjArgs(otherwise, data, NULL);
}

static PyObject *quicklz_decompress(PyObject *otherwise, PyObject *const *args, Py_ssize_t count)
{
    return decompress(core_quicklz_decode, otherwise, args, count);
}

static PyObject *fastlz_decompress(PyObject *otherwise, PyObject *const *args, Py_ssize_t count)
{
    return decompress(core_fastlz_decode, otherwise, args, count);
}

static PyObject *quicklz_compress(PyObject *otherwise, PyObject *data)
{
    return compress(core_quicklz_encode, otherwise, data);
}

static PyObject *fastlz_compress(PyObject *otherwise, PyObject *data)
{
    return compress(core_fastlz_encode, otherwise, data);
}

static PyMethodDef BOUND[] = {
    {"quicklz_decompress", (PyCFunction)(void (*)(void))quicklz_decompress, METH_FASTCALL, NULL},
    {"fastlz_decompress", (PyCFunction)(void (*)(void))fastlz_decompress, METH_FASTCALL, NULL},
    {"quicklz_compress", quicklz_compress, METH_O, NULL},
    {"fastlz_compress", fastlz_compress, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *bind(PyObject *module, PyObject *args)
{
    const char *name;
    PyObject *otherwise;

    (void)module;
    if (!PyArg_ParseTuple(args, "sO:bind", &name, &otherwise))
        return NULL;
    for (PyMethodDef *method = BOUND; method->ml_name; method++) {
        if (strcmp(name, method->ml_name) == 0)
            return PyCFunction_New(method, otherwise);
    }
    return PyErr_Format(PyExc_ValueError, "there is no function %s", name);
}

static PyMethodDef METHODS[] = {
    {"bind", bind, METH_VARARGS, "The function `name` of the core, with a Python function for what it does not do."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, .m_name = "_calls", .m_size = -1, .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__calls(void) { return PyModule_Create(&MODULE); }
