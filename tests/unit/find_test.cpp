// From what a person types to positions in a text.
#include <gtest/gtest.h>

#include "look/words.hpp"

namespace fovea::look {
namespace {

struct Reading {
  std::string text;
  std::vector<Token> tokens;
  std::vector<int> find(std::string_view selector) const { return find_tokens(text, tokens, selector); }
  std::string complaint(std::string_view selector) const {
    try {
      find(selector);
    } catch (const Error& e) { return e.what(); }
    return "";
  }
};
/// [CLS], then the given pieces of the text in order, then [SEP].
Reading read_as(std::string text, const std::vector<std::string>& pieces) {
  Reading r{std::move(text), {}};
  r.tokens.push_back({0, 101, "[CLS]", 0, 0, true});
  std::size_t from = 0;
  for (const std::string& piece : pieces) {
    const std::size_t found = r.text.find(piece, from);
    from = found + piece.size();
    r.tokens.push_back(
        {static_cast<int>(r.tokens.size()), 7, piece, static_cast<int>(found), static_cast<int>(from), false});
  }
  r.tokens.push_back({static_cast<int>(r.tokens.size()), 102, "[SEP]", 0, 0, true});
  return r;
}
using Positions = std::vector<int>;

TEST(Find, WordsIndicesAndOccurrences) {
  const Reading r =
      read_as("The bank by the river bank, 1984.", {"The", "bank", "by", "the", "river", "bank", ",", "1984", "."});
  EXPECT_EQ(r.find("river"), Positions{5});
  EXPECT_EQ(r.find("River"), Positions{5});
  EXPECT_EQ(r.find("the"), Positions{4});
  EXPECT_EQ(r.find("The"), Positions{1});
  EXPECT_EQ(r.find("THE#2"), Positions{4});
  EXPECT_EQ(r.find("bank#1"), Positions{2});
  EXPECT_EQ(r.find("bank#2"), Positions{6});
  EXPECT_EQ(r.find("0"), Positions{0});
  EXPECT_EQ(r.find("10"), Positions{10});
  EXPECT_EQ(r.find("1984"), Positions{8});
  EXPECT_EQ(r.find("1984#1"), Positions{8});
  EXPECT_EQ(r.find("[SEP]"), Positions{10});
  EXPECT_EQ(r.find(","), Positions{7});
  EXPECT_EQ(r.find("by the"), (Positions{3, 4}));
}

TEST(Find, SaysWhatIsThere) {
  const Reading r = read_as("The bank by the river bank.", {"The", "bank", "by", "the", "river", "bank", "."});
  EXPECT_EQ(r.complaint("bank"), "\"bank\" is there 2 times; choose bank#1 (position 2), bank#2 (position 6)");
  EXPECT_EQ(r.complaint("bank#3"), "\"bank#3\": \"bank\" is there 2 times; count from #1");
  EXPECT_EQ(r.complaint("bank#0"), "\"bank#0\": \"bank\" is there 2 times; count from #1");
  EXPECT_EQ(r.complaint("ban"),
            "\"ban\" is not among the words that the model read: The, bank, by, the, river; give one of them, or a "
            "position from 0 to 8");
  EXPECT_NE(r.complaint("9").find("0 to 8"), std::string::npos);
  EXPECT_NE(r.complaint("").find("0 to 8"), std::string::npos);
  EXPECT_NE(r.complaint("-1").find("0 to 8"), std::string::npos);
  EXPECT_NE(r.complaint("99999999999999999999").find("0 to 8"), std::string::npos);
}

TEST(Find, AWordMayBeSeveralTokens) {
  const Reading r = read_as("unbelievable! Unbelievable", {"un", "believ", "able", "!", "Un", "believable"});
  EXPECT_EQ(r.find("unbelievable"), (Positions{1, 2, 3}));
  EXPECT_EQ(r.find("Unbelievable"), (Positions{5, 6}));
  EXPECT_EQ(r.find("UNBELIEVABLE#2"), (Positions{5, 6}));
  EXPECT_EQ(r.find("believ"), Positions{2});  // no such word; a piece in its own spelling
}

TEST(Find, LettersNotBytes) {
  const Reading r = read_as("Café ÉCOLE, Привет «мир» 我们去银行",
                            {"Café", "ÉCOLE", ",", "Привет", "«", "мир", "»", "我", "们", "去", "银", "行"});
  EXPECT_EQ(r.find("café"), Positions{1});
  EXPECT_EQ(r.find("école"), Positions{2});
  EXPECT_EQ(r.find("привет"), Positions{4});
  EXPECT_EQ(r.find("мир"), Positions{6});
  EXPECT_EQ(r.find("银行"), (Positions{11, 12}));
  EXPECT_NE(r.complaint("Caf").find("Café, ÉCOLE, Привет, мир, 我"), std::string::npos);
  const Reading broken{
      "a\xff"
      "b \xe2\x82",
      {{0, 1, "a", 0, 1, false}}};
  EXPECT_EQ(broken.find("a"), Positions{0});
}

TEST(Find, WordsPastACutAreNotThere) {
  Reading r = read_as("one two two", {"one", "two"});
  EXPECT_EQ(r.find("two"), Positions{2});  // the model read the first alone
}

}  // namespace
}  // namespace fovea::look
