// look, embed, run and info of the program on real folders: the contract of their JSON, and what they refuse.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sys/resource.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program.hpp"
#include "support/text_bert.hpp"
#include "tensor_file.hpp"

namespace fovea::testing {
namespace {

constexpr const char* kText = "The bank by the river was flooded.";
const std::string kMasked = FOVEA_TEST_DATA "/bert_masked_lm", kClassifier = FOVEA_TEST_DATA "/bert_classifier";

Words keys_of(const nlohmann::ordered_json& object) {
  Words keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(LookCommand, JsonIsWhatTheLibrarySees) {
  const plain::Checkpoint c;
  const std::string folder = c.folder.path().string();
  const auto json =
      json_of(fovea({"look", kText, "--model", folder, "--token", "bank", "--layer", "1", "--top", "4", "--json"}));
  EXPECT_EQ(keys_of(json), (Words{"model", "tokens", "heads", "links", "proof"}));
  EXPECT_EQ(keys_of(json["model"]), (Words{"family", "layers", "heads", "kv_heads", "head_dim"}));
  const fovea::Run run = c.load()(kText);
  ASSERT_EQ(json["tokens"].size(), run.tokens.size());
  for (std::size_t i = 0; i < run.tokens.size(); ++i) {
    const auto& token = json["tokens"][i];
    EXPECT_EQ(token["index"], i);
    const auto begin = token["begin"].get<std::size_t>(), end = token["end"].get<std::size_t>();
    if (token["text"] == "bank") { EXPECT_EQ(std::string(kText).substr(begin, end - begin), "bank"); }
  }
  ASSERT_EQ(json["links"].size(), 4u);
  for (const auto& link : json["links"]) {
    EXPECT_EQ(link["kind"], "encoder");
    EXPECT_EQ(link["layer"], 1);
    EXPECT_EQ(link["query"], 2);  // [CLS] the bank
    EXPECT_GT(link["weight"].get<double>(), 0);
    EXPECT_NEAR(link["lift"].get<double>(), link["weight"].get<double>() * static_cast<double>(json["tokens"].size()),
                1e-4);
  }
  EXPECT_LT(json["proof"]["max_abs_error"].get<double>(), 1e-4);
}

TEST(LookCommand, ExportsWhatItSaysInTheShapesItSays) {
  const plain::Checkpoint c;
  const std::string folder = c.folder.path().string(), file = folder + "/a.safetensors";
  const Outcome o = fovea({"look", kText, "--model", folder, "--export", file});
  ASSERT_EQ(o.status, 0) << o.err;
  const TensorMap tensors = load_tensors(file);
  const auto n = static_cast<std::int64_t>(c.load()(kText).tokens.size());
  const FileTensor& a = tensors.at("attention.encoder.0");
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{c.size.heads, n, n}));
  EXPECT_EQ(tensors.at("hidden.encoder.0").shape, (std::vector<std::int64_t>{n, c.size.width}));
  const std::vector<float> weights = a.values<float>();
  for (std::size_t row = 0; row < weights.size(); row += static_cast<std::size_t>(n)) {
    double sum = 0;
    for (std::size_t j = 0; j < static_cast<std::size_t>(n); ++j) sum += static_cast<double>(weights[row + j]);
    ASSERT_NEAR(sum, 1, 1e-5);
  }
}

TEST(LookCommand, RefusesWhatIsNotThere) {
  const plain::Checkpoint c;
  const std::string folder = c.folder.path().string();
  expect_error(fovea({"look", kText, "--model", folder, "--token", "ocean"}), 1, {"ocean", "bank"});
  expect_error(fovea({"look", kText, "--model", folder, "--layer", "99"}), 1, {"99"});
  expect_error(fovea({"look", kText, "--model", folder, "--head", "1000"}), 1, {"1000"});
  expect_error(fovea({"look", kText, "--model", folder + "/nowhere"}), 1, {"nowhere"});
  std::string longer;
  for (int i = 0; i < 2000; ++i) longer += "bank ";
  expect_error(fovea({"look", longer, "--model", folder}), 1, {"2002", std::to_string(c.size.positions), "truncated"});
}

TEST(LookCommand, WeightsThatAreNoNumbersAreWarnedOfAndShownAsSuch) {
  plain::Checkpoint c;
  c.store.tensors["bert.encoder.layer.0.output.dense.weight"].values<float>()[3] =
      -std::numeric_limits<float>::quiet_NaN();
  c.write();
  const std::string folder = c.folder.path().string();
  for (const Words& line :
       {Words{"look", kText}, Words{"embed", kText}, Words{"measure", kText, "--cut", "bank:river"}}) {
    Words words = line;
    words.insert(words.end(), {"--model", folder});
    const Outcome o = fovea(words);
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_NE(o.err.find("NaN or infinity, first \"bert.encoder.layer.0.output.dense.weight\""), std::string::npos)
        << o.err;
    EXPECT_EQ(lines_of(o.err).size(), 1u) << o.err;
    EXPECT_EQ(o.out.find("nan"), std::string::npos) << o.out;
  }
  EXPECT_NE(fovea({"look", kText, "--model", folder}).out.find("proof: none"), std::string::npos);
  EXPECT_EQ(fovea({"info", "--model", folder}).err, "") << "info has it among what it prints";
}

TEST(LookCommand, ATokenizerThatIsNoneIsToldBeforeWeightsAreRead) {
  const plain::Checkpoint c;
  const std::string folder = c.folder.path().string();
  c.write({{"vocab_size", 5}});  // told once the first tensor is read
  std::ofstream(folder + "/tokenizer.json") << "{";
  expect_error(fovea({"look", kText, "--model", folder}), 1, {"tokenizer.json", "save_pretrained"});
  std::ofstream(folder + "/model.safetensors") << "no weights";  // a header says so at once
  expect_error(fovea({"look", kText, "--model", folder}), 1, {"model.safetensors"});
}

TEST(LookCommand, NamesTheFamiliesThereAreWhenOneIsNot) {
  const plain::Checkpoint c;
  c.write({{"model_type", "gpt_neo"}, {"architectures", {"GPTNeoForCausalLM"}}});
  expect_error(fovea({"look", kText, "--model", c.folder.path().string()}), 1, {"gpt_neo", "bert"});
}

TEST(EmbedCommand, OneUnitVectorATextFromArgumentsOrLines) {
  const std::string folder = FOVEA_BUILD "/models/minilm";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "skipped: scripts/fetch-minilm fetches the model";
  const auto json =
      json_of(fovea({"embed", "A cat sat", "A kitten was sitting", "Stocks fell", "--model", folder, "--json"}));
  EXPECT_EQ(json["dim"], 384);
  ASSERT_EQ(json["embeddings"].size(), 3u);
  const auto cosine = [&](std::size_t a, std::size_t b) {
    double sum = 0;
    for (std::size_t i = 0; i < 384; ++i)
      sum += json["embeddings"][a][i].get<double>() * json["embeddings"][b][i].get<double>();
    return sum;
  };
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(cosine(i, i), 1, 1e-5);
  EXPECT_GT(cosine(0, 1), cosine(0, 2) + 0.3);
  const auto alone = json_of(fovea({"embed", "Stocks fell", "--model", folder, "--json"}));
  EXPECT_EQ(alone["embeddings"][0], json["embeddings"][2]) << "a text has the same bits in any batch";
}

TEST(RunCommand, FillsMasksAndClassifies) {
  const auto filled = json_of(fovea({"run", "fill-mask", "the [MASK] by the river", "--model", kMasked, "--json"}));
  EXPECT_FALSE(filled.empty());
  const auto labels = json_of(fovea({"run", "classify", "the bank", "--model", kClassifier, "--json"}));
  EXPECT_FALSE(labels.empty());
  expect_error(fovea({"run", "fill-mask", "no mask", "--model", kMasked}), 1, {"[MASK]"});
  EXPECT_FALSE(filled.contains("look"));
}

TEST(RunCommand, LookOpensWhatItAttendedToWhileDoingIt) {
  const std::string text = "the [MASK] by the river";
  const auto filled = json_of(fovea({"run", "fill-mask", text, "--model", kMasked, "--look", "--json"}));
  auto looked = json_of(fovea({"look", text, "--model", kMasked, "--token", "[MASK]", "--json"}));
  EXPECT_FALSE(filled["masks"].empty());
  EXPECT_EQ(filled["look"], looked) << "the same pass";
  EXPECT_EQ(filled["look"]["links"][0]["query"], 2);
  const Words embed{"embed", text, "--model", kMasked, "--json"};
  Words with = embed;
  with.push_back("--look");
  const auto embedded = json_of(fovea(with));
  EXPECT_EQ(embedded["embeddings"], json_of(fovea(embed))["embeddings"]);
  EXPECT_EQ(embedded["look"], json_of(fovea({"look", text, "--model", kMasked, "--json"})));
  const auto labels = json_of(fovea({"run", "classify", "the bank", "--model", kClassifier, "--look", "--json"}));
  for (const auto& link : labels["look"]["links"]) EXPECT_EQ(link["query"], 0) << "[CLS] is what is classified";
  const Outcome screen = fovea({"run", "fill-mask", text, "--model", kMasked, "--look"});
  for (const char* part : {"probability", "What [MASK] (token 2) looks at", "proof: "})
    EXPECT_NE(screen.out.find(part), std::string::npos) << part << " in\n" << screen.out;
  expect_error(fovea({"embed", "a", "b", "--model", kMasked, "--look"}), 1, {"--look", "2 were given"});
  expect_error(fovea({"run", "classify", "a", "--pair", "b", "--model", kClassifier, "--look"}), 2,
               {"--look", "--pair"});
}

TEST(RunCommand, RefusesWhatIsNotItsJob) {
  expect_error(fovea({"run", "fill-mask", "no mask", "--model", kMasked}), 1, {"[MASK]"});
  expect_error(fovea({"run", "fill-mask", "the [MASK]", "--model", kClassifier}), 1, {});
}

TEST(InfoCommand, AModelsShape) {
  const plain::Checkpoint c;
  const auto json = json_of(fovea({"info", "--model", c.folder.path().string(), "--json"}));
  EXPECT_EQ(json["family"], "bert");
  EXPECT_EQ(json["layers"], c.size.layers);
  EXPECT_EQ(json["heads"], c.size.heads);
  EXPECT_EQ(json["width"], c.size.width);
}

TEST(FullDisk, IsAnErrorLineAndLeavesTheOldFile) {
  const plain::Checkpoint c;
  const std::string folder = c.folder.path().string(), file = folder + "/out.safetensors";
  std::ofstream(file) << "the old file";
  const rlimit before = [] {
    rlimit r{};
    getrlimit(RLIMIT_FSIZE, &r);
    return r;
  }();
  const rlimit little{4096, before.rlim_max};  // more than that is SIGXFSZ, or EFBIG to who ignores it
  setrlimit(RLIMIT_FSIZE, &little);
  const Outcome o = fovea({"look", kText, "--model", folder, "--export", file});
  setrlimit(RLIMIT_FSIZE, &before);
  expect_error(o, 1, {"out.safetensors"});
  EXPECT_EQ(plain::read_file(file), "the old file");
}

}  // namespace
}  // namespace fovea::testing
