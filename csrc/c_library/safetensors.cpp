#include "safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "error.h"

namespace sparse_engine::c_library {
namespace {

constexpr int64_t kLongestHeader = 100 * 1000 * 1000;

// Reads the small part of JSON of which headers are made: objects, lists of whole numbers, strings.
class Parser {
 public:
  explicit Parser(const std::string& text) : at_(text.data()), end_(at_ + text.size()) {}

  // body(key) for each entry of an object.
  template <class Body>
  void object(const Body& body) {
    expect('{');
    if (next_is('}')) return;
    do {
      const std::string key = string();
      expect(':');
      body(key);
    } while (next_is(','));
    expect('}');
  }

  std::vector<int64_t> numbers() {
    std::vector<int64_t> found;
    expect('[');
    if (next_is(']')) return found;
    do found.push_back(number());
    while (next_is(','));
    expect(']');
    return found;
  }

  std::string string() {
    std::string found;
    expect('"');
    while (at_ < end_ && *at_ != '"') {
      if (static_cast<unsigned char>(*at_) < 0x20) wrong("a string without control characters");
      if (*at_ == '\\')
        escaped(found);
      else
        found += *at_++;
    }
    if (at_ == end_) wrong("the end of a string");
    ++at_;
    return found;
  }

  void finish() {
    skip_space();
    if (at_ != end_) wrong("nothing behind the header");
  }

 private:
  [[noreturn]] void wrong(const char* expected) const {
    std::string found = at_ == end_ ? "its end" : "'" + std::string(at_, 1) + "'";
    fail(SE_ERROR_FORMAT, "expected ", expected, " in the header of the file, found ", found);
  }

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }

  bool next_is(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) {
    const char text[] = {'\'', wanted, '\'', 0};
    if (!next_is(wanted)) wrong(text);
  }

  int64_t number() {
    skip_space();
    const char* const first = at_;
    int64_t found = 0;
    for (; at_ < end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      if (found > (std::numeric_limits<int64_t>::max() - 9) / 10) wrong("a smaller number");
      found = found * 10 + (*at_ - '0');
    }
    if (at_ == first) wrong("a whole number of at least 0");
    return found;
  }

  void escaped(std::string& to) {
    static constexpr char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
    if (++at_ == end_) wrong("the end of a string");
    const char kind = *at_++;
    if (kind != 'u') {
      const char* const place = kind ? std::strchr(kFrom, kind) : nullptr;
      if (place == nullptr) wrong("an escape sequence");
      to += kTo[place - kFrom];
      return;
    }
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char* const digits = "0123456789abcdef0123456789ABCDEF";
      const char* const place = at_ < end_ && *at_ ? std::strchr(digits, *at_) : nullptr;
      if (place == nullptr) wrong("four hexadecimal digits");
      code = code * 16 + static_cast<unsigned>((place - digits) % 16);
    }
    if (code < 0x80) {
      to += static_cast<char>(code);
    } else if (code < 0x800) {
      to += static_cast<char>(0xc0 | code >> 6);
      to += static_cast<char>(0x80 | (code & 0x3f));
    } else {
      to += static_cast<char>(0xe0 | code >> 12);
      to += static_cast<char>(0x80 | (code >> 6 & 0x3f));
      to += static_cast<char>(0x80 | (code & 0x3f));
    }
  }

  const char *at_, *end_;
};

int64_t bytes_of(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
      {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
  const auto found = sizes.find(dtype);
  if (found == sizes.end()) fail(SE_ERROR_UNSUPPORTED, "expected a known dtype, found ", dtype);
  return found->second;
}

void check(const std::string& name, const Entry& entry, int64_t bytes) {
  int64_t size = bytes_of(entry.dtype);
  for (const int64_t n : entry.shape)
    if (__builtin_mul_overflow(size, n, &size))
      fail(SE_ERROR_FORMAT, "expected a shape whose size is a number, found a larger one of ",
           name);
  if (entry.begin > entry.end || entry.end > bytes || entry.end - entry.begin != size)
    fail(SE_ERROR_FORMAT, "expected ", size, " bytes of ", name, " within the ", bytes,
         " bytes of data, found bytes ", entry.begin, " to ", entry.end);
}

}  // namespace

Header parsed(const std::string& text, int64_t bytes) {
  Header header;
  Parser parser(text);
  parser.object([&](const std::string& name) {
    if (name == "__metadata__") return parser.object([&](const std::string&) { parser.string(); });
    Entry entry;
    int seen = 0;
    parser.object([&](const std::string& key) {
      if (key == "dtype") {
        entry.dtype = parser.string(), seen |= 1;
      } else if (key == "shape") {
        entry.shape = parser.numbers(), seen |= 2;
      } else if (key == "data_offsets") {
        const auto offsets = parser.numbers();
        if (offsets.size() != 2)
          fail(SE_ERROR_FORMAT, "expected two data_offsets of ", name, ", found ", offsets.size());
        entry.begin = offsets[0], entry.end = offsets[1], seen |= 4;
      } else {
        fail(SE_ERROR_FORMAT, "expected dtype, shape and data_offsets of ", name, ", found ", key);
      }
    });
    if (seen != 7)
      fail(SE_ERROR_FORMAT, "expected dtype, shape and data_offsets of ", name, ", found less");
    check(name, entry, bytes);
    if (!header.emplace(name, entry).second)
      fail(SE_ERROR_FORMAT, "expected each name once, found ", name, " again");
  });
  parser.finish();
  return header;
}

Safetensors::Safetensors(const char* path) : file_(std::fopen(path, "rb")) {
  if (!file_)
    fail(SE_ERROR_FILE, "expected a file that can be read, found none at ", path, ": ",
         std::strerror(errno));
  std::FILE* file = file_.get();
  if (std::fseek(file, 0, SEEK_END) != 0)
    fail(SE_ERROR_FILE, "expected a file of known size, found another at ", path);
  const int64_t size = std::ftell(file);
  unsigned char prefix[8];
  if (size < 8 || size == std::numeric_limits<int64_t>::max() ||
      std::fseek(file, 0, SEEK_SET) != 0 || std::fread(prefix, 1, 8, file) != 8)
    fail(size < 0 ? SE_ERROR_FILE : SE_ERROR_FORMAT,
         "expected a safetensors file, which begins with eight bytes, found none at ", path);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | prefix[i];
  if (length > static_cast<uint64_t>(std::min(size - 8, kLongestHeader)))
    fail(SE_ERROR_FORMAT, "expected a header of at most ", std::min(size - 8, kLongestHeader),
         " bytes, found one of ", length);
  std::string text(length, '\0');
  if (std::fread(text.data(), 1, length, file) != length)
    fail(SE_ERROR_FILE, "expected a header of ", length, " bytes, found fewer");
  data_ = 8 + static_cast<int64_t>(length);
  header_ = parsed(text, size - data_);
}

template <typename T>
std::vector<T> Safetensors::read(const std::string& name, const char* dtype, size_t dimensions,
                                 std::vector<int64_t>* shape) const {
  const auto found = header_.find(name);
  if (found == header_.end())
    fail(SE_ERROR_MISSING, "expected a tensor called ", name, ", found none");
  const Entry& entry = found->second;
  if (entry.dtype != dtype)
    fail(SE_ERROR_UNSUPPORTED, "expected ", name, " of dtype ", dtype, ", found ", entry.dtype);
  if (entry.shape.size() != dimensions)
    fail(SE_ERROR_FORMAT, "expected ", name, " of ", dimensions, " dimensions, found ",
         entry.shape.size());
  std::vector<T> numbers((entry.end - entry.begin) / sizeof(T));
  std::lock_guard<std::mutex> lock(reading_);
  if (std::fseek(file_.get(), data_ + entry.begin, SEEK_SET) != 0 ||
      std::fread(numbers.data(), sizeof(T), numbers.size(), file_.get()) != numbers.size())
    fail(SE_ERROR_FILE, "expected the entries of ", name, ", which cannot be read");
  if (shape) *shape = entry.shape;
  return numbers;
}

std::vector<float> Safetensors::floats(const std::string& name, size_t dimensions,
                                       std::vector<int64_t>* shape) const {
  return read<float>(name, "F32", dimensions, shape);
}
std::vector<int64_t> Safetensors::longs(const std::string& name) const {
  return read<int64_t>(name, "I64", 1, nullptr);
}
std::vector<int32_t> Safetensors::ints(const std::string& name) const {
  return read<int32_t>(name, "I32", 1, nullptr);
}

}  // namespace sparse_engine::c_library
