// Checkpoints in safetensors: one file, or a folder with one file or many shards.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/tensor.hpp>

#include "io/input_file.hpp"
#include "io/safetensors_header.hpp"

namespace fovea::io {

/// The most tensors of all shards together; the largest mixtures of experts, quantised, have some 200,000.
inline constexpr std::size_t kMaxTensors = 300'000;

/// An open checkpoint. Opening checks every header and reads no weights; tensor() reads one. Const members may be
/// called by any number of threads at once.
class SafeTensors {
 public:
  /// `path`: a safetensors file, or a folder that holds model.safetensors, or else model.safetensors.index.json and the
  /// shards that it names. Error of one line when there is none of these, a pickle instead, a file that is malformed
  /// (see read_safetensors_header), or shards and index that do not agree, tensor for tensor.
  explicit SafeTensors(const std::filesystem::path& path);

  const std::string& where() const { return where_; }  ///< the file, or the index, for messages
  std::vector<std::string> names() const;              ///< sorted
  bool contains(std::string_view name) const;
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  ///< sorted by name
  const TensorInfo& info(std::string_view name) const;                 ///< Error when there is no such tensor
  const std::string& file(const TensorInfo& tensor) const { return files_[tensor.file].name(); }
  /// A copy of its own of the tensor, whatever its alignment in the file. Error when there is no such tensor, its dtype
  /// is none of Fovea's, a BOOL holds another byte than 0 and 1, or the file was cut short since it was opened.
  Tensor tensor(std::string_view name) const;
  /// The free text of the header; of shards, together.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  void add(InputFile file);
  void open_shards(const std::filesystem::path& folder);
  void sort();
  const TensorInfo* find(std::string_view name) const;

  std::string where_;
  std::vector<InputFile> files_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace fovea::io
