// The header of a safetensors file: 8 bytes of length, then JSON that says where each tensor lies.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/tensor.hpp>

#include "io/input_file.hpp"

namespace fovea::io {

/// Limits that the format does not state. No model comes near the second: the largest have some thousands a file.
inline constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's
inline constexpr std::size_t kMaxFileTensors = 50'000;

/// One tensor as a file holds it.
struct TensorInfo {
  std::string name;
  std::string_view stored_as;  ///< the format's name of the dtype: "F32", "F8_E4M3"
  std::optional<DType> dtype;  ///< nothing where the format knows the dtype and Fovea cannot read it
  Shape shape;
  std::int64_t begin = 0, end = 0;  ///< bytes of the file
  std::size_t file = 0;             ///< which of a checkpoint's files
};

struct SafeTensorsHeader {
  std::vector<TensorInfo> tensors;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Error of one line naming the file and what is wrong with it, unless every byte of the file is accounted for: the
/// JSON is strict (see parse_json), starts with '{', metadata are strings, each tensor's bytes are those of its dtype
/// and shape, and together the tensors cover what follows the header, without a gap or an overlap. Neither alignment
/// nor the order in the header is assumed.
SafeTensorsHeader read_safetensors_header(const InputFile& file);
/// The same of a file in memory; `name` is for messages.
SafeTensorsHeader read_safetensors_header(std::string_view bytes, const std::string& name);

}  // namespace fovea::io
