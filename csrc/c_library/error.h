// The exception that the C library uses internally: a status and its message.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "sparse_engine.h"

namespace sparse_engine::c_library {

class Error : public std::runtime_error {
 public:
  Error(se_status status, const std::string& text) : std::runtime_error(text), status(status) {}

  const se_status status;
};

template <class... Parts>
[[noreturn]] void fail(se_status status, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(status, text.str());
}

}  // namespace sparse_engine::c_library
