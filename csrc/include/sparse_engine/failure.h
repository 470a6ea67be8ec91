// What is thrown inside a parallel region, which no exception may leave.
#pragma once

#include <exception>
#include <mutex>

namespace sparse_engine {

class Failure {
 public:
  // Runs body() and keeps what it throws. Any thread may call this.
  template <class Body>
  void guard(const Body& body) {
    try {
      body();
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      thrown_ = std::current_exception();
    }
  }

  // Throws what was kept, behind the region.
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr thrown_;
};

}  // namespace sparse_engine
