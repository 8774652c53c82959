// Tokenizer: against Hugging Face's own Python package on odd texts, and what it says to files and texts that it can't
// take.
#include "io/tokenizer.hpp"

#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <type_traits>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/scratch.hpp"

namespace fovea::io {
namespace {

using nlohmann::json;
using testing::bytes_of;
using testing::message_of;
using testing::refuses;
using testing::Scratch;

const std::string kFolder = FOVEA_TEST_DATA "/tokenizer";

Tokenizer word_pieces() { return Tokenizer::load(kFolder + "/tokenizer.json"); }
json word_pieces_json() { return json::parse(bytes_of(kFolder + "/tokenizer.json")); }

/// A byte-level BPE over the letters a, b and all that makes up "é"; "ab" and "aab" are merged.
json byte_pairs_json() {
  return json::parse(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":null,
    "decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
    "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
      "fuse_unk":false,"byte_fallback":false,"vocab":{"a":0,"b":1,"Ġ":2,"Ã":3,"©":4,"ab":5,"aab":6},
      "merges":[["a","b"],["a","ab"]]}})");
}

/// Tokenizers that a test writes down itself.
class Written : public ::testing::Test {
 protected:
  Tokenizer load(const std::string& text) { return Tokenizer::load(folder_.write("tokenizer.json", text)); }
  Tokenizer load(const json& tokenizer) { return load(tokenizer.dump()); }
  Scratch folder_;
};

std::vector<std::string> slices(std::string_view text, const Encoding& e) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < e.ids.size(); ++i)
    if (!e.special[i]) out.emplace_back(text.substr(e.offsets[i].begin, e.offsets[i].end - e.offsets[i].begin));
  return out;
}

bool same(const Encoding& a, const Encoding& b) {
  const auto flat = [](const Encoding& e) {
    std::vector<std::size_t> all;
    for (const Span& s : e.offsets) all.insert(all.end(), {s.begin, s.end});
    return all;
  };
  return a.ids == b.ids && a.types == b.types && flat(a) == flat(b) && a.special == b.special && a.pieces == b.pieces;
}

TEST(Tokenizer, AgreesWithThePythonPackage) {
  const Tokenizer t = word_pieces();
  const json cases = json::parse(bytes_of(kFolder + "/encodings.json"));
  ASSERT_GE(cases.size(), 50u);
  for (const json& c : cases) {
    SCOPED_TRACE(c.at("text").dump() + c.at("pair").dump());
    const auto text = c.at("text").get<std::string>();
    const auto pair = c.at("pair").is_null() ? "" : c.at("pair").get<std::string>();
    const Encoding e = t.encode(text, pair, c.at("special").get<bool>());
    EXPECT_EQ(e.ids, c.at("ids").get<std::vector<int>>());
    EXPECT_EQ(e.types, c.at("types").get<std::vector<int>>());
    EXPECT_EQ(e.pieces, c.at("pieces").get<std::vector<std::string>>());
    std::vector<std::vector<std::size_t>> offsets;
    for (const Span& s : e.offsets) offsets.push_back({s.begin, s.end});
    EXPECT_EQ(offsets, c.at("offsets").get<decltype(offsets)>());
    EXPECT_EQ(std::vector<int>(e.special.begin(), e.special.end()), c.at("added").get<std::vector<int>>());
    EXPECT_EQ(t.decode(e.ids), c.at("decoded").get<std::string>());
    EXPECT_EQ(t.decode(e.ids, false), c.at("decoded_whole").get<std::string>());
  }
}

TEST(Tokenizer, OffsetsAreBytesOfTheTextAsItWasGiven) {
  const std::string text = "Café \u6f22\u5b57🙂, Cafe\u0301 na\u00efve";
  const Encoding e = word_pieces().encode(text);
  // A combining accent that the normaliser drops belongs to no token, as in the Python package.
  EXPECT_EQ(slices(text, e),
            (std::vector<std::string>{"Café", "\u6f22", "\u5b57", "🙂", ",", "Cafe", "na", "\u00efve"}));
}

TEST(Tokenizer, IgnoresTheTruncationAndPaddingOfTheFile) {
  const json sections = word_pieces_json();
  ASSERT_EQ(sections.at("truncation").at("max_length"), 6);
  ASSERT_EQ(sections.at("padding").at("strategy").at("Fixed"), 12);
  const Tokenizer t = word_pieces();
  EXPECT_EQ(t.encode("bank").ids.size(), 3u);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "bank ";
  EXPECT_EQ(t.encode(text).ids.size(), 1002u);
}

TEST(Tokenizer, TellsTheTwoTextsApart) {
  const Tokenizer t = word_pieces();
  const Encoding e = t.encode("bank", "the river");
  EXPECT_EQ(e.pieces, (std::vector<std::string>{"[CLS]", "bank", "[SEP]", "the", "river", "[SEP]"}));
  EXPECT_EQ(e.types, (std::vector<int>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(e.offsets[4].begin, 4u);  // into the second text
  EXPECT_EQ(t.encode("bank", "the river", false).types, (std::vector<int>{0, 1, 1}));
}

TEST(Tokenizer, FindsTokensByNameAndId) {
  const Tokenizer t = word_pieces();
  const auto vocabulary = word_pieces_json().at("model").at("vocab").get<std::map<std::string, int>>();
  for (const auto& [piece, id] : vocabulary) {
    EXPECT_EQ(t.id_of(piece), id);
    EXPECT_EQ(t.piece_of(id), piece);
  }
  EXPECT_EQ(t.vocabulary_size(), static_cast<int>(vocabulary.size()) + 2);  // <lens> and fovea are added
  EXPECT_EQ(t.largest_id(), t.vocabulary_size() - 1);
  EXPECT_EQ(t.id_of("<lens>"), static_cast<int>(vocabulary.size()));
  EXPECT_EQ(t.id_of("no such token"), std::nullopt);
  EXPECT_EQ(t.id_of(""), std::nullopt);
  EXPECT_EQ(t.id_of("\xff"), std::nullopt);
}

TEST(Tokenizer, RefusesIdsThatAreNoTokens) {
  const Tokenizer t = word_pieces();
  const int beyond = t.vocabulary_size();
  for (const int id : {-1, beyond, 2147483647}) {
    EXPECT_TRUE(refuses([&] { t.piece_of(id); }, {"tokenizer.json", std::to_string(id), "no token"}));
    EXPECT_TRUE(refuses([&] { t.decode(std::vector{5, id}); }, {"tokenizer.json", std::to_string(id), "no token"}));
  }
  EXPECT_EQ(t.decode(std::vector<int>{}), "");
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const Tokenizer t = word_pieces();
  for (const char* wrong : {"bank \xff", "bank \xc3", "bank \xed\xa0\x80", "bank \xc0\xaf"}) {
    EXPECT_TRUE(refuses([&] { t.encode(wrong); }, {"the text", "UTF-8", "byte 5"}));
    EXPECT_TRUE(refuses([&] { t.encode("bank", wrong); }, {"the second text", "UTF-8", "byte 5"}));
  }
  EXPECT_EQ(t.encode(std::string_view("the\0bank", 8)).pieces[1], "[UNK]");  // a NUL is a character, not an end
}

TEST(Tokenizer, ServesThreadsAtOnce) {
  const Tokenizer t = word_pieces();
  const std::string text = "The unaffable bank by the 漢字 river, playing 🙂";
  const Encoding alone = t.encode(text);
  std::vector<int> wrong(4);  // [threads]
  std::vector<std::thread> threads;
  for (int& mine : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) mine += !same(t.encode(text), alone) || t.decode(alone.ids).empty();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(Tokenizer, OutlivesTheHandleItWasCopiedFrom) {
  auto first = std::make_unique<Tokenizer>(word_pieces());
  const Tokenizer second = *first;
  first.reset();
  EXPECT_EQ(second.encode("bank").ids.size(), 3u);
  static_assert(!std::is_default_constructible_v<Tokenizer>);
}

TEST_F(Written, BytePairsSplitCharactersAndComeBackWhole) {
  const Tokenizer t = load(byte_pairs_json());
  const std::string text = "aab bé";
  const Encoding e = t.encode(text);
  EXPECT_EQ(e.pieces, (std::vector<std::string>{"aab", "Ġ", "b", "Ã", "©"}));
  EXPECT_EQ(e.ids, (std::vector<int>{6, 2, 1, 3, 4}));
  EXPECT_EQ(t.decode(e.ids), text);
  EXPECT_EQ(slices(text, e).back(), "é");  // both halves stand for the whole character
}

// One megabyte of one character, and of every character where each is a token of its own.
TEST_F(Written, TakesAMegabyteOfOneCharacter) {
  const auto seconds_for = [](const Tokenizer& t, const std::string& text, std::size_t tokens) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(t.encode(text).ids.size(), tokens);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const Tokenizer words = word_pieces(), pairs = load(byte_pairs_json());
  const std::size_t n = 1'000'000;
  // A second or so; what would be quadratic takes hours.
  EXPECT_LT(seconds_for(words, std::string(n, 'x'), 3), 60);
  EXPECT_LT(seconds_for(words, std::string(n, '!'), n + 2), 60);
  EXPECT_LT(seconds_for(words, std::string(n, ' '), 2), 60);
  EXPECT_LT(seconds_for(pairs, std::string(n, 'a'), n), 60);
  EXPECT_LT(seconds_for(pairs, std::string(n / 2, ' '), n / 2), 60);
  EXPECT_TRUE(refuses([&] { pairs.encode(std::string(n, ' ')); }, {"1000000 spaces", "500000"}));
}

// WordPiece's time grows with the cube of a word's length, which only the file itself limits.
TEST_F(Written, RefusesWordsThatWouldTakeForever) {
  json tokenizer = word_pieces_json();
  tokenizer["model"]["max_input_chars_per_word"] = 1'000'000'000;
  const Tokenizer t = load(tokenizer);
  EXPECT_TRUE(refuses([&] { t.encode("the " + std::string(1'000'000, 'x')); },
                      {"1000000 characters", "max_input_chars_per_word"}));
  EXPECT_TRUE(refuses([&] { t.encode("the", std::string(1001, 'x')); }, {"1001 characters"}));
  EXPECT_EQ(t.encode(std::string(1000, 'x')).ids.size(), 1002u);
}

TEST_F(Written, RefusesAnUnknownTokenThatIsNotInTheVocabulary) {
  json tokenizer = word_pieces_json();
  tokenizer["model"]["unk_token"] = "[NONE]";
  EXPECT_TRUE(refuses([&] { load(tokenizer).encode("nonesuch"); }, {"tokenizer.json", "UNK"}));
}

json edited(json tokenizer, const std::function<void(json&)>& edit) {
  edit(tokenizer);
  return tokenizer;
}

TEST_F(Written, RefusesHostileFilesEachWithItsReason) {
  const json good = word_pieces_json(), pairs = byte_pairs_json();
  const std::string text = good.dump(), huge(1'000'000, 'q');
  const auto vocab = [](json& t) -> json& { return t["model"]["vocab"]; };
  std::string twice = text, twice_key = text;
  twice.insert(twice.find("\"bank\":"), "\"bank\":1,");
  twice_key.insert(twice_key.find("\"model\":"), "\"model\":" + good.at("model").dump() + ",");

  const std::vector<std::pair<std::string, std::vector<std::string_view>>> files = {
      {"", {"EOF"}},
      {"not JSON", {"expected"}},
      {text.substr(0, text.size() / 2), {"line 1"}},
      {text + "{}", {"trailing"}},
      {"[]", {"expected"}},
      {"{}", {"model"}},
      {std::string(1'000'000, '['), {"line 1"}},
      {R"({"model":{"vocab":)" + std::string(1'000'000, '[') + "}}", {"line 1"}},
      {std::string(R"({"model":{"vocab":{"a)") + '\xff' + "\":0}}}", {"line 1"}},
      {twice, {"\"bank\"", "twice"}},
      {twice_key, {"duplicate", "model"}},
      {edited(good, [&](json& t) { vocab(t)["bank"] = vocab(t)["river"]; }).dump(),
       {"\"bank\"", "\"river\"", "both have id 8"}},
      {edited(good, [&](json& t) { vocab(t)["bank"] = 2147483648; }).dump(), {"\"bank\"", "2147483648", "2147483647"}},
      {edited(good, [&](json& t) { vocab(t)["bank"] = -1; }).dump(), {"-1"}},
      {edited(good, [&](json& t) { vocab(t)["bank"] = 1.5; }).dump(), {"1.5"}},
      {edited(good, [&](json& t) { vocab(t)["bank"] = "6"; }).dump(), {"\"6\""}},
      {edited(good, [&](json& t) { vocab(t) = 7; }).dump(), {"a map from token to id"}},
      {edited(good, [&](json& t) { vocab(t)[huge] = 999; }).dump(), {"qqq", "1000000 bytes", "4096"}},
      {edited(good, [&](json& t) { t["added_tokens"][0]["content"] = huge; }).dump(), {"qqq", "1000000 bytes", "4096"}},
      {edited(good, [&](json& t) { t["added_tokens"][1]["id"] = 0; }).dump(),
       {"\"[PAD]\"", "\"[UNK]\"", "both have id 0"}},
      {edited(good, [&](json& t) { t["added_tokens"].back()["id"] = 5000; }).dump(), {"\"fovea\"", "5000"}},
      {edited(good, [&](json& t) { t["post_processor"]["special_tokens"]["[SEP]"]["ids"][0] = 999; }).dump(),
       {"\"[SEP]\"", "999"}},
      {edited(good, [&](json& t) { t["post_processor"]["special_tokens"].erase("[SEP]"); }).dump(), {"gave up", "key"}},
      {edited(good, [&](json& t) { t["model"]["type"] = "Oracle"; }).dump(), {"\"Oracle\"", "WordPiece"}},
      {edited(good,
              [&](json& t) {
                t["pre_tokenizer"] = {
                    {"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}, {"invert", false}};
              })
           .dump(),
       {"parenthesis"}},
      {edited(pairs, [&](json& t) { t["model"]["merges"][0][1] = "zz"; }).dump(), {"zz", "out of vocabulary"}},
      {edited(pairs, [&](json& t) { vocab(t).erase("ab"); }).dump(), {"ab", "out of vocabulary"}},
  };
  std::set<std::string> reasons;
  for (const auto& [content, parts] : files) {
    const std::string reason = message_of([&, &content = content] { load(content); });
    std::vector<std::string_view> expected = parts;
    expected.push_back("tokenizer.json: ");
    EXPECT_TRUE(refuses([&, &content = content] { load(content); }, expected)) << content.substr(0, 200);
    EXPECT_LT(reason.size(), 700u);
    reasons.insert(reason);
  }
  EXPECT_GE(reasons.size(), files.size() - 1) << "reasons that can't be told apart";
}

TEST_F(Written, SaysWhatToDoWithoutAFile) {
  const auto path = folder_.path() / "tokenizer.json";
  EXPECT_TRUE(refuses([&] { Tokenizer::load(path); }, {path.string(), "no such file"}));
  folder_.write("vocab.txt", "[PAD]\n[UNK]\n");
  EXPECT_TRUE(refuses([&] { Tokenizer::load(path); }, {path.string(), "vocab.txt", "save_pretrained"}));
  std::filesystem::create_directory(path);
  EXPECT_TRUE(refuses([&] { Tokenizer::load(path); }, {path.string()}));
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);  // reading it would wait forever
  EXPECT_TRUE(refuses([&] { Tokenizer::load(path); }, {path.string()}));
}

TEST(LearntTokenizer, SplitsWordsAndGivesTextsBack) {
  const std::string lines = "The cat's café, the cats' cafés.\nThe cat didn't sit.\n";
  const std::string learnt = Tokenizer::learn(lines, 60);
  EXPECT_EQ(Tokenizer::learn(lines, 60), learnt);
  const Tokenizer t = Tokenizer::from_json(learnt, "learnt");
  EXPECT_LE(t.vocabulary_size(), 60);
  for (const auto& [piece, id] : {std::pair("<pad>", 0), {"</s>", 1}, {"<unk>", 2}}) EXPECT_EQ(t.id_of(piece), id);
  for (const char* text : {"The cats' café.", "didn't", "the fat cat, dise"}) {
    const Encoding e = t.encode(text);
    EXPECT_EQ(e.ids.back(), 1) << text;
    EXPECT_EQ(t.decode(e.ids), text);
  }
  EXPECT_EQ(t.encode("The cat").ids.size(), 3u);  // what occurs twice became one piece
  EXPECT_EQ(t.encode("Z").ids.at(1), 2);
}

TEST(LearntTokenizer, RefusesWhatItCannotLearnFrom) {
  EXPECT_TRUE(refuses([] { Tokenizer::learn("abcdefgh\n", 8); }, {"vocabulary of 8", "9 different characters"}));
  EXPECT_TRUE(refuses([] { Tokenizer::learn("a\xff\n", 50); }, {"not UTF-8", "byte 1"}));
}

}  // namespace
}  // namespace fovea::io
