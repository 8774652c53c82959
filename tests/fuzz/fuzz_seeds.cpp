// Writes what the fuzzers start from: fuzz_seeds FOLDER makes FOLDER/safetensors, FOLDER/json and
// FOLDER/kernels.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "support/malformed.hpp"

namespace {

namespace fs = std::filesystem;

bool write(const fs::path& path, const std::string& bytes) {
  return static_cast<bool>(
      std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size())));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n"), 2;
  const fs::path folder = arguments[1];
  fs::create_directories(folder / "safetensors");
  fs::create_directories(folder / "json");
  fs::create_directories(folder / "kernels");
  constexpr std::size_t kMost = 16'384;  // a longer seed slows every run and teaches nothing more
  constexpr std::size_t kLength = 8;     // before the JSON of a safetensors file
  bool good = true;
  for (auto& seeds : {fovea::testing::malformed_files(), fovea::testing::odd_files()}) {
    for (const auto& seed : seeds) {
      if (seed.bytes.size() > kMost) continue;
      good &= write(folder / "safetensors" / seed.name, seed.bytes);
      if (seed.bytes.size() > kLength) good &= write(folder / "json" / seed.name, seed.bytes.substr(kLength));
    }
  }
  good &= write(
      folder / "json" / "config",
      R"({"model_type":"bert","hidden_size":384,"layer_norm_eps":1e-12,"id2label":{"0":"A"},"torch_dtype":null,"list":[1,true,-2.5]})");
  std::mt19937 bits(1);
  for (int i = 0; i < 100; ++i) {  // problems of every kind: all that chooses one is its bytes
    std::string choices(static_cast<std::size_t>(100 + 4 * i), '\0');
    for (char& c : choices) c = static_cast<char>(bits() & 0xff);
    good &= write(folder / "kernels" / std::to_string(i), choices);
  }
  return good ? 0 : (std::perror("fuzz_seeds"), 1);
}
