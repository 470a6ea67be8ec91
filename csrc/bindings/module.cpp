// The Python module that carries the library: importing it registers the operations.
#include <Python.h>

#include <stdexcept>

#include "sparse_engine/kernels.h"

namespace {

PyObject* isa(PyObject*, PyObject*) { return PyUnicode_FromString(sparse_engine::isa_name()); }

PyMethodDef methods[] = {
    {"isa", isa, METH_NOARGS, "Name of the instruction set whose kernels run."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C() {
  try {
    sparse_engine::isa_name();
  } catch (const std::runtime_error& error) {
    PyErr_SetString(PyExc_ImportError, error.what());
    return nullptr;
  }
  return PyModule_Create(&module);
}
