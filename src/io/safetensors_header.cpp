#include "io/safetensors_header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "core/checked.hpp"
#include "io/json_parser.hpp"
#include "io/quote.hpp"

namespace fovea::io {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors is little-endian: elements would have to be swapped here");

struct StoredType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};

constexpr auto kStoredTypes = std::to_array<StoredType>({
    {"F64", 64, DType::F64},
    {"F32", 32, DType::F32},
    {"BF16", 16, DType::BF16},
    {"F16", 16, DType::F16},
    {"I64", 64, DType::I64},
    {"I32", 32, DType::I32},
    {"I16", 16, DType::I16},
    {"I8", 8, DType::I8},
    {"U64", 64, DType::U64},
    {"U32", 32, DType::U32},
    {"U16", 16, DType::U16},
    {"U8", 8, DType::U8},
    {"BOOL", 8, DType::Bool},
    // Known to the format; a checkpoint that holds some is opened, and reading them is refused.
    {"C64", 64, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"F4", 4, {}},
});

const StoredType& stored_type(std::string_view name) {
  const auto found =
      std::find_if(kStoredTypes.begin(), kStoredTypes.end(), [&](const StoredType& t) { return t.name == name; });
  if (found == kStoredTypes.end()) {
    throw Error(fmt::format("the dtype {} is unknown; expected F32, F16, BF16 or another of the safetensors format",
                            in_quotes(name)));
  }
  return *found;
}

/// Bytes of a tensor, every product checked.
std::int64_t bytes_of(const StoredType& type, std::span<const std::int64_t> shape) {
  const auto elements = checked_product(shape);
  if (!elements) {
    const bool zero = std::find(shape.begin(), shape.end(), 0) != shape.end();
    throw Error(fmt::format("shape [{}] has more than 2^63 elements{}", fmt::join(shape, ", "),
                            zero ? ", which its zero dimension does not excuse" : ""));
  }
  std::array<std::int64_t, kMaxRank + 1> factors{type.bits};
  std::copy(shape.begin(), shape.end(), factors.begin() + 1);
  const auto bits = checked_product(std::span(factors.data(), shape.size() + 1));
  if (!bits) throw Error(fmt::format("{} [{}] has more than 2^63 bits", type.name, fmt::join(shape, ", ")));
  if (*bits % 8 != 0) {
    throw Error(fmt::format("{} [{}] has {} bits, which are no whole bytes", type.name, fmt::join(shape, ", "), *bits));
  }
  return *bits / 8;
}

/// Builds the header from the events of its JSON. Offsets are still those of the file's data part.
class HeaderVisitor : public JsonVisitor {
 public:
  SafeTensorsHeader header;

  void null() override { unexpected("null"); }
  void boolean(bool value) override { unexpected(value ? "true" : "false"); }
  void real(double, const std::string& written) override {
    if (state_ != State::Shape && state_ != State::Offsets) unexpected(written);
    const bool whole = written.find_first_of(".eE") == written.npos;
    fail_tensor(fmt::format("{} holds {}, which is {}; expected whole numbers from 0 to 2^63 - 1", in_quotes(key_),
                            escaped(written, 40), whole ? "too large" : "no whole number"));
  }
  void integer(std::int64_t value) override {
    if (state_ != State::Shape && state_ != State::Offsets) unexpected(fmt::format("{}", value));
    if (value < 0) fail_tensor(fmt::format("{} holds {}, which is negative", in_quotes(key_), value));
    const bool shape = state_ == State::Shape;
    auto& numbers = shape ? shape_ : offsets_;
    const std::size_t most = shape ? kMaxRank : 2;
    if (numbers.size() == most) {
      fail_tensor(fmt::format("{} holds more than {} numbers; {}", in_quotes(key_), most,
                              shape ? "tensors of a higher rank are not supported" : "expected [begin, end]"));
    }
    numbers.push_back(value);
  }
  void string(std::string& value) override {
    if (state_ == State::Metadata)
      add_metadata(value);
    else if (state_ == State::Tensor && key_ == "dtype")
      blame([&] { type_ = &stored_type(value); });
    else
      unexpected(in_quotes(value));
  }

  void key(std::string& name) override {
    if (state_ == State::Top)
      tensor_ = name;
    else if (state_ == State::Tensor && name != "dtype" && name != "shape" && name != "data_offsets") {
      fail_tensor(fmt::format("the key {} is unknown; expected dtype, shape and data_offsets", in_quotes(name)));
    }
    key_ = std::move(name);
  }

  void open_object() override {
    if (state_ == State::Before)
      state_ = State::Top;
    else if (state_ == State::Top)
      open_entry();
    else
      unexpected("an object");
  }
  void close_object() override {
    if (state_ == State::Tensor) finish_tensor();
    state_ = state_ == State::Top ? State::After : State::Top;
  }
  void open_list() override {
    if (state_ == State::Tensor && key_ == "shape")
      state_ = State::Shape, has_shape_ = true, shape_.clear();
    else if (state_ == State::Tensor && key_ == "data_offsets")
      state_ = State::Offsets, offsets_.clear();
    else
      unexpected("a list");
  }
  void close_list() override { state_ = State::Tensor; }

 private:
  enum class State { Before, Top, Metadata, Tensor, Shape, Offsets, After };

  void open_entry() {
    if (tensor_ == "__metadata__") {
      state_ = State::Metadata;
      return;
    }
    if (header.tensors.size() == kMaxFileTensors) {
      throw Error(
          fmt::format("the header lists more than {} tensors, the most that are read from one file", kMaxFileTensors));
    }
    state_ = State::Tensor;
    type_ = nullptr;
    has_shape_ = false;
    shape_.clear();
    offsets_.clear();
  }

  void add_metadata(std::string& value) {
    constexpr std::size_t kMost = 10'000;
    if (header.metadata.size() == kMost) throw Error(fmt::format("\"__metadata__\" has more than {} entries", kMost));
    header.metadata.emplace(key_, std::move(value));
  }

  void finish_tensor() {
    if (!type_) fail_tensor("\"dtype\" is missing");
    if (!has_shape_) fail_tensor("\"shape\" is missing");
    if (offsets_.size() != 2) fail_tensor("\"data_offsets\" are missing or incomplete; expected [begin, end]");
    const std::int64_t begin = offsets_[0], end = offsets_[1];
    if (begin > end) fail_tensor(fmt::format("data_offsets [{}, {}] end before they begin", begin, end));
    blame([&] {
      const std::int64_t expected = bytes_of(*type_, shape_);
      if (end - begin != expected) {
        throw Error(fmt::format("data_offsets [{}, {}] span {} bytes; expected the {} bytes of {} [{}]", begin, end,
                                end - begin, expected, type_->name, fmt::join(shape_, ", ")));
      }
    });
    header.tensors.push_back({.name = std::move(tensor_),
                              .stored_as = type_->name,
                              .dtype = type_->dtype,
                              .shape = Shape(std::span<const std::int64_t>(shape_)),
                              .begin = begin,
                              .end = end});
  }

  template <class Call>
  void blame(Call call) const {
    try {
      call();
    } catch (const Error& complaint) { fail_tensor(complaint.what()); }
  }
  [[noreturn]] void fail_tensor(std::string_view what) const {
    throw Error(fmt::format("tensor {}: {}", in_quotes(tensor_), what));
  }
  [[noreturn]] void unexpected(std::string_view found) const {
    switch (state_) {
      case State::Before:
        throw Error("the header must be a JSON object");
      case State::Metadata:
        throw Error(fmt::format("\"__metadata__\" holds {} under {}; expected strings only", found, in_quotes(key_)));
      case State::Shape:
      case State::Offsets:
        fail_tensor(fmt::format("{} holds {}; expected whole numbers", in_quotes(key_), found));
      case State::Tensor:
        fail_tensor(fmt::format("{} is {}; expected {}", in_quotes(key_), found,
                                key_ == "dtype" ? "a string" : "a list of whole numbers"));
      default:
        throw Error(fmt::format("the entry {} is {}; expected an object", in_quotes(key_), found));
    }
  }

  State state_ = State::Before;
  std::string tensor_, key_;  // the tensor that is being read, and the last key of any object
  const StoredType* type_ = nullptr;
  bool has_shape_ = false;
  std::vector<std::int64_t> shape_, offsets_;
};

/// Puts the tensors into the order of their bytes, and their offsets into those of the file, whose data are bytes
/// [start, size).
void check_layout(std::vector<TensorInfo>& tensors, std::int64_t start, std::int64_t size, const std::string& file) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const std::int64_t available = size - start;
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TensorInfo& t = tensors[i];
    if (t.end > available) {
      throw Error(
          fmt::format("{}: tensor {}: its data end at byte {} of {} that the file holds; the file is incomplete: fetch "
                      "or make it again",
                      file, in_quotes(t.name), t.end, available));
    }
    if (t.begin < covered) {
      throw Error(fmt::format("{}: tensors {} and {} overlap: one begins at data byte {} and the other ends at {}",
                              file, in_quotes(tensors[i - 1].name), in_quotes(t.name), t.begin, covered));
    }
    if (t.begin > covered) {
      throw Error(fmt::format("{}: a gap: data bytes {} to {}, before tensor {}, belong to no tensor", file, covered,
                              t.begin, in_quotes(t.name)));
    }
    covered = t.end;
    t.begin += start;
    t.end += start;
  }
  if (covered != available) {
    throw Error(fmt::format("{}: {} trailing bytes belong to no tensor: the header accounts for {} data bytes of {}",
                            file, available - covered, covered, available));
  }
}

/// The length of the JSON, at least 1, with all of it inside the file.
std::int64_t header_length(const std::string& name, std::int64_t size, const ReadAt& read) {
  if (size == 0) throw Error(fmt::format("{}: is empty; expected a safetensors file", name));
  if (size < 8)
    throw Error(fmt::format("{}: has {} bytes; expected the 8 of a safetensors header's length, and more", name, size));
  std::uint64_t length = 0;
  read(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length == 0) throw Error(fmt::format("{}: the header has length 0; expected at least \"{{}}\"", name));
  if (length > std::numeric_limits<std::uint64_t>::max() - 8) {
    throw Error(
        fmt::format("{}: a header of {} bytes would wrap around the end of 64-bit sizes; this is no safetensors file",
                    name, length));
  }
  if (length > std::uint64_t{kMaxHeaderBytes}) {
    throw Error(fmt::format("{}: a header of {} bytes; expected at most {}: this is no safetensors file", name, length,
                            kMaxHeaderBytes));
  }
  const auto json = static_cast<std::int64_t>(length);
  if (json > size - 8) {
    throw Error(fmt::format("{}: a header of {} bytes in a file of {}; the file is incomplete: fetch or make it again",
                            name, json, size));
  }
  return json;
}

SafeTensorsHeader parse(const std::string& name, std::int64_t size, const ReadAt& read) {
  const std::int64_t end = 8 + header_length(name, size, read);
  char first = 0;
  read(8, std::as_writable_bytes(std::span(&first, 1)));
  if (first != '{' && first != '\xef') {  // EF: a byte order mark, perhaps, of which the parser knows more
    throw Error(fmt::format("{}: byte 8: the header begins with {}; expected {{", name, in_quotes({&first, 1})));
  }
  HeaderVisitor visitor;
  constexpr int kDepth = 3;  // the header, a tensor, its shape
  parse_json({.name = name, .piece = pieces(read, 8, end), .first_byte = 8, .max_depth = kDepth}, visitor);
  check_layout(visitor.header.tensors, end, size, name);
  return std::move(visitor.header);
}

}  // namespace

SafeTensorsHeader read_safetensors_header(const InputFile& file) {
  return parse(file.name(), file.size(),
               [&](std::int64_t offset, std::span<std::byte> out) { file.read(offset, out); });
}

SafeTensorsHeader read_safetensors_header(std::string_view bytes, const std::string& name) {
  return parse(name, std::ssize(bytes), [&](std::int64_t offset, std::span<std::byte> out) {
    std::memcpy(out.data(), bytes.data() + offset, out.size());
  });
}

}  // namespace fovea::io
