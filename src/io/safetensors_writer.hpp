// Writing safetensors: all at once, or piece by piece when the whole would not fit in memory.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/tensor.hpp>

#include "io/output_file.hpp"

namespace fovea::io {

/// A tensor that will be written.
struct TensorSpec {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
};

/// Says first what the file will hold, then takes the elements in pieces, tensors in any order. The file appears under
/// its name, whole and in place of an older one, when finish() returns; until then and on any failure the older one
/// stays. The bytes depend on names and contents only, not on the order of calls; every tensor begins at a multiple of
/// its element size.
class SafeTensorsWriter {
 public:
  /// Error when a name stands twice, is "__metadata__" or no UTF-8, or the file cannot be made or the disk has no room
  /// for it.
  SafeTensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {});

  /// The next elements of a tensor in row-major order: `piece` has its dtype, any strides, and, unless the tensor has
  /// rank 0, the same last dimension, as in rows [rows, keys] of [heads, queries, keys]; of a tensor of rank 1, any
  /// part. Error otherwise, and when it would be more than the tensor holds.
  void append(std::string_view name, const TensorView& piece);
  /// Error naming a tensor that is not complete.
  void finish();

 private:
  struct Slot {
    TensorSpec spec;
    std::int64_t begin = 0, end = 0, at = 0;  // bytes of the file; `at` is where the next piece goes
  };
  std::string header(const std::map<std::string, std::string>& metadata) const;
  Slot& slot(std::string_view name);
  std::string where_;
  std::vector<Slot> slots_;  // in the order of their bytes
  std::map<std::string, std::size_t, std::less<>> by_name_;
  OutputFile file_;
};

struct NamedTensor {
  std::string name;
  TensorView tensor;
};
/// The whole file from tensors in memory.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace fovea::io
