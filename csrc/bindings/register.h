// How an operation is registered: its schema, and what runs it on CPU and on CUDA tensors.
#pragma once

#include <torch/csrc/stable/library.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "cuda.h"
#include "sparse_engine/out_of_memory.h"

namespace sparse_engine::bindings {

// An operation that says its name where memory runs out.
template <auto operation, const char* kName>
struct Named;

template <class Result, class... Args, Result (*operation)(Args...), const char* kName>
struct Named<operation, kName> {
  static Result run(Args... args) {
    try {
      return operation(std::forward<Args>(args)...);
    } catch (const OutOfMemory& error) {
      throw error.by(std::string("sparse_engine::") + kName);
    }
  }
};

// What an operation without a CUDA kernel says to a CUDA tensor. Its name is a template's argument,
// because a boxed function is not told which operation it is.
template <const char* kName>
void refuse(StableIValue*, uint64_t, uint64_t) {
  throw std::invalid_argument(
      std::string("expected tensors on the CPU, found one on a CUDA device: ") + kName +
      " has no CUDA kernel yet");
}

}  // namespace sparse_engine::bindings

// Registers a function for CPU tensors alone, as the operation of this name.
#define SPARSE_ENGINE_ON_CPU(name, function, schema)                      \
  STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) { m.def(name schema); } \
  STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {                      \
    static constexpr char kName[] = name;                                 \
    m.impl(kName, TORCH_BOX(&(Named<function, kName>::run)));             \
  }

// Registers a function as the operation of this name. The schema is a string without the name.
#define SPARSE_ENGINE_OPERATION(name, function, schema) \
  SPARSE_ENGINE_ON_CPU(name, function, schema)          \
  STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {   \
    m.impl(name, TORCH_BOX(&Cuda<function>::run));      \
  }

// The same for an operation that has no CUDA kernel.
#define SPARSE_ENGINE_CPU_OPERATION(name, function, schema) \
  SPARSE_ENGINE_ON_CPU(name, function, schema)              \
  STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {       \
    static constexpr char kName[] = name;                   \
    m.impl(kName, &refuse<kName>);                          \
  }
