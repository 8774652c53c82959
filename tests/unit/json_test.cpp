// Strict JSON: what is refused and how it is said, what is taken and as what; and the typed reading of configs.
#include "io/json.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/json_parser.hpp"
#include "support/scratch.hpp"

namespace fovea::io {
namespace {

using nlohmann::json;
using testing::has;
using testing::message_of;

std::string refusal(const std::string& text) {
  return message_of([&] { parse_json(text, "some.json"); });
}

TEST(Json, ReadsEveryKindOfValue) {
  const json value = parse_json(R"( {"a":[1,-2,3.5,1e3,true,false,null],"é\u0041\ud83d\ude00":{"b":[]},"c":{}} )", "x");
  EXPECT_EQ(value, json::parse(R"({"a":[1,-2,3.5,1e3,true,false,null],"éA😀":{"b":[]},"c":{}})"));
  EXPECT_TRUE(value["a"][0].is_number_integer());
  EXPECT_TRUE(value["a"][3].is_number_float());
  EXPECT_EQ(parse_json("7", "x"), 7);
  EXPECT_EQ(parse_json("9223372036854775807", "x").get<std::int64_t>(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_json("[[[[]]],[{}]]", "x").dump(), "[[[[]]],[{}]]");
}

TEST(Json, RefusesInOneLineThatNamesFileAndByte) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "some.json: byte 1: not valid JSON: unexpected end of input"},
      {"{", "byte 2: not valid JSON: unexpected end of input"},
      {"{} x", "byte 4: not valid JSON: invalid literal"},
      {"{}{}", "expected end of input"},
      {"{\"a\":1,}", "unexpected '}'"},
      {"{'a':1}", "invalid literal"},
      {"[1 2]", "unexpected number literal"},
      {"[01]", "unexpected number literal"},
      {"[+1]", "invalid literal"},
      {"[.5]", "invalid literal"},
      {"[NaN]", "invalid literal"},
      {"[Infinity]", "invalid literal"},
      {"[1e999]", "number overflow"},
      {"// c\n{}", "invalid literal"},
      {"\"\t\"", "must be escaped"},
      {"\"\\x\"", "forbidden character after backslash"},
      {"\"\\ud800\"", "must be followed by"},
      {"\"\\udc00x\"", "must follow"},
      {"\"\xc3(\"", "ill-formed UTF-8"},
      {"\"\xf5\x80\x80\x80\"", "ill-formed UTF-8"},
      {"\"abc", "missing closing quote"},
      {"\xef\xbb\xbf{}", "byte 0: a byte order mark"},
      {std::string("{}\0", 3), "byte 2: a NUL byte"},
      {std::string("{\"a\0b\":1}", 9), "byte 3: a NUL byte"},
      {R"({"a":{"b":1,"c":2,"b":3}})", "the key \"b\" stands twice in \"a\""},
      {R"({"a":1,"\u0061":2})", "the key \"a\" stands twice in one object"},
      {R"([{"a":1,"a":2}])", "the key \"a\" stands twice in one object"},
      {std::string(65, '[') + std::string(65, ']'), "nested deeper than 64 levels"},
      {std::string(1'000'000, '['), "nested deeper than 64 levels"},
  };
  for (const auto& [text, expected] : cases) {
    const std::string message = refusal(text);
    EXPECT_TRUE(has(message, "some.json: byte ")) << message;
    EXPECT_TRUE(has(message, expected)) << text.substr(0, 40) << " → " << message;
    EXPECT_FALSE(has(message, "\n")) << message;
  }
}

TEST(Json, AllowsSixtyFourLevels) { EXPECT_EQ(refusal(std::string(64, '[') + std::string(64, ']')), "no error"); }

TEST(Json, MessagesStayShortAndPlain) {
  const std::string long_number = "[" + std::string(1'000'000, '9') + "e999]";
  EXPECT_LT(refusal(long_number).size(), 250u);
  const std::string long_key(1'000'000, 'k');
  EXPECT_LT(refusal("{\"" + long_key + "\":1,\"" + long_key + "\":2}").size(), 250u);
  EXPECT_TRUE(has(refusal(R"({"\u001b[31m\n":1,"\u001b[31m\n":2})"), R"("\x1b[31m\x0a" stands twice)"));
}

TEST(Json, OneTokenHasALimit) {
  const std::string token(5 << 20, 'a');
  std::string_view text = token;
  const auto piece = [&] {
    const std::string_view head = text.substr(0, 1 << 16);
    text.remove_prefix(head.size());
    return head;
  };
  struct Nothing : JsonVisitor {
    void null() override {}
    void boolean(bool) override {}
    void integer(std::int64_t) override {}
    void real(double, const std::string&) override {}
    void string(std::string&) override {}
    void key(std::string&) override {}
    void open_object() override {}
    void close_object() override {}
    void open_list() override {}
    void close_list() override {}
  } nothing;
  std::string_view quote = "\"";
  const std::string message = message_of([&] {
    parse_json({.name = "x", .piece = [&] { return quote.empty() ? piece() : std::exchange(quote, {}); }}, nothing);
  });
  EXPECT_TRUE(has(message, "a single token or blank is longer than 4194304 bytes")) << message;
}

TEST(Json, ReadsFiles) {
  const testing::Scratch scratch;
  EXPECT_EQ(read_json(scratch.write("a.json", R"({"hidden_size":384})"))["hidden_size"], 384);
  EXPECT_TRUE(has(message_of([&] { read_json(scratch / "absent.json"); }),
                  "absent.json: cannot be opened: there is no such file"));
  EXPECT_TRUE(has(message_of([&] { read_json(scratch.path()); }), "is a folder; expected a regular file"));
  EXPECT_TRUE(has(message_of([] { read_json("/dev/null"); }), "is a device"));
  EXPECT_TRUE(
      has(message_of([&] { read_json(scratch.write("b.json", "{\"a\":1}"), 6); }), "has 7 bytes; expected at most 6"));
}

// -------------------------------------------------------------------------------------------------------------------
// configs

const json kConfig =
    json::parse(R"({"width":384,"big":3000000000,"eps":1e-12,"tied":true,"name":"bert","ids":[1,2],"names":["a","b"],
  "unset":null,"fraction":384.0,"text":"384","ids_big":[1,3000000000],"huge":1e300})");

TEST(Config, ReadsWhatIsThere) {
  EXPECT_EQ(required<int>(kConfig, "width", "c.json"), 384);
  EXPECT_EQ(required<std::int64_t>(kConfig, "big", "c.json"), 3000000000);
  EXPECT_EQ(required<float>(kConfig, "eps", "c.json"), 1e-12f);
  EXPECT_EQ(required<double>(kConfig, "width", "c.json"), 384.0);
  EXPECT_EQ(required<bool>(kConfig, "tied", "c.json"), true);
  EXPECT_EQ(required<std::string>(kConfig, "name", "c.json"), "bert");
  EXPECT_EQ(required<std::vector<int>>(kConfig, "ids", "c.json"), (std::vector{1, 2}));
  EXPECT_EQ(required<std::vector<std::string>>(kConfig, "names", "c.json"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(optional_or(kConfig, "width", 7, "c.json"), 384);
  EXPECT_EQ(optional_or(kConfig, "absent", 7, "c.json"), 7);
  EXPECT_EQ(optional_or(kConfig, "unset", 7, "c.json"), 7);
  EXPECT_EQ(required<int>(kConfig, "width", "c.json", {384, 384}), 384);
}

TEST(Config, SaysWhatIsWrong) {
  const auto says = [](auto read, const std::string& expected) { EXPECT_EQ(message_of(read), expected); };
  says(
      [] {
        required<int>(kConfig, "layers", "c.json", {1, 1000});
      },
      "c.json: \"layers\" is missing; expected a whole number from 1 to 1000");
  says([] { required<int>(kConfig, "unset", "c.json", {.min = 1}); },
       "c.json: \"unset\" is missing; expected a whole number from 1");
  says(
      [] {
        required<int>(kConfig, "width", "c.json", {1, 100});
      },
      "c.json: \"width\" is 384; expected a whole number from 1 to 100");
  says([] { required<int>(kConfig, "big", "c.json"); }, "c.json: \"big\" is 3000000000; expected a whole number");
  says([] { required<int>(kConfig, "fraction", "c.json"); }, "c.json: \"fraction\" is 384.0; expected a whole number");
  says([] { required<int>(kConfig, "text", "c.json"); }, "c.json: \"text\" is \"384\"; expected a whole number");
  says([] { required<int>(kConfig, "tied", "c.json"); }, "c.json: \"tied\" is true; expected a whole number");
  says([] { required<float>(kConfig, "huge", "c.json"); }, "c.json: \"huge\" is 1e+300; expected a number");
  says(
      [] {
        required<double>(kConfig, "eps", "c.json", {1e-9, 1});
      },
      "c.json: \"eps\" is 1e-12; expected a number from 1e-09 to 1");
  says([] { required<double>(kConfig, "width", "c.json", {.max = 1}); },
       "c.json: \"width\" is 384; expected a number up to 1");
  says([] { required<bool>(kConfig, "width", "c.json"); }, "c.json: \"width\" is 384; expected true or false");
  says([] { required<std::string>(kConfig, "width", "c.json"); }, "c.json: \"width\" is 384; expected a string");
  says([] { required<std::vector<int>>(kConfig, "names", "c.json"); },
       "c.json: \"names\" is [\"a\",\"b\"]; expected a list of whole numbers");
  says([] { required<std::vector<int>>(kConfig, "ids_big", "c.json"); },
       "c.json: \"ids_big\" is [1,3000000000]; expected a list of whole numbers");
  says([] { required<std::vector<std::string>>(kConfig, "ids", "c.json"); },
       "c.json: \"ids\" is [1,2]; expected a list of strings");
  says([] { optional_or(kConfig, "width", std::string("x"), "c.json"); },
       "c.json: \"width\" is 384; expected a string");
  says([] { required<int>(json::array(), "a", "c.json"); }, "c.json: is array; expected a JSON object");
}

}  // namespace
}  // namespace fovea::io
