// fovea attend: files in, files out, every flag against attention written down by the tests themselves.
#include <bit>

#include <gtest/gtest.h>

#include "attention_oracle.hpp"
#include "program.hpp"
#include "tensor_file.hpp"

namespace fovea::testing {
namespace {

Numbers doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// Random q, k, v, as a file and as the oracle's problem.
struct Sample {
  OracleProblem problem;
  TensorMap tensors;
  Sample(int batch, int time, int keys, int heads, int kv_heads, int head_dim, int value_dim, unsigned seed = 1) {
    problem.batch = batch, problem.time = time, problem.keys = keys, problem.heads = heads, problem.kv_heads = kv_heads;
    problem.head_dim = head_dim, problem.value_dim = value_dim;
    problem.scale = 1 / std::sqrt(static_cast<double>(head_dim));
    tensors["q"] = random_f32({batch, time, heads, head_dim}, seed);
    tensors["k"] = random_f32({batch, keys, kv_heads, head_dim}, seed + 100);
    tensors["v"] = random_f32({batch, keys, kv_heads, value_dim}, seed + 200);
    problem.q = doubles(tensors["q"].values<float>());
    problem.k = doubles(tensors["k"].values<float>());
    problem.v = doubles(tensors["v"].values<float>());
  }
};

void expect_near(const FileTensor& got, const Numbers& wanted, double tolerance, const char* what) {
  const std::vector<float> values = got.values<float>();
  ASSERT_EQ(values.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double x = static_cast<double>(values[i]);
    if (std::isinf(wanted[i]))
      ASSERT_EQ(x, wanted[i]) << what << " at " << i;
    else
      ASSERT_NEAR(x, wanted[i], tolerance * (1 + std::abs(wanted[i]))) << what << " at " << i;
  }
}

class Attend : public ::testing::Test {
 protected:
  Scratch folder;
  const std::string in = folder / "in.safetensors", out = folder / "out.safetensors";

  TensorMap run(const TensorMap& tensors, Words flags = {}) {
    save(in, tensors);
    flags.insert(flags.begin(), {"attend", in, "-o", out});
    const Outcome o = fovea(flags);
    EXPECT_EQ(o.status, 0) << o.err;
    return o.status == 0 ? load_tensors(out) : TensorMap{};
  }
  /// Runs the sample with --weights and --stats and holds every output to the oracle's.
  void check(const Sample& s, Words flags = {}) {
    flags.insert(flags.end(), {"--weights", "--stats"});
    const TensorMap got = run(s.tensors, flags);
    const OracleResult wanted = oracle(s.problem);
    ASSERT_EQ(got.count("out"), 1u);
    EXPECT_EQ(got.at("out").dtype, "F32");
    EXPECT_EQ(got.at("out").shape,
              (std::vector<std::int64_t>{s.problem.batch, s.problem.time, s.problem.heads, s.problem.value_dim}));
    expect_near(got.at("out"), wanted.out, 2e-6, "out");
    expect_near(got.at("lse"), wanted.lse, 2e-6, "lse");
    expect_near(got.at("weights"), wanted.weights, 2e-6, "weights");
    expect_near(got.at("entropy"), wanted.entropy, 1e-5, "entropy");
    expect_near(got.at("max"), wanted.max, 5e-6, "max");
  }
  void refuse(const TensorMap& tensors, const Words& words, Words flags = {}, int status = 1) {
    save(in, tensors);
    flags.insert(flags.begin(), {"attend", in, "-o", out});
    const Outcome o = fovea(flags);
    expect_error(o, status, words);
    EXPECT_FALSE(std::filesystem::exists(out));
  }
};

// ------------------------------------------------------------------------------------------------------------- the
// values

TEST_F(Attend, GroupedHeadsAndAValueDimOfItsOwn) { check(Sample(2, 37, 53, 6, 2, 13, 7)); }
TEST_F(Attend, OneQueryOneKey) { check(Sample(1, 1, 1, 1, 1, 1, 1)); }

TEST_F(Attend, CausalStandsBottomRightUnlessAsked) {
  Sample s(1, 9, 20, 2, 2, 8, 8);
  s.problem.visible = [](int, int, int i, int j) { return j <= i + 11; };
  check(s, {"--causal"});
  s.problem.visible = [](int, int, int i, int j) { return j <= i; };
  check(s, {"--causal", "--align", "top-left"});
  s.problem.visible = [](int, int, int i, int j) { return j <= i + 4; };
  check(s, {"--causal", "--align", "4"});
  s.problem.visible = [](int, int, int i, int j) { return j <= i - 3; };  // the first three rows see nothing
  check(s, {"--causal", "--align", "-3"});
}

TEST_F(Attend, WindowsLeftAndRight) {
  Sample s(1, 70, 90, 2, 1, 8, 8);
  const auto window = [&s](int left, int right, int offset) {
    s.problem.visible = [=](int, int, int i, int j) {
      const int at = i + offset;
      return (left < 0 || j >= at - left) && (right < 0 || j <= at + right);
    };
  };
  window(5, 0, 20), check(s, {"--window", "5"});
  window(5, 3, 20), check(s, {"--window", "5:3"});
  window(-1, 3, 20), check(s, {"--window", "-1:3"});
  window(5, -1, 0), check(s, {"--window", "5:-1", "--align", "top-left"});
  window(0, 0, 7), check(s, {"--window", "0:0", "--align", "7"});
  s.problem.visible = [](int, int, int i, int j) {
    return j >= i + 15 && j <= i + 20;
  };  // the right half of 5:9 is not causal
  check(s, {"--window", "5:9", "--causal"});
}

double capped(double x, double cap) { return cap * std::tanh(x / cap); }

TEST_F(Attend, SoftcapAlibiAndBiasInBothOrders) {
  Sample s(2, 12, 17, 4, 2, 8, 8);
  s.tensors["bias"] = random_f32({1, 4, 1, 17}, 7);
  const std::vector<float> bias = s.tensors["bias"].values<float>();
  for (int b = 0; b < 2; ++b)
    for (int h = 0; h < 4; ++h)
      for (int i = 0; i < 12; ++i)
        for (int j = 0; j < 17; ++j)
          s.problem.bias.push_back(static_cast<double>(bias[static_cast<std::size_t>(h * 17 + j)]));
  const auto alibi = [](int h, int i, int j) {
    return -std::exp2(-2.0 * (h + 1)) * std::abs(i + 5 - j);
  };  // 4 heads: 2^(−8h/4)
  s.problem.score = [&](double x, double b, int h, int i, int j) { return capped(x, 1.5) + alibi(h, i, j) + b; };
  check(s, {"--softcap", "1.5", "--alibi"});
  check(s, {"--softcap", "1.5", "--alibi", "--order", "softcap-bias"});
  s.problem.score = [&](double x, double b, int h, int i, int j) { return capped(x + alibi(h, i, j) + b, 1.5); };
  check(s, {"--softcap", "1.5", "--alibi", "--order", "bias-softcap"});
  s.problem.scale = -0.25;
  s.problem.score = [](double x, double b, int, int, int) { return x + b; };
  check(s, {"--scale", "-0.25"});
}

TEST_F(Attend, MaskTensorsBroadcastAndEmptyRowsAreZero) {
  Sample s(2, 5, 8, 2, 2, 4, 4);
  std::string bytes(2 * 5 * 8, '\1');                             // [batch, 1, time, keys]
  for (std::size_t j = 0; j < 8; ++j) bytes[j + 8] = 0;           // batch 0, query 1 sees nothing
  for (std::size_t i = 0; i < 5; ++i) bytes[40 + i * 8 + i] = 0;  // batch 1: not the diagonal
  s.tensors["mask"] = {"BOOL", {2, 1, 5, 8}, bytes};
  s.problem.visible = [](int b, int, int i, int j) { return b == 0 ? i != 1 : i != j; };
  check(s);
  const TensorMap got = load_tensors(out);
  EXPECT_EQ(got.at("lse").values<float>()[1], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(got.at("max").values<float>()[1], -std::numeric_limits<float>::infinity());

  s.tensors["mask"] = {"BOOL", {5, 8}, bytes.substr(40)};  // leading dimensions broadcast; and the flags apply as well
  s.problem.visible = [](int, int, int i, int j) { return i != j && j <= i + 3; };
  check(s, {"--causal"});
}

TEST_F(Attend, SinksTakeTheirShareEvenWhenItIsAll) {
  Sample s(1, 6, 9, 3, 3, 8, 8);
  s.tensors["sink"] =
      f32({3}, {0.5f, -2.f, 200.f});  // beside the last one no key weighs anything that a float can hold
  s.problem.sink = {0.5, -2, 200};
  check(s);
}

TEST_F(Attend, LengthsOfEitherIntegerType) {
  Sample s(3, 7, 10, 2, 2, 8, 8);
  s.tensors["q_lengths"] = file_tensor<std::int32_t>("I32", {3}, {7, 3, 0});
  s.tensors["kv_lengths"] = file_tensor<std::int64_t>("I64", {3}, {10, 4, 6});
  const int queries[] = {7, 3, 0}, keys[] = {10, 4, 6};
  s.problem.visible = [&](int b, int, int i, int j) {
    return i < queries[b] && j < keys[b] && j <= i + keys[b] - queries[b];
  };
  check(s, {"--causal"});
}

TEST_F(Attend, LongRowsInManyBands) { check(Sample(1, 300, 5000, 1, 1, 4, 4)); }

// --------------------------------------------------------------------------------------------------------------
// gradients

void expect_gradients(const TensorMap& got, Sample& s, const Numbers& dout) {
  for (const auto& [name, array] :
       {std::pair{"dq", &s.problem.q}, std::pair{"dk", &s.problem.k}, std::pair{"dv", &s.problem.v}}) {
    ASSERT_EQ(got.count(name), 1u) << name;
    expect_near(got.at(name), numeric_gradient(s.problem, *array, dout), 1e-5, name);
  }
}

TEST_F(Attend, GradientsAreCentralDifferences) {
  Sample s(1, 5, 6, 2, 1, 3, 2);
  s.tensors["dout"] = random_f32({1, 5, 2, 2}, 9);
  s.tensors["sink"] = f32({2}, {0.3f, -0.4f});
  s.tensors["bias"] = random_f32({1, 2, 5, 6}, 10);
  const Numbers dout = doubles(s.tensors["dout"].values<float>());
  s.problem.sink = doubles(s.tensors["sink"].values<float>());
  s.problem.bias = doubles(s.tensors["bias"].values<float>());
  s.problem.visible = [](int, int, int i, int j) { return j <= i + 1; };

  const double cap = 1.5;
  s.problem.score = [cap](double x, double b, int, int, int) { return capped(x, cap) + b; };
  const TensorMap after = run(s.tensors, {"--dout", "--causal", "--softcap", "1.5"});
  expect_gradients(after, s, dout);
  expect_near(after.at("dbias"), numeric_gradient(s.problem, s.problem.bias, dout), 1e-5, "dbias after the cap");
  expect_near(after.at("dsink"), numeric_gradient(s.problem, s.problem.sink, dout), 1e-5, "dsink");

  s.problem.score = [cap](double x, double b, int, int, int) { return capped(x + b, cap); };
  const TensorMap before = run(s.tensors, {"--dout", "--causal", "--softcap", "1.5", "--order", "bias-softcap"});
  expect_gradients(before, s, dout);
  expect_near(before.at("dbias"), numeric_gradient(s.problem, s.problem.bias, dout), 1e-5, "dbias before the cap");
}

TEST_F(Attend, BiasGradientSumsOverWhatBroadcasts) {
  Sample s(2, 3, 4, 2, 2, 3, 3);
  s.tensors["dout"] = random_f32({2, 3, 2, 3}, 9);
  s.tensors["bias"] = random_f32({2, 1, 4}, 10);  // [heads, 1, keys]
  const std::vector<float> bias = s.tensors["bias"].values<float>();
  for (int b = 0; b < 2; ++b)
    for (int h = 0; h < 2; ++h)
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 4; ++j)
          s.problem.bias.push_back(static_cast<double>(bias[static_cast<std::size_t>(h * 4 + j)]));
  const Numbers dense = numeric_gradient(s.problem, s.problem.bias, doubles(s.tensors["dout"].values<float>()));
  Numbers wanted(8, 0.0);
  for (int row = 0; row < 12; ++row)
    for (int j = 0; j < 4; ++j)
      wanted[static_cast<std::size_t>(row / 3 % 2 * 4 + j)] += dense[static_cast<std::size_t>(row * 4 + j)];
  const TensorMap got = run(s.tensors, {"--dout"});
  EXPECT_EQ(got.at("dbias").shape, (std::vector<std::int64_t>{2, 1, 4}));
  expect_near(got.at("dbias"), wanted, 1e-5, "dbias");
}

// ----------------------------------------------------------------------------------------------- dtypes, kernels, the
// file

TEST_F(Attend, SixteenBitInputsGiveSixteenBitOutputsUnlessAsked) {
  // 0.5, 1, 2, -1: exact in both 16-bit types
  const std::vector<std::uint16_t> bf16{0x3f00, 0x3f80, 0x4000, 0xbf80}, f16{0x3800, 0x3c00, 0x4000, 0xbc00};
  for (const auto& [dtype, bits] : {std::pair{"BF16", bf16}, std::pair{"F16", f16}}) {
    TensorMap tensors;
    for (const char* name : {"q", "k", "v"}) tensors[name] = file_tensor<std::uint16_t>(dtype, {1, 2, 1, 2}, bits);
    const TensorMap same = run(tensors);
    EXPECT_EQ(same.at("out").dtype, dtype);
    EXPECT_EQ(same.at("lse").dtype, "F32");
    const TensorMap wide = run(tensors, {"--out-dtype", "f32"});
    Sample s(1, 2, 2, 1, 1, 2, 2);
    s.problem.q = s.problem.k = s.problem.v = {0.5, 1, 2, -1};
    expect_near(wide.at("out"), oracle(s.problem).out, 1e-6, dtype);
    for (std::size_t i = 0; i < 4; ++i) {
      const float exact = wide.at("out").values<float>()[i];
      if (std::string(dtype) != "BF16") continue;
      const float rounded =
          std::bit_cast<float>(static_cast<std::uint32_t>(same.at("out").values<std::uint16_t>()[i]) << 16);
      EXPECT_NEAR(rounded, exact, std::abs(exact) / 256);
    }
  }
}

TEST_F(Attend, Float64IsComputedInFloat64AndSaysSo) {
  Sample s(1, 4, 5, 1, 1, 3, 3);
  TensorMap tensors;
  for (const auto& [name, values, rows] :
       {std::tuple{"q", &s.problem.q, 4}, std::tuple{"k", &s.problem.k, 5}, std::tuple{"v", &s.problem.v, 5}})
    tensors[name] = file_tensor<double>("F64", {1, rows, 1, 3}, *values);
  save(in, tensors);
  const Outcome o = fovea({"attend", in, "-o", out});
  EXPECT_EQ(o.status, 0);
  EXPECT_NE(o.err.find("reference"), std::string::npos) << o.err;
  const std::vector<double> got = load_tensors(out).at("out").values<double>();
  const Numbers wanted = oracle(s.problem).out;
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-14);
}

TEST_F(Attend, ThreadsNeverChangeABit) {
  const Sample s(2, 100, 130, 4, 2, 16, 16);
  save(in, s.tensors);
  std::string first;
  for (const char* n : {"1", "2", "3", "7"}) {
    ASSERT_EQ(fovea({"attend", in, "-o", out, "--causal", "--weights", "--stats", "--threads", n}).status, 0);
    if (first.empty()) first = bytes_of(out);
    EXPECT_EQ(bytes_of(out), first) << n << " threads";
  }
}

TEST_F(Attend, EveryKernelByNameAgrees) {
  const Sample s(1, 33, 40, 2, 2, 8, 8);
  Sample cut = s;  // to bf16, for the kernels that multiply nothing else
  for (auto [name, numbers] : {std::pair{"q", &cut.problem.q}, {"k", &cut.problem.k}, {"v", &cut.problem.v}}) {
    std::vector<std::uint16_t> bits;
    for (const float x : s.tensors.at(name).values<float>())
      bits.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16));
    for (std::size_t i = 0; i < bits.size(); ++i)
      (*numbers)[i] = static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits[i]) << 16));
    cut.tensors[name] = file_tensor<std::uint16_t>("BF16", s.tensors.at(name).shape, bits);
  }
  const auto info = json_of(fovea({"info", "--json"}));
  for (const auto& kernel : info["kernels"]) {
    if (!kernel["usable"].get<bool>()) continue;
    const std::string name = kernel["name"].get<std::string>();
    if (kernel["what"].get<std::string>().find("bf16") == std::string::npos) {
      expect_near(run(s.tensors, {"--kernel", name}).at("out"), oracle(s.problem).out, 2e-6, name.c_str());
      continue;
    }
    const std::vector<std::uint16_t> got = run(cut.tensors, {"--kernel", name}).at("out").values<std::uint16_t>();
    const Numbers wanted = oracle(cut.problem).out;
    ASSERT_EQ(got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(got[i]) << 16)), wanted[i], 0.02)
          << name << " at " << i;
  }
}

TEST_F(Attend, JsonNamesKernelAndTensors) {
  save(in, Sample(1, 4, 4, 2, 1, 8, 8).tensors);
  const auto json = json_of(fovea({"attend", in, "-o", out, "--json", "--stats"}));
  EXPECT_EQ(json["output"], out);
  EXPECT_EQ(json["tensors"]["out"]["shape"], (std::vector<int>{1, 4, 2, 8}));
  EXPECT_TRUE(json["tensors"].contains("entropy"));
  EXPECT_EQ(json["kernel"], json_of(fovea({"explain", in, "--json"}))["kernel"]);
}

TEST_F(Attend, OutputMayReplaceTheInput) {
  const Sample s(1, 4, 4, 1, 1, 8, 8);
  save(in, s.tensors);
  ASSERT_EQ(fovea({"attend", in, "-o", in}).status, 0);
  expect_near(load_tensors(in).at("out"), oracle(s.problem).out, 2e-6, "out");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) EXPECT_EQ(entry.path().string(), in);
}

TEST_F(Attend, NoKeysGiveZerosAndNoQueriesGiveNothing) {
  const TensorMap none = run(Sample(1, 3, 0, 2, 2, 4, 4).tensors, {"--weights", "--stats"});
  for (const float x : none.at("out").values<float>()) EXPECT_EQ(x, 0.f);
  for (const float x : none.at("lse").values<float>()) EXPECT_EQ(x, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(run(Sample(1, 0, 3, 2, 2, 4, 4).tensors).at("out").bytes, "");
}

// -----------------------------------------------------------------------------------------------------------------
// refusals

TEST_F(Attend, WrongShapesAreNamed) {
  const Sample good(2, 4, 6, 4, 2, 8, 8);
  const auto with = [&good](const std::string& name, FileTensor t) {
    TensorMap tensors = good.tensors;
    tensors[name] = std::move(t);
    return tensors;
  };
  TensorMap no_v = good.tensors;
  no_v.erase("v");
  refuse(no_v, {"in.safetensors", "no tensor", "v"});
  refuse(with("q", random_f32({4, 4, 8}, 1)), {"in.safetensors", "q", "[4, 4, 8]", "rank 4"});
  refuse(with("k", random_f32({2, 6, 3, 8}, 1)), {"k", "[2, 6, 3, 8]"});
  refuse(with("q", random_f32({2, 4, 3, 8}, 1)), {"kv_heads (2) must divide heads (3)"});
  refuse(with("k", random_f32({1, 6, 2, 8}, 1)), {"k", "batch", "[1, 6, 2, 8]"});
  refuse(with("k", random_f32({2, 6, 2, 7}, 1)), {"k", "head_dim"});
  refuse(with("v", random_f32({2, 5, 2, 8}, 1)), {"v", "keys"});
  refuse(with("mask", {"BOOL", {2, 4, 4, 5}, std::string(160, '\1')}), {"mask", "broadcast"});
  refuse(with("bias", random_f32({3, 1, 1, 6}, 1)), {"bias", "broadcast"});
  refuse(with("sink", random_f32({3}, 1)), {"sink", "[3]", "4"});
  refuse(with("kv_lengths", file_tensor<std::int32_t>("I32", {3}, {1, 2, 3})), {"kv_lengths", "2"});
  refuse(with("kv_lengths", file_tensor<std::int32_t>("I32", {2}, {1, 7})), {"kv_lengths", "7", "6"});
  refuse(with("q_lengths", file_tensor<std::int64_t>("I64", {2}, {1, -1})), {"q_lengths", "-1"});
  refuse(with("q_lengths", file_tensor<std::int64_t>("I64", {2}, {1, std::int64_t{1} << 40})),
         {"q_lengths", "1099511627776"});
  refuse(good.tensors, {"dout"}, {"--dout"});
  refuse(with("dout", random_f32({2, 4, 4, 7}, 1)), {"dout", "[2, 4, 4, 7]", "[2, 4, 4, 8]"}, {"--dout"});
}

TEST_F(Attend, WrongDtypesAreNamed) {
  const Sample good(1, 4, 6, 2, 2, 8, 8);
  const auto with = [&good](const std::string& name, FileTensor t) {
    TensorMap tensors = good.tensors;
    tensors[name] = std::move(t);
    return tensors;
  };
  refuse(with("k", file_tensor<double>("F64", {1, 6, 2, 8}, std::vector<double>(96))), {"F32", "F64", "one dtype"});
  TensorMap integers;
  for (const char* name : {"q", "k", "v"})
    integers[name] = file_tensor<std::int32_t>("I32", {1, 2, 1, 2}, {1, 2, 3, 4});
  refuse(integers, {"q", "I32"});
  refuse(with("mask", random_f32({1, 1, 4, 6}, 1)), {"mask", "F32", "BOOL"});
  refuse(with("mask", {"BOOL", {1, 1, 4, 6}, std::string(24, '\2')}), {"mask", "BOOL"});
  refuse(with("bias", file_tensor<double>("F64", {1, 1, 4, 6}, std::vector<double>(24))), {"bias", "F64", "F32"});
  refuse(with("sink", file_tensor<double>("F64", {2}, {1, 2})), {"sink", "F64", "F32"});
  refuse(with("kv_lengths", random_f32({1}, 1)), {"kv_lengths", "F32", "I32"});
}

TEST_F(Attend, FlagsThatMakeNoSenseAreUsageErrors) {
  const TensorMap good = Sample(1, 4, 6, 2, 2, 8, 8).tensors;
  refuse(good, {"--scale", "finite"}, {"--scale", "nan"}, 2);
  refuse(good, {"--scale", "finite"}, {"--scale", "-inf"}, 2);
  refuse(good, {"--softcap"}, {"--softcap", "0"}, 2);
  refuse(good, {"--softcap"}, {"--softcap", "nan"}, 2);
  refuse(good, {"--window", "x"}, {"--window", "x"}, 2);
  refuse(good, {"--window"}, {"--window", "3:-2"}, 2);
  refuse(good, {"--window"}, {"--window", "1:2:3"}, 2);
  refuse(good, {"--align", "middle"}, {"--align", "middle"}, 2);
  refuse(good, {"--order"}, {"--order", "bias"}, 2);
  refuse(good, {"--out-dtype"}, {"--out-dtype", "int8"}, 2);
  refuse(good, {"--threads"}, {"--threads", "0"}, 2);
  refuse(good, {"--threads"}, {"--threads", "two"}, 2);
  refuse(good, {"--casual", "did you mean --causal"}, {"--casual"}, 2);
  refuse(good, {"unknown kernel 'fast'", "flash_scalar", "reference"}, {"--kernel", "fast"}, 1);
  save(in, good);
  expect_error(fovea({"attend", in, "-o", out}, {"", {{"FOVEA_ISA", "sse9"}}}), 1, {"FOVEA_ISA=sse9", "avx2"});
}

TEST_F(Attend, FilesThatAreNotThere) {
  expect_error(fovea({"attend", folder / "absent.safetensors", "-o", out}), 1, {"absent.safetensors"});
  expect_error(fovea({"attend", folder.path().string(), "-o", out}), 1, {folder.path().string()});
  expect_error(fovea({"attend", in}), 2, {"--output"});
  save(in, Sample(1, 2, 2, 1, 1, 4, 4).tensors);
  expect_error(fovea({"attend", in, "-o", folder / "no/such/out.safetensors"}), 1, {"no/such"});
  std::ofstream(folder / "text.safetensors") << "this is no tensor file at all";
  expect_error(fovea({"attend", folder / "text.safetensors", "-o", out}), 1, {"text.safetensors"});
}

TEST_F(Attend, TensorsThatNobodyReadsAreMentioned) {
  TensorMap tensors = Sample(1, 2, 2, 1, 1, 4, 4).tensors;
  tensors["Mask"] = random_f32({1}, 1);
  save(in, tensors);
  const Outcome o = fovea({"attend", in, "-o", out});
  EXPECT_EQ(o.status, 0);
  EXPECT_NE(o.err.find("Mask"), std::string::npos) << o.err;
}

// ---------------------------------------------------------------------------------------------------------------
// interrupts

TEST_F(Attend, InterruptedWithinASecondAndNothingHalfWritten) {
  Sample s(1, 3000, 3000, 4, 4, 64, 64);
  s.tensors["dout"] = random_f32({1, 3000, 4, 64}, 5);
  save(in, s.tensors);
  std::ofstream(out) << "the old file";
  Running job({program(), "attend", in, "-o", out, "--dout", "--kernel", "reference"});
  const auto files = [this] { return std::distance(std::filesystem::directory_iterator(folder.path()), {}); };
  std::this_thread::sleep_for(std::chrono::seconds(1));  // into the gradients: minutes of work
  const auto start = std::chrono::steady_clock::now();
  job.interrupt();
  const Outcome o = job.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_EQ(o.status, 130) << o.err;
  EXPECT_EQ(files(), 2);
  EXPECT_EQ(bytes_of(out), "the old file");
}

}  // namespace
}  // namespace fovea::testing
