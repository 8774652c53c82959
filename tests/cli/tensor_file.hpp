// safetensors written and read by the tests themselves, so that the program's own reader and writer are tested too.
#pragma once
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fovea::testing {

struct FileTensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
  template <class T>
  std::vector<T> values() const {
    std::vector<T> v(bytes.size() / sizeof(T));
    if (!v.empty()) std::memcpy(v.data(), bytes.data(), v.size() * sizeof(T));
    return v;
  }
};

using TensorMap = std::map<std::string, FileTensor>;

template <class T>
FileTensor file_tensor(const std::string& dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  return {dtype, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}
inline FileTensor f32(std::vector<std::int64_t> shape, const std::vector<float>& values) {
  return file_tensor("F32", std::move(shape), values);
}

inline std::vector<float> normal_numbers(std::size_t count, unsigned seed, float size = 1) {
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(bits);
  return numbers;
}

inline std::size_t elements_of(const std::vector<std::int64_t>& shape) {
  std::size_t n = 1;
  for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
  return n;
}
inline FileTensor random_f32(std::vector<std::int64_t> shape, unsigned seed, float size = 1) {
  const std::size_t n = elements_of(shape);
  return f32(std::move(shape), normal_numbers(n, seed, size));
}

inline void save(const std::string& path, const TensorMap& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::size_t at = 0;
  for (const auto& [name, t] : tensors) {
    header[name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {at, at + t.bytes.size()}}};
    at += t.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << text;
  for (const auto& [name, t] : tensors) file << t.bytes;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

inline std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline TensorMap load_tensors(const std::string& path) {
  const std::string all = bytes_of(path);
  std::uint64_t size = 0;
  if (all.size() < 8) throw std::runtime_error(path + " is no safetensors file");
  std::memcpy(&size, all.data(), 8);
  TensorMap tensors;
  const auto header = nlohmann::json::parse(all.substr(8, size));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    tensors[name] = {entry["dtype"], entry["shape"], all.substr(8 + size + begin, end - begin)};
  }
  return tensors;
}

}  // namespace fovea::testing
