// How an operation is registered for CPU tensors.
#pragma once

#include <torch/csrc/stable/library.h>

#include <utility>

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

}  // namespace sparse_engine::bindings

#define SPARSE_ENGINE_IMPL(library, name, operation)                   \
  do {                                                                 \
    static constexpr char kName[] = name;                              \
    (library).impl(kName, TORCH_BOX(&(Named<operation, kName>::run))); \
  } while (false)
