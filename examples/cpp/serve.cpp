// Serves a packaged network (export_package.py) without Python.
//
//     make -C examples/cpp
//     examples/cpp/serve lstm.pt2 50 1 64 <x.f32 >y.f32
//
// The arguments are the package and the numbers of steps, sequences and inputs. x comes as raw
// floats [steps, batch, inputs], and the network's output leaves so. With a further argument N the
// network is run N more times, and the median of the microseconds is written to stderr.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

namespace {

int serve(int argc, char** argv) {
  const int64_t steps = std::atoll(argv[2]), batch = std::atoll(argv[3]);
  const int64_t inputs = std::atoll(argv[4]);
  const c10::InferenceMode inference;
  at::set_num_threads(1);  // a step of few sequences gains little from more
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) at::set_num_threads(std::atoi(threads));
  torch::inductor::AOTIModelPackageLoader network(argv[1]);

  const at::Tensor x = torch::empty({steps, batch, inputs});
  const auto count = static_cast<size_t>(x.numel());
  if (std::fread(x.mutable_data_ptr<float>(), sizeof(float), count, stdin) != count) {
    std::fprintf(stderr, "expected %zu floats of x\n", count);
    return 1;
  }
  const at::Tensor y = network.run({x})[0].contiguous();
  const auto size = static_cast<size_t>(y.numel());
  std::fwrite(y.const_data_ptr<float>(), sizeof(float), size, stdout);

  std::vector<double> times(argc > 5 ? std::atoi(argv[5]) : 0);
  for (double& time : times) {
    const auto start = std::chrono::steady_clock::now();
    network.run({x});
    time =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  }
  std::sort(times.begin(), times.end());
  if (!times.empty()) std::fprintf(stderr, "%.2f us\n", times[times.size() / 2]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: serve PACKAGE STEPS BATCH INPUTS [REPEATS] <x >y\n");
    return 64;
  }
  try {
    return serve(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
