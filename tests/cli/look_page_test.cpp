// fovea look --html: the file that is written, and what is said of it. How the page behaves in a browser: tests/page.
#include <cstring>

#include <gtest/gtest.h>

#include "program.hpp"
#include "support/small_bert.hpp"

namespace fovea::testing {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A small random BERT on disk, with room for a page beside it.
struct Place {
  plain::Folder folder;
  Scratch scratch;
  std::string page = scratch / "page.html";

  Place() {
    const plain::BertSize size{.vocabulary = 113, .positions = 200, .prefix = ""};
    folder.write("config.json", plain::config_of(size));
    folder.write("model.safetensors", plain::bert_store(size, 5));
    folder.write("tokenizer.json", read_file(FOVEA_TEST_DATA "/bert_base/tokenizer.json"));
  }
  Outcome look(Words more, const std::string& text = "The bank by the river") const {
    Words words{"look", "--model", folder.path().string(), text};
    words.insert(words.end(), more.begin(), more.end());
    return fovea(words);
  }
};

/// What stands in the element with that id.
std::string element(const std::string& html, const std::string& id) {
  const std::size_t open = html.find("<script id=\"" + id + "\""), begin = html.find('>', open) + 1;
  EXPECT_NE(open, std::string::npos);
  EXPECT_EQ(html.find("<script id=\"" + id + "\"", begin), std::string::npos);
  return html.substr(begin, html.find("</script>", begin) - begin);
}

std::string decoded(const std::string& base64) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t word = 0;
  int bits = 0;
  for (const char c : base64) {
    if (c == '=') break;
    word = word << 6 | static_cast<std::uint32_t>(digits.find(c)), bits += 6;
    if (bits >= 8) bits -= 8, bytes += static_cast<char>(word >> bits & 255);
  }
  EXPECT_EQ(base64.size() % 4, 0u);
  return bytes;
}

TEST(LookPage, HoldsWhatJsonSaysAndEveryWeight) {
  const Place p;
  const Outcome o = p.look({"--json", "--top", "100000", "--html", p.page});
  const auto json = json_of(o);  // nothing else on standard output
  EXPECT_EQ(o.err, "");
  const std::string html = read_file(p.page);
  EXPECT_LT(html.size(), 2'000'000u);
  auto run = nlohmann::ordered_json::parse(element(html, "run"));
  const auto page = run["page"];
  EXPECT_EQ(run["text"], "The bank by the river");
  run.erase("page"), run.erase("text");
  EXPECT_EQ(run, json);

  const auto group = page["groups"][0];
  EXPECT_EQ(group["detail"], "exact");
  const std::string bytes = decoded(element(html, "arrays"));
  const auto weight = group["arrays"][0];
  ASSERT_EQ(weight["name"], "weight");
  ASSERT_EQ(weight["dtype"], "F32");
  const std::size_t n = json["tokens"].size(), heads = json["heads"].size();
  ASSERT_EQ(weight["shape"], (std::vector<std::size_t>{heads, n, n}));
  EXPECT_EQ(json["links"].size(), heads * n * n);
  for (const auto& link : json["links"]) {
    const std::size_t head = link["layer"].get<std::size_t>() * 3 + link["head"].get<std::size_t>();
    const std::size_t at = (head * n + link["query"].get<std::size_t>()) * n + link["key"].get<std::size_t>();
    float a = 0;
    std::memcpy(&a, bytes.data() + weight["offset"].get<std::size_t>() + at * sizeof a, sizeof a);
    EXPECT_EQ(static_cast<double>(a), link["weight"].get<double>());
  }
}

TEST(LookPage, ChosenHeadsAloneAreInIt) {
  const Place p;
  EXPECT_EQ(p.look({"--json", "--layer", "1", "--head", "0,2", "--html", p.page}).status, 0);
  const auto run = nlohmann::json::parse(element(read_file(p.page), "run"));
  EXPECT_EQ(run["heads"].size(), 2u);
  EXPECT_EQ(run["page"]["groups"][0]["heads"], (std::vector<int>{0, 1}));
  EXPECT_EQ(run["page"]["groups"][0]["arrays"][0]["shape"][0], 2);
}

TEST(LookPage, TextCannotLeaveItsPlace) {
  const Place p;
  for (const std::string text : {"</script><script>alert(1)</script>", "<!--<script>", "a & b <b> \"c\" 'd' \\ \u2028",
                                 "<!--fovea:run-->", "{} {0} %s"}) {
    ASSERT_EQ(p.look({"--json", "--html", p.page}, text).status, 0) << text;
    const std::string run = element(read_file(p.page), "run");
    EXPECT_EQ(run.find_first_of("<>&"), std::string::npos) << text;
    EXPECT_EQ(nlohmann::json::parse(run)["text"], text);
  }
}

TEST(LookPage, SaysWhereItIs) {
  const Place p;
  const Outcome o = p.look({"--html", p.page, "--token", "bank"});
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(o.err, "");
  EXPECT_NE(o.out.find("What bank (token "), std::string::npos);
  const std::string flat = [&] {
    std::string words;
    for (const std::string& line : lines_of(o.out))
      words += line.substr(std::min(line.find_first_not_of(' '), line.size())) + " ";
    return words;
  }();
  EXPECT_NE(flat.find("page: "), std::string::npos);
  EXPECT_NE(flat.find("every weight, exactly"), std::string::npos);
  EXPECT_NE(flat.find("open it in a browser"), std::string::npos);
  const auto run = nlohmann::json::parse(element(read_file(p.page), "run"));
  EXPECT_EQ(run["page"]["open"]["queries"], (std::vector<int>{2}));
}

TEST(LookPage, APathThatCannotBeWrittenIsRefusedBeforeTheModelRuns) {
  const Place p;
  // The model is not there either: what is said is said before it is looked for.
  const Words command{"look", "x", "--model", "/no/such/model", "--html"};
  const auto with = [&](const std::string& path) {
    Words words = command;
    words.push_back(path);
    return fovea(words);
  };
  expect_error(with(p.scratch / "none/page.html"), 1, {"none/page.html", "cannot be created"});
  expect_error(with(p.scratch.path().string()), 1, {p.scratch.path().string(), "no regular file"});
  expect_error(with(p.page), 1, {"/no/such/model"});
  EXPECT_FALSE(std::filesystem::exists(p.page)) << "nothing is left behind";
}

TEST(LookPage, WhatWasThereStaysWhenTheJobFails) {
  const Place p;
  std::ofstream(p.page) << "old";
  expect_error(p.look({"--html", p.page, "--token", "nowhere"}), 1, {"nowhere"});
  EXPECT_EQ(read_file(p.page), "old");
  EXPECT_EQ(p.look({"--html", p.page}).status, 0);
  EXPECT_GT(read_file(p.page).size(), 10'000u);
}

}  // namespace
}  // namespace fovea::testing
