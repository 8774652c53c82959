// A small random BERT that reads text: checkpoint and tokenizer in one folder.
#pragma once
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "support/small_bert.hpp"

namespace plain {

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// WordPiece over 113 tokens: [PAD] [UNK] [CLS] [SEP] [MASK], letters, and words like bank and river.
constexpr int kVocabulary = 113, kCls = 2, kSep = 3, kMask = 4;
inline std::string word_pieces() { return read_file(std::string(FOVEA_TEST_DATA) + "/bert_base/tokenizer.json"); }

constexpr const char* kText = "The bank by the river was flooded.";  // 10 tokens: [CLS] the bank … flooded . [SEP]

inline std::vector<int> ids_of(const fovea::Run& run) {
  std::vector<int> ids;
  for (const fovea::Token& t : run.tokens) ids.push_back(t.id);
  return ids;
}

/// A text of that many words.
inline std::string words(int n) {
  static const char* const kWords[] = {"bank", "river", "water", "old", "tree", "light", "dark", "house"};
  std::string text;
  for (int i = 0; i < n; ++i) text += std::string(i ? " " : "") + kWords[(i * 5 + i / 7) % 8];
  return text;
}

/// A checkpoint on disk with its tokenizer.
struct Checkpoint {
  BertSize size{.vocabulary = kVocabulary};
  Store store{0};
  Folder folder;

  explicit Checkpoint(BertSize s = {}, const nlohmann::json& extra = nlohmann::json::object()) : size(s) {
    size.vocabulary = kVocabulary;
    store = plain::bert_store(size, 42);
    write(extra);
  }
  void write(const nlohmann::json& extra = nlohmann::json::object()) const {
    nlohmann::json config = plain::config_of(size);
    config.update(extra);
    folder.write("config.json", config);
    folder.write("tokenizer.json", word_pieces());
    folder.write("model.safetensors", store);
  }
  /// Heads that look at few tokens each: effects become large enough to be told from rounding.
  void sharpen(float times) {
    for (auto& [name, tensor] : store.tensors)
      if (name.ends_with("query.weight"))
        for (float& x : tensor.values<float>()) x *= times;
    write();
  }
  fovea::Model load() const { return fovea::load(folder.path().string()); }
};
struct Peaked : Checkpoint {
  explicit Peaked(BertSize s = {}) : Checkpoint(s) { sharpen(8); }
};

}  // namespace plain
