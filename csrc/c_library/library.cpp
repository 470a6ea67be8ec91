// The functions of sparse_engine.h: arguments are checked, and what is thrown becomes a status.
#include <limits>
#include <new>

#include "error.h"
#include "network.h"
#include "safetensors.h"
#include "sparse_engine.h"
#include "sparse_engine/threads.h"

namespace c = sparse_engine::c_library;

struct se_file {
  c::Safetensors tensors;
};
struct se_recurrent {
  c::Recurrent network;
};
struct se_linear {
  c::Linear layer;
};

namespace {

thread_local char last_error[512] = "";

se_status failed(se_status status, const char* text) {
  std::snprintf(last_error, sizeof last_error, "%s", text);
  return status;
}

template <class Body>
se_status guarded(const Body& body) {
  try {
    body();
    return SE_OK;
  } catch (const c::Error& error) {
    return failed(error.status, error.what());
  } catch (const std::bad_alloc&) {
    return failed(SE_ERROR_MEMORY, "expected more memory, found none left");
  } catch (const std::exception& error) {  // of a processor that no kernel was built for
    return failed(SE_ERROR_UNSUPPORTED, error.what());
  }
}

void check_pointer(const void* pointer, const char* name) {
  if (pointer == nullptr) c::fail(SE_ERROR_ARGUMENT, "expected ", name, ", found a null pointer");
}

void check_size(int64_t size, const char* name) {
  if (size < 1) c::fail(SE_ERROR_ARGUMENT, "expected ", name, " of at least 1, found ", size);
}

// That arrays of so many numbers have a size in bytes.
void check_product(int64_t steps, int64_t batch, int64_t features) {
  int64_t size = sizeof(float);
  for (const int64_t n : {steps, batch, features})
    if (__builtin_mul_overflow(size, n, &size) || size > std::numeric_limits<int64_t>::max() / 16)
      c::fail(SE_ERROR_ARGUMENT, "expected arrays that fit into memory, found ", steps, " x ",
              batch, " x ", features, " numbers");
}

void check_inputs(int64_t inputs, const char* name) {
  if (inputs < 0) c::fail(SE_ERROR_ARGUMENT, "expected ", name, " of at least 0, found ", inputs);
}

}  // namespace

#define SE_API __attribute__((visibility("default")))

extern "C" {

SE_API const char* se_last_error(void) { return last_error; }

SE_API se_status se_set_threads(int threads) {
  return guarded([&] {
    check_size(threads, "threads");
    sparse_engine::set_most_threads(threads);
  });
}

SE_API se_status se_open(const char* path, se_file** file) {
  return guarded([&] {
    check_pointer(file, "file");
    *file = nullptr;
    check_pointer(path, "path");
    *file = new se_file{c::Safetensors(path)};
  });
}

SE_API void se_close(se_file* file) { delete file; }

SE_API se_status se_recurrent_load(const se_file* file, const char* name, int kind,
                                   int64_t input_size, se_recurrent** network) {
  return guarded([&] {
    check_pointer(network, "network");
    *network = nullptr;
    check_pointer(file, "file"), check_pointer(name, "name");
    check_inputs(input_size, "input_size");
    *network = new se_recurrent{c::Recurrent(file->tensors, name, kind, input_size)};
  });
}

SE_API void se_recurrent_free(se_recurrent* network) { delete network; }

SE_API int64_t se_recurrent_input_size(const se_recurrent* network) {
  return network ? network->network.inputs() : 0;
}
SE_API int64_t se_recurrent_hidden_size(const se_recurrent* network) {
  return network ? network->network.hidden() : 0;
}
SE_API int64_t se_recurrent_layers(const se_recurrent* network) {
  return network ? network->network.layers() : 0;
}

SE_API se_status se_recurrent_forward(const se_recurrent* network, const float* x, int64_t steps,
                                      int64_t batch, float* h, float* c_state, float* y) {
  return guarded([&] {
    check_pointer(network, "network"), check_pointer(x, "x"), check_pointer(y, "y");
    check_size(steps, "steps"), check_size(batch, "batch");
    const auto& own = network->network;
    check_product(steps, batch, 4 * std::max(own.inputs(), own.hidden()));
    if ((c_state != nullptr) != (h != nullptr && own.has_memory()))
      c::fail(SE_ERROR_ARGUMENT,
              "expected c exactly where there is h, of an LSTM only, found another combination");
    own.run(x, steps, batch, h, c_state, y);
  });
}

SE_API se_status se_recurrent_step(const se_recurrent* network, const float* x, int64_t batch,
                                   float* h, float* c_state, float* y) {
  return se_recurrent_forward(network, x, 1, batch, h, c_state, y);
}

SE_API se_status se_linear_load(const se_file* file, const char* name, int64_t in_features,
                                se_linear** layer) {
  return guarded([&] {
    check_pointer(layer, "layer");
    *layer = nullptr;
    check_pointer(file, "file"), check_pointer(name, "name");
    check_inputs(in_features, "in_features");
    *layer = new se_linear{c::Linear(file->tensors, name, in_features)};
  });
}

SE_API void se_linear_free(se_linear* layer) { delete layer; }

SE_API int64_t se_linear_in_features(const se_linear* layer) {
  return layer ? layer->layer.inputs() : 0;
}
SE_API int64_t se_linear_out_features(const se_linear* layer) {
  return layer ? layer->layer.outputs() : 0;
}

SE_API se_status se_linear_forward(const se_linear* layer, const float* x, int64_t rows, float* y) {
  return guarded([&] {
    check_pointer(layer, "layer"), check_pointer(x, "x"), check_pointer(y, "y");
    check_size(rows, "rows");
    check_product(rows, 1, std::max(layer->layer.inputs(), layer->layer.outputs()));
    layer->layer.run(x, rows, y);
  });
}

}  // extern "C"
