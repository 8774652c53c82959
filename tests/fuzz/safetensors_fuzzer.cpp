// Any bytes as a safetensors file: refused with an Error of one line, or every byte of it accounted for.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/promises.hpp"
#include "io/safetensors_header.hpp"

namespace {

using fovea::fuzz::require;

void check(const fovea::io::SafeTensorsHeader& header, std::string_view bytes) {
  require(bytes.size() >= 8, "an accepted file has a header");
  std::uint64_t length = 0;
  __builtin_memcpy(&length, bytes.data(), sizeof length);
  auto at = static_cast<std::int64_t>(8 + length);
  for (const auto& tensor : header.tensors) {
    require(tensor.begin == at && tensor.end >= at, "tensors lie side by side");
    if (tensor.dtype) {
      require(tensor.end - tensor.begin == tensor.shape.elements() * fovea::size_of(*tensor.dtype),
              "bytes = shape × dtype");
    }
    at = tensor.end;
  }
  require(at == std::ssize(bytes), "the tensors end where the file ends");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    check(fovea::io::read_safetensors_header(bytes, "file"), bytes);
  } catch (const fovea::Error& error) { fovea::fuzz::require_plain(error, "file"); }
  return 0;
}
