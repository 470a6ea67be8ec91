// The Python module that carries the library: importing it registers the operations.
#include <Python.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string_view>

#include "sparse_engine/counters.h"
#include "sparse_engine/kernels.h"
#include "sparse_engine/threads.h"
#include "sparse_engine/ways.h"

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

PyObject* most_threads(PyObject*, PyObject*) {
  return PyLong_FromLong(sparse_engine::most_threads());
}

PyObject* set_most_threads(PyObject*, PyObject* argument) {
  const long threads = PyLong_AsLong(argument);
  if (threads == -1 && PyErr_Occurred()) return nullptr;
  if (threads < 1)
    return PyErr_Format(PyExc_ValueError, "expected at least 1 thread, found %ld", threads);
  sparse_engine::set_most_threads(std::min<long>(threads, std::numeric_limits<int>::max()));
  Py_RETURN_NONE;
}

PyObject* set_way(PyObject*, PyObject* argument) {
  using namespace sparse_engine;
  int way = -1;
  if (argument != Py_None) {
    const char* name = PyUnicode_AsUTF8AndSize(argument, nullptr);
    if (name == nullptr) return nullptr;
    way = static_cast<int>(std::find(kWayNames, kWayNames + kWays, std::string_view(name)) -
                           kWayNames);
    if (way == kWays)
      return PyErr_Format(PyExc_ValueError, "expected rows, columns, alone or None, found %R",
                          argument);
  }
  forced_way.store(way, std::memory_order_relaxed);
  Py_RETURN_NONE;
}

PyObject* counters(PyObject*, PyObject*) {
  const sparse_engine::Counters& now = sparse_engine::counters;
  const auto read = [](const std::atomic<int64_t>& counter) {
    return static_cast<long long>(counter.load(std::memory_order_relaxed));
  };
  return Py_BuildValue("{s:L,s:L,s:L,s:L,s:L,s:L,s:L}", "teams", read(now.teams), "members",
                       read(now.members), "alone", read(now.alone), "grouped_products",
                       read(now.grouped_products), "parts", read(now.parts), "event_products",
                       read(now.event_products), "pooled_bytes",
                       static_cast<long long>(sparse_engine::pooled_bytes()));
}

PyMethodDef methods[] = {
    {"isa", isa, METH_NOARGS, "Name of the instruction set whose kernels run."},
    {"built_isas", built_isas, METH_NOARGS, "Names of the instruction sets that were built."},
    {"built_with_cuda", built_with_cuda, METH_NOARGS, "Whether the kernels of the GPU are here."},
    {"most_threads", most_threads, METH_NOARGS, "Greatest number of threads of an operation."},
    {"set_most_threads", set_most_threads, METH_O, "Set the greatest number of threads."},
    {"set_way", set_way, METH_O,
     "Set the way that all regions take: rows, columns or alone; None for the quickest."},
    {"counters", counters, METH_NOARGS, "Counts of teams and fast paths, bytes of the pool."},
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
