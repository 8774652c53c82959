// fovea explain, info and bench attention: what they say of problems and of this machine.
#include <algorithm>

#include <gtest/gtest.h>

#include "program.hpp"
#include "tensor_file.hpp"

namespace fovea::testing {
namespace {

using Json = nlohmann::ordered_json;

TEST(Explain, CountsVisiblePairs) {
  const auto visible = [](Words flags) {
    flags.insert(flags.begin(), {"explain", "--json"});
    return json_of(fovea(flags))["visible_pairs"].get<std::int64_t>();
  };
  EXPECT_EQ(visible({"--shape", "2x3x10x8"}), 2 * 3 * 100);
  EXPECT_EQ(visible({"--shape", "2x3x10x8", "--causal"}), 2 * 3 * 55);
  EXPECT_EQ(visible({"--shape", "1x1x10x8", "--kv", "12", "--causal"}), 75);
  EXPECT_EQ(visible({"--shape", "1x1x10x8", "--kv", "12", "--causal", "--align", "top-left"}), 55);
  EXPECT_EQ(visible({"--shape", "1x1x100x8", "--window", "2:1"}), 100 + 99 + 98 + 99);
  EXPECT_EQ(visible({"--shape", "1x1x65536x64", "--causal"}), std::int64_t{65536} * 65537 / 2);
  EXPECT_EQ(visible({"--q", "1", "--kv", "32768"}), 8 * 32768);
  EXPECT_EQ(visible({"--shape", "1x1x5x8", "--causal", "--align", "-10"}), 0);
}

TEST(Explain, CountsThePairsOfABillionQueriesAsItCountsThoseOfAFew) {
  const auto visible = [](int queries, int keys, const Words& flags) {
    Words words{"explain", "--json", "--shape", "1x1x" + std::to_string(queries) + "x8", "--kv", std::to_string(keys)};
    words.insert(words.end(), flags.begin(), flags.end());
    return json_of(fovea(words))["visible_pairs"].get<std::int64_t>();
  };
  // Row by row, from the definition: key j is seen from place i + offset when left, right and causal allow.
  const auto counted = [](int queries, int keys, int left, int right, bool causal, int offset) {
    std::int64_t n = 0;
    for (int i = 0; i < queries; ++i)
      for (int j = 0; j < keys; ++j) {
        const int at = i + offset;
        n += (left < 0 || j >= at - left) && (right < 0 || j <= at + right) && (!causal || j <= at);
      }
    return n;
  };
  struct Sizes {
    int queries, keys, key_of_first;
  };
  for (const auto& [queries, keys, on] : {Sizes{37, 53, -9}, {53, 37, 11}, {40, 9, -20}})
    for (const auto& [left, right] : {std::pair{3, 0}, {-1, 5}, {4, -1}, {50, 2}})
      for (const bool causal : {false, true}) {
        Words flags{"--align=" + std::to_string(on), "--window=" + std::to_string(left) + ":" + std::to_string(right)};
        if (causal) flags.push_back("--causal");
        EXPECT_EQ(visible(queries, keys, flags), counted(queries, keys, left, right, causal, on))
            << queries << " queries, " << keys << " keys, window " << left << ":" << right << " from " << on;
      }
  constexpr std::int64_t kMany = 1'000'000'000;  // row by row this took 14 s
  EXPECT_EQ(visible(kMany, kMany, {"--window", "100:0"}), kMany * 101 - 100 * 101 / 2);
  EXPECT_EQ(visible(kMany, kMany, {"--causal"}), kMany / 2 * (kMany + 1));
}

TEST(Explain, SaysWhyBetterKernelsWereRefused) {
  const Json fast = json_of(fovea({"explain", "--json", "--shape", "1x8x4096x64"}));
  EXPECT_EQ(fast["candidates"].back()["name"], fast["kernel"]);
  EXPECT_TRUE(fast["candidates"].back()["accepted"].get<bool>());
  EXPECT_GT(fast["items"], 0);
  EXPECT_GT(fast["scratch_bytes"], 0);
  EXPECT_EQ(fast["q"], (std::vector<int>{1, 4096, 8, 64}));

  const Json exact = json_of(fovea({"explain", "--json", "--dtype", "f64"}));
  EXPECT_EQ(exact["kernel"], "reference");
  ASSERT_GT(exact["candidates"].size(), 1u);
  for (const Json& c : exact["candidates"])
    if (c["name"] != "reference") { EXPECT_NE(c["refusal"].get<std::string>().find("F64"), std::string::npos); }

  const Json scalar = json_of(fovea({"explain", "--json"}, {"", {{"FOVEA_ISA", "scalar"}}}));
  EXPECT_EQ(scalar["kernel"], "flash_scalar");
  EXPECT_EQ(json_of(fovea({"explain", "--json", "--kernel", "flash_scalar"}))["kernel"], "flash_scalar");
  const Outcome table = fovea({"explain", "--dtype", "f64"});
  EXPECT_NE(table.out.find("F64 inputs ask for more"), std::string::npos) << table.out;
}

TEST(Explain, ReadsFilesWithTheirMasksAndLengths) {
  const Scratch folder;
  const std::string in = folder / "in.safetensors";
  TensorMap tensors{
      {"q", random_f32({2, 4, 4, 8}, 1)}, {"k", random_f32({2, 6, 2, 8}, 2)}, {"v", random_f32({2, 6, 2, 8}, 3)}};
  save(in, tensors);
  EXPECT_EQ(json_of(fovea({"explain", in, "--json"}))["visible_pairs"], 2 * 4 * 24);
  std::string mask(24, '\1');
  mask[3] = mask[7] = 0;
  tensors["mask"] = {"BOOL", {1, 1, 4, 6}, mask};
  save(in, tensors);
  EXPECT_EQ(json_of(fovea({"explain", in, "--json"}))["visible_pairs"], 2 * 4 * 22);
  tensors.erase("mask");
  tensors["kv_lengths"] = file_tensor<std::int32_t>("I32", {2}, {6, 3});
  save(in, tensors);
  EXPECT_EQ(json_of(fovea({"explain", in, "--json"}))["visible_pairs"], 4 * (4 * 6 + 4 * 3));
  expect_error(fovea({"explain", in, "--shape", "1x1x1x1"}), 2, {"exclude each other"});
}

TEST(Explain, BadProblemsAreOneLine) {
  expect_error(fovea({"explain", "--shape", "1x8x4096"}), 2, {"--shape", "BxHxSxD"});
  expect_error(fovea({"explain", "--shape", "1x8xabcx64"}), 2, {"--shape", "abc"});
  expect_error(fovea({"explain", "--shape", "1x8x99999999999x64"}), 2, {"--shape"});
  expect_error(fovea({"explain", "--shape", "1x8x16x0"}), 2, {"--shape"});
  expect_error(fovea({"explain", "--shape", "1x8x16x64", "--kv-heads", "3"}), 1,
               {"kv_heads (3) must divide heads (8)"});
  expect_error(fovea({"explain", "--kv-heads", "0"}), 2, {"--kv-heads"});
  expect_error(fovea({"explain", "--dtype", "int4"}), 2, {"--dtype", "bf16"});
  expect_error(fovea({"explain", "--kernel", "best"}), 1, {"unknown kernel 'best'"});
  expect_error(fovea({"explain", "--kernel", "flash_scalar", "--dtype", "f64"}), 1, {"flash_scalar", "F64"});
  expect_error(fovea({"explain", "--scale", "nan"}), 2, {"--scale nan", "finite"});
  expect_error(fovea({"explain"}, {"", {{"FOVEA_ISA", "avx3"}}}), 1, {"FOVEA_ISA=avx3"});
}

TEST(Info, NamesTheMachine) {
  const Json info = json_of(fovea({"info", "--json"}));
  EXPECT_GE(info["threads"], 1);
  EXPECT_GT(info["memory_bytes"], 1'000'000);
  EXPECT_EQ(info["isa"], info["usable_isas"].back());
  EXPECT_TRUE(info["FOVEA_ISA"].is_null());
  EXPECT_EQ(info["kernels"].back()["name"], "reference");
  const Json scalar = json_of(fovea({"info", "--json"}, {"", {{"FOVEA_ISA", "scalar"}}}));
  EXPECT_EQ(scalar["isa"], "scalar");
  EXPECT_EQ(scalar["FOVEA_ISA"], "scalar");
  for (const Json& k : scalar["kernels"])
    if (k["name"] == "flash_avx2") { EXPECT_FALSE(k["usable"].get<bool>()); }
  expect_error(fovea({"info"}, {"", {{"FOVEA_ISA", "quantum"}}}), 1, {"FOVEA_ISA=quantum", "avx2"});
  expect_error(fovea({"info", "--tokens", "5"}), 2, {"--tokens", "--model"});
  expect_error(fovea({"info", "--model", "no/such/folder"}), 1, {"no/such/folder"});
}

TEST(Bench, AttentionReportsTheContractsFields) {
  const Json b = json_of(fovea({"bench", "attention", "--shape", "1x2x128x32", "--causal", "--json"}));
  Words keys;
  for (const auto& [key, value] : b.items()) keys.push_back(key);
  EXPECT_EQ(keys, (Words{"kernel", "shape", "dtype", "seconds", "gflops", "ceiling", "fraction", "peak_rss_bytes"}));
  EXPECT_LE(b["seconds"]["min"], b["seconds"]["median"]);
  const double pairs = 2 * 128 * 129 / 2;
  EXPECT_NEAR(b["gflops"].get<double>(), 2 * pairs * 64 / b["seconds"]["median"].get<double>() * 1e-9, 1e-6);
  EXPECT_NEAR(b["fraction"].get<double>(), b["gflops"].get<double>() / b["ceiling"]["gflops"].get<double>(), 1e-9);
  EXPECT_GT(b["fraction"], 0);
  EXPECT_LT(b["fraction"], 1.1) << "faster than the ceiling it stands beside";
}

TEST(Bench, DecodeIsMeasuredAgainstReadingAndProducts) {
  const Json b = json_of(
      fovea({"bench", "attention", "--shape", "1x4x1x32", "--kv", "2000", "--decode", "--isa", "scalar", "--json"}));
  EXPECT_EQ(b["shape"]["queries"], 1);
  EXPECT_EQ(b["kernel"], "flash_scalar");
  EXPECT_NEAR(b["read_gbps"].get<double>(), 2 * 4 * 2000 * 32 * 4 / b["seconds"]["median"].get<double>() * 1e-9, 1e-6);
  const double of_reads = b["read_gbps"].get<double>() / b["ceiling_gbps"].get<double>(),
               of_products = b["gflops"].get<double>() / b["ceiling"]["gflops"].get<double>();
  EXPECT_NEAR(b["fraction"].get<double>(), std::max(of_reads, of_products), 1e-9);
  EXPECT_EQ(b["limit"], of_reads >= of_products ? "reads" : "products");
}

TEST(Bench, DecodeOverPagesCountsWhatIsReadAlone) {
  const Json b = json_of(fovea({"bench", "attention", "--shape", "2x4x1x32", "--kv", "250", "--kv-heads", "2",
                                "--decode", "--page-size", "16", "--json"}));
  EXPECT_EQ(b["shape"]["page_size"], 16);
  EXPECT_NEAR(b["read_gbps"].get<double>(), 2 * 2 * 2 * 250 * 32 * 4 / b["seconds"]["median"].get<double>() * 1e-9,
              1e-6);
  expect_error(fovea({"bench", "attention", "--page-size", "0"}), 2, {"--page-size 0", "from 1"});
  expect_error(fovea({"bench", "attention", "--page-size", "16", "--backward"}), 2, {"pages", "gradients"});
}

TEST(Bench, TakesHeadsOneAfterAnother) {
  for (const char* also : {"--backward", "--decode", "--causal"}) {
    const Json b = json_of(fovea({"bench", "attention", "--shape", "1x4x90x32", "--heads-first", also, "--json"}));
    EXPECT_EQ(b["shape"]["heads_first"], true) << also;
    EXPECT_GT(b["gflops"], 0) << also;
  }
  const Json pages = json_of(fovea({"bench", "attention", "--shape", "1x4x1x32", "--kv", "250", "--decode",
                                    "--heads-first", "--page-size", "16", "--json"}));
  EXPECT_EQ(pages["shape"]["page_size"], 16);
  expect_error(fovea({"bench", "gemm", "--heads-first"}), 2, {"bench gemm", "--shape and --dtype"});
}

TEST(Bench, GemmIsMeasuredBesideBothCeilings) {
  const Json b = json_of(fovea({"bench", "gemm", "--shape", "40x96x130", "--json"}));
  EXPECT_EQ(b["shape"], (Json{{"rows", 40}, {"in", 96}, {"out", 130}}));
  const double seconds = b["seconds"]["median"].get<double>();
  EXPECT_NEAR(b["gflops"].get<double>(), 2.0 * 40 * 96 * 130 / seconds * 1e-9, 1e-6);
  EXPECT_NEAR(b["read_gbps"].get<double>(), 4.0 * 96 * 130 / seconds * 1e-9, 1e-6);
  EXPECT_GT(b["ceiling"]["gflops"], 0);
  EXPECT_GT(b["fraction"], 0);
  const Json rounded = json_of(fovea({"bench", "gemm", "--shape", "40x96x130", "--dtype", "bf16", "--json"},
                                     {"", {{"FOVEA_ISA", "amx-emulated"}}}));
  EXPECT_EQ(rounded["kernel"], "linear_amx_emulated");
  EXPECT_EQ(rounded["dtype"], "BF16");
  EXPECT_NEAR(rounded["read_gbps"].get<double>(), 2.0 * 96 * 130 / rounded["seconds"]["median"].get<double>() * 1e-9,
              1e-6);
  expect_error(fovea({"bench", "gemm", "--shape", "1x2x3x4"}), 2, {"--shape", "RxIxO"});
  expect_error(fovea({"bench", "gemm", "--kv", "3"}), 2, {"bench gemm", "--shape and --dtype"});
  expect_error(fovea({"bench", "gemm", "--dtype", "f16"}), 2, {"--dtype f16", "f32 or bf16"});
}

TEST(Bench, BadProblemsAreOneLine) {
  expect_error(fovea({"bench"}), 2, {"SUBJECT"});
  expect_error(fovea({"bench", "attention", "--isa", "neon"}), 1, {"neon"});
  expect_error(fovea({"bench", "model"}), 2, {"--model"});
  expect_error(fovea({"bench", "attention", "--model", "x"}), 2, {"--model"});
  expect_error(fovea({"bench", "attention", "--tokens", "5"}), 2, {"--tokens"});
  expect_error(fovea({"bench", "gemm", "--causal"}), 2, {"bench gemm", "--shape and --dtype alone"});
  expect_error(fovea({"bench", "model", "--model", "x", "--decode"}), 2, {"bench model"});
  expect_error(fovea({"bench", "attention", "--shape", "64x64x1000000x4096"}), 1,
               {"would take 268.4 TB", "smaller --shape"});
  expect_error(fovea({"bench", "gemm", "--shape", "1000000x1000000x1000000"}), 1, {"would take 16.0 TB"});
}

}  // namespace
}  // namespace fovea::testing
