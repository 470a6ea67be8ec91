// The Python module that carries the library: importing it registers the operations.
#include <Python.h>

#include <stdexcept>

#include "sparse_engine/kernels.h"

namespace {

PyObject* isa(PyObject*, PyObject*) { return PyUnicode_FromString(sparse_engine::isa_name()); }

PyObject* built_isas(PyObject*, PyObject*) {
  return PyUnicode_FromString(sparse_engine::built_isa_names().c_str());
}

PyObject* built_with_cuda(PyObject*, PyObject*) {
#ifdef SPARSE_ENGINE_WITH_CUDA
  return PyBool_FromLong(1);
#else
  return PyBool_FromLong(0);
#endif
}

PyMethodDef methods[] = {
    {"isa", isa, METH_NOARGS, "Name of the instruction set whose kernels run."},
    {"built_isas", built_isas, METH_NOARGS, "Names of the instruction sets that were built."},
    {"built_with_cuda", built_with_cuda, METH_NOARGS, "Whether the kernels of the GPU are here."},
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
