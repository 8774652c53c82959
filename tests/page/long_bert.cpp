// long_bert FOLDER POSITIONS: a small random BERT with that many positions, and FOLDER/text.txt, which fills them.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>

#include <nlohmann/json.hpp>

#include "io/safetensors_writer.hpp"
#include "support/small_bert.hpp"

int main(int argc, char** argv) {
  int positions = 0;
  if (argc != 3 || std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), positions).ec != std::errc()) {
    std::fputs("usage: long_bert FOLDER POSITIONS\n", stderr);
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  std::filesystem::create_directories(folder);
  plain::BertSize size{
      .width = 32, .heads = 4, .layers = 2, .feed_forward = 64, .vocabulary = 113, .positions = positions};
  size.prefix = "";
  const plain::Store store = plain::bert_store(size, 7);
  std::vector<fovea::io::NamedTensor> tensors;
  for (const auto& [name, tensor] : store.tensors) tensors.push_back({name, tensor});
  fovea::io::write_safetensors(folder / "model.safetensors", tensors);
  std::ofstream(folder / "config.json") << plain::config_of(size).dump(2);
  std::filesystem::copy_file(std::filesystem::path(FOVEA_TEST_DATA) / "bert_base/tokenizer.json",
                             folder / "tokenizer.json", std::filesystem::copy_options::overwrite_existing);

  // Words of the tokenizer's own, so that each is one token.
  constexpr const char* kWords[] = {"the", "bank", "by", "river", "was", "flooded"};
  std::mt19937 random(1);
  std::ofstream text(folder / "text.txt");
  for (int i = 0; i < positions - 2; ++i)
    text << (i == 0 ? "" : i % 97 == 0 ? "\n\n" : " ") << kWords[random() % std::size(kWords)];
}
