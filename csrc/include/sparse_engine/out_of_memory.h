// What is thrown where memory runs out: MemoryError in Python.
#pragma once

#include <cstdio>
#include <new>
#include <string>

namespace sparse_engine {

class OutOfMemory : public std::bad_alloc {
 public:
  // `what_for` as in "cannot allocate 1.50 GB for a tensor of shape [3, 125000000]".
  OutOfMemory(double bytes, const std::string& what_for)
      : text_("cannot allocate " + size(bytes) + " for " + what_for) {}

  // The same, with the name of who asked for it in front.
  OutOfMemory by(const std::string& name) const {
    OutOfMemory named(*this);
    named.text_ = name + " " + text_;
    return named;
  }

  const char* what() const noexcept override { return text_.c_str(); }

 private:
  static std::string size(double bytes) {
    const bool large = bytes >= 1e9;
    char text[32];
    std::snprintf(text, sizeof text, large ? "%.2f GB" : "%.2f MB", bytes / (large ? 1e9 : 1e6));
    return text;
  }

  std::string text_;
};

}  // namespace sparse_engine
