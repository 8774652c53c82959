#include "support/malformed.hpp"

#include <cstring>

#include <fmt/format.h>

namespace fovea::testing {

std::string little_endian(std::uint64_t n) {
  std::string bytes(sizeof n, '\0');
  std::memcpy(bytes.data(), &n, sizeof n);
  return bytes;
}

std::string safetensors_file(std::string_view json, std::size_t data) {
  return little_endian(json.size()).append(json).append(data, '\0');
}

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

std::string one_tensor(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t data) {
  return safetensors_file("{" + entry("w", dtype, shape, offsets) + "}", data);
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

std::string million_entries() {
  constexpr int kTensors = 1'000'000;
  std::string json = "{";
  for (int i = 0; i < kTensors; ++i) {
    json += fmt::format(R"({}"t{}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}})", i ? "," : "", i, 4 * i,
                        4 * i + 4);
  }
  return safetensors_file(json + "}", 4 * kTensors);
}

std::vector<Malformed> malformed_lengths() {
  const std::string good = "{" + entry("w", "F32", "[1]", "[0,4]") + "}";
  return {
      {"empty", "", "is empty"},
      {"seven-bytes", std::string(7, '\1'), "has 7 bytes; expected the 8"},
      {"length-0", little_endian(0) + "{}", "the header has length 0"},
      {"length-max", little_endian(~std::uint64_t{0}) + "{}", "a header of 18446744073709551615 bytes would wrap"},
      {"length-wraps", little_endian(~std::uint64_t{0} - 7) + "{}",
       "a header of 18446744073709551608 bytes would wrap"},
      {"length-beyond-file", little_endian(200) + good, "a header of 200 bytes in a file of"},
      {"length-by-one", little_endian(3) + "{}", "a header of 3 bytes in a file of 10"},
      {"length-over-limit", little_endian(100'000'001) + good,
       "a header of 100000001 bytes; expected at most 100000000"},
      {"length-int64-min", little_endian(std::uint64_t{1} << 63) + good,
       "a header of 9223372036854775808 bytes; expected at most"},
  };
}

std::vector<Malformed> malformed_json() {
  const std::string w = entry("w", "F32", "[1]", "[0,4]");
  return {
      {"cut-mid-token", safetensors_file(R"({"w":{"dtype":"F3)"), "invalid string: missing closing quote"},
      {"cut-after-value", safetensors_file("{" + w, 4), "unexpected end of input"},
      {"not-an-object", safetensors_file("[1]"), "the header begins with \"[\""},
      {"leading-space", safetensors_file(" {}"), "the header begins with \" \""},
      {"nul-padding", safetensors_file("{" + w + "}" + std::string(3, '\0'), 4), "a NUL byte"},
      {"trailing-json", safetensors_file("{" + w + "}{}", 4), "unexpected '{'; expected end of input"},
      {"invalid-utf8", safetensors_file("{\"w\xff\":1}"), "byte 12: not valid JSON: invalid string: ill-formed"},
      {"overlong-utf8", safetensors_file("{\"\xc0\xaf\":1}"), "byte 11: not valid JSON: invalid string: ill-formed"},
      {"utf8-surrogate", safetensors_file("{\"ww\xed\xa0\x80\":1}"),
       "byte 14: not valid JSON: invalid string: ill-formed"},
      {"lone-high-surrogate", safetensors_file(R"({"\ud800":1})"), "U+D800..U+DBFF must be followed by"},
      {"lone-low-surrogate", safetensors_file(R"({"\udc00":1})"), "U+DC00..U+DFFF must follow"},
      {"byte-order-mark", safetensors_file("\xef\xbb\xbf{" + w + "}", 4), "a byte order mark"},
      {"not-a-byte-order-mark", safetensors_file("\xef\xbb{}"), "invalid BOM"},
      {"comment", safetensors_file("{/* w */" + w + "}", 4), "byte 10: not valid JSON: invalid literal"},
      {"trailing-comma", safetensors_file("{" + w + ",}", 4), "unexpected '}'; expected string literal"},
      {"nan", safetensors_file(R"({"w":{"dtype":"F32","shape":[NaN]}})"), "byte 38: not valid JSON: invalid literal"},
      {"number-beyond-double", safetensors_file(R"({"w":{"shape":[1e999]}})"), "number overflow parsing '1e999'"},
      {"control-in-string", safetensors_file("{\"a\nb\":1}"), "control character U+000A (LF) must be escaped"},
      {"nesting-1e6", safetensors_file(R"({"w":{"shape":)" + std::string(1'000'000, '[')),
       "nested deeper than 3 levels"},
      {"duplicate-tensor", safetensors_file("{" + w + "," + w + "}", 4), "the key \"w\" stands twice in one object"},
      {"duplicate-escaped",
       safetensors_file("{" + entry("k", "U8", "[0]", "[0,0]") + "," + entry("\\u006b", "U8", "[0]", "[0,0]") + "}"),
       "the key \"k\" stands twice in one object"},
      {"duplicate-dtype",
       safetensors_file(R"({"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
       "the key \"dtype\" stands twice in \"w\""},
      {"duplicate-metadata", safetensors_file(R"({"__metadata__":{"a":"1","a":"1"}})"),
       "the key \"a\" stands twice in \"__metadata__\""},
      {"two-metadata", safetensors_file(R"({"__metadata__":{},"__metadata__":{}})"),
       "the key \"__metadata__\" stands twice"},
      {"metadata-number", safetensors_file(R"({"__metadata__":{"a":1}})"), "\"__metadata__\" holds 1 under \"a\""},
      {"metadata-null", safetensors_file(R"({"__metadata__":{"b":null}})"), "\"__metadata__\" holds null under \"b\""},
      {"metadata-object", safetensors_file(R"({"__metadata__":{"c":{"d":"e"}}})"),
       "\"__metadata__\" holds an object under \"c\""},
      {"metadata-list", safetensors_file(R"({"__metadata__":["a"]})"), "the entry \"__metadata__\" is a list"},
      {"metadata-string", safetensors_file(R"({"__metadata__":"a"})"), "the entry \"__metadata__\" is \"a\""},
      {"escape-in-name", safetensors_file("{\"\\u001b[2J\\nx\":true}"), "the entry \"\\x1b[2J\\x0ax\" is true"},
  };
}

std::vector<Malformed> malformed_tensors() {
  return {
      {"unknown-dtype", one_tensor("Q4_K", "[4]", "[0,4]", 4), "the dtype \"Q4_K\" is unknown"},
      {"lower-case-dtype", one_tensor("f32", "[1]", "[0,4]", 4), "the dtype \"f32\" is unknown"},
      {"dtype-number", safetensors_file(R"({"w":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", 4),
       "\"dtype\" is 3; expected a string"},
      {"shape-number", safetensors_file(R"({"w":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4),
       "\"shape\" is 1; expected a list"},
      {"shape-of-strings", one_tensor("F32", R"(["1"])", "[0,4]", 4), "\"shape\" holds \"1\"; expected whole numbers"},
      {"no-dtype", safetensors_file(R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4), "\"dtype\" is missing"},
      {"no-shape", safetensors_file(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4), "\"shape\" is missing"},
      {"no-offsets", safetensors_file(R"({"w":{"dtype":"F32","shape":[1]}})", 4),
       "tensor \"w\": \"data_offsets\" are missing"},
      {"one-offset", safetensors_file("{" + entry("v", "F32", "[1]", "[0]") + "}", 4),
       "tensor \"v\": \"data_offsets\" are missing"},
      {"three-offsets", one_tensor("F32", "[1]", "[0,4,8]", 4), "\"data_offsets\" holds more than 2 numbers"},
      {"unknown-key", safetensors_file(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})", 4),
       "the key \"strides\" is unknown"},
      {"entry-list", safetensors_file(R"({"w":[]})"), "the entry \"w\" is a list"},
      {"entry-null", safetensors_file(R"({"w":null})"), "the entry \"w\" is null"},
      {"negative-dimension", one_tensor("F32", "[-1]", "[0,4]", 4), "\"shape\" holds -1, which is negative"},
      {"negative-offset", one_tensor("F32", "[1]", "[-4,0]", 4), "\"data_offsets\" holds -4, which is negative"},
      {"fractional-dimension", one_tensor("F32", "[1.5]", "[0,4]", 4), "\"shape\" holds 1.5, which is no whole number"},
      {"exponent-dimension", one_tensor("F32", "[1e0]", "[0,4]", 4), "\"shape\" holds 1e0, which is no whole number"},
      {"dimension-2e63", one_tensor("F32", "[9223372036854775808]", "[0,4]", 4),
       "\"shape\" holds 9223372036854775808, which is too large"},
      {"dimension-1e30", one_tensor("F32", "[1" + std::string(30, '0') + "]", "[0,4]", 4),
       "\"shape\" holds 1" + std::string(30, '0') + ", which is too large"},
      {"product-overflow", one_tensor("F32", "[4294967296,4294967296]", "[0,4]", 4),
       "[4294967296, 4294967296] has more than 2^63 elements"},
      {"size-overflow", one_tensor("F32", "[2305843009213693952]", "[0,4]", 4),
       "F32 [2305843009213693952] has more than 2^63 bits"},
      {"zero-times-huge", one_tensor("F32", "[0,4611686018427387904,4]", "[0,0]", 0),
       "which its zero dimension does not excuse"},
      {"rank-10000", one_tensor("F32", "[1" + repeated(",1", 9999) + "]", "[0,4]", 4),
       "\"shape\" holds more than 8 numbers"},
      {"begin-after-end", one_tensor("F32", "[1]", "[4,0]", 4), "data_offsets [4, 0] end before they begin"},
      {"size-too-small", one_tensor("F32", "[2]", "[0,4]", 4), "span 4 bytes; expected the 8 bytes of F32 [2]"},
      {"size-too-large", one_tensor("F16", "[1]", "[0,4]", 4), "span 4 bytes; expected the 2 bytes of F16 [1]"},
      {"half-a-byte", one_tensor("F4", "[3]", "[0,2]", 2), "F4 [3] has 12 bits, which are no whole bytes"},
      {"overlap",
       safetensors_file("{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("b", "U8", "[4]", "[2,6]") + "}", 6),
       "tensors \"a\" and \"b\" overlap"},
      {"same-bytes",
       safetensors_file("{" + entry("c", "U8", "[4]", "[0,4]") + "," + entry("d", "U8", "[4]", "[0,4]") + "}", 4),
       "tensors \"c\" and \"d\" overlap"},
      {"gap",
       safetensors_file("{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[4,6]") + "}", 6),
       "a gap: data bytes 2 to 4, before tensor \"b\""},
      {"gap-at-start", one_tensor("U8", "[2]", "[1,3]", 3), "a gap: data bytes 0 to 1, before tensor \"w\""},
      {"trailing-bytes", one_tensor("F32", "[1]", "[0,4]", 9), "5 trailing bytes belong to no tensor"},
      {"end-beyond-file", one_tensor("F32", "[2]", "[0,8]", 7), "its data end at byte 8 of 7 that the file holds"},
      {"end-huge", one_tensor("U8", "[1000000000000000000]", "[0,1000000000000000000]", 8),
       "its data end at byte 1000000000000000000 of 8"},
  };
}

std::vector<Malformed> malformed_files() {
  std::vector<Malformed> all = malformed_lengths();
  for (auto& more : {malformed_json(), malformed_tensors()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<Malformed> odd_files() {
  return {
      {"no-tensors", safetensors_file("{}"), ""},
      {"padded", safetensors_file("{" + entry("w", "F32", "[1]", "[0,4]") + "}     ", 4), ""},
      {"rank-0", one_tensor("F64", "[]", "[0,8]", 8), ""},
      {"no-elements", one_tensor("F32", "[0,3]", "[0,0]", 0), ""},
      {"unsorted",
       safetensors_file("{" + entry("b", "U8", "[3]", "[1,4]") + "," + entry("a", "BOOL", "[1]", "[0,1]") + "}", 4),
       ""},
      {"misaligned",
       safetensors_file("{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("b", "F64", "[2]", "[1,17]") + "}", 17),
       ""},
      {"two-in-a-byte", one_tensor("F4", "[6]", "[0,3]", 3), ""},
      {"metadata", safetensors_file(R"({"__metadata__":{"format":"pt","\u00e9":"\ud83d\ude00"}})"), ""},
  };
}

}  // namespace fovea::testing
