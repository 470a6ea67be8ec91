// Files of tensors: eight bytes with the length of a header, the header in JSON, and the data.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sparse_engine::c_library {

// The description of a tensor in the header.
struct Entry {
  std::string dtype;  // "F32", "I64", ...
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes of the data
};

using Header = std::map<std::string, Entry>;

// Throws Error for a text that is no header, or whose tensors are not within `bytes` bytes of data.
Header parsed(const std::string& text, int64_t bytes);

class Safetensors {
 public:
  explicit Safetensors(const char* path);

  const Header& header() const { return header_; }
  bool has(const std::string& name) const { return header_.count(name) > 0; }

  // The entries of a tensor of this dtype and number of dimensions, and its shape.
  std::vector<float> floats(const std::string& name, size_t dimensions,
                            std::vector<int64_t>* shape = nullptr) const;
  std::vector<int64_t> longs(const std::string& name) const;
  std::vector<int32_t> ints(const std::string& name) const;

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  template <typename T>
  std::vector<T> read(const std::string& name, const char* dtype, size_t dimensions,
                      std::vector<int64_t>* shape) const;

  std::unique_ptr<std::FILE, Close> file_;
  mutable std::mutex reading_;  // there is one position in the file
  int64_t data_ = 0;            // where the data begin
  Header header_;
};

}  // namespace sparse_engine::c_library
