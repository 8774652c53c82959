// fovea attend: attention on tensors from any language, safetensors in and out.
#include "attend.hpp"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "command.hpp"
#include "core/stopwatch.hpp"
#include "io/safetensors_writer.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct AttendOptions {
  Common common;
  AttentionFlags flags;
  std::string input, output, out_dtype;
  bool weights = false, stats = false, gradients = false;
};

/// All that goes into OUT, declared before anything large is computed.
std::vector<io::TensorSpec> entries_of(const AttendOptions& o, const AttentionInput& in, DType out_dtype) {
  const std::int64_t batch = in.q.shape()[0], time = in.q.shape()[1], heads = in.q.shape()[2], keys = in.k.shape()[1];
  const DType dtype = in.q.dtype();
  std::vector<io::TensorSpec> entries{{"out", out_dtype, {batch, time, heads, in.v.shape()[3]}},
                                      {"lse", DType::F32, {batch, heads, time}}};
  if (o.weights) entries.push_back({"weights", DType::F32, {batch, heads, time, keys}});
  if (o.stats)
    entries.push_back({"entropy", DType::F32, {batch, heads, time}}),
        entries.push_back({"max", DType::F32, {batch, heads, time}});
  if (!o.gradients) return entries;
  entries.insert(entries.end(),
                 {{"dq", dtype, in.q.shape()}, {"dk", dtype, in.k.shape()}, {"dv", dtype, in.v.shape()}});
  if (in.bias) entries.push_back({"dbias", DType::F32, in.bias->shape()});
  if (in.sink) entries.push_back({"dsink", DType::F32, in.sink->shape()});
  return entries;
}

void check_dout(const AttentionInput& in) {
  const Shape& q = in.q.shape();
  const Shape wanted{q[0], q[1], q[2], in.v.shape()[3]};
  if (!in.dout) throw Error("no tensor `dout`, which --dout needs: [batch, time, heads, value_dim]");
  if (!(in.dout->shape() == wanted) || !is_float(in.dout->dtype()))
    throw Error(fmt::format("dout is {}; expected the shape of out, {}, in a float dtype", in.dout->view().str(),
                            wanted.str()));
}

/// Entropy in nats, the sink's share counted as one more key: an outcome of probability p beside a row of entropy H
/// makes (1 − p)·H + h(p). Of the row without sinks, since beside a dominant one its own would have no digits left.
Tensor entropy_with_sinks(const AttentionInput& in, const Attention& bare) {
  Tensor all(DType::F32, bare.lse.shape());
  const std::span lse = bare.lse.values<float>(), entropy = bare.rows.entropy.values<float>();
  const auto time = static_cast<std::size_t>(bare.lse.shape()[2]),
             heads = static_cast<std::size_t>(bare.lse.shape()[1]);
  for (std::size_t i = 0; i < lse.size(); ++i) {
    const double logit = static_cast<double>(in.sink->values<float>()[i / time % heads]);
    const double gap = static_cast<double>(lse[i]) - logit;  // −∞ for a row that sees nothing: p = 1
    const double p = 1 / (1 + std::exp(gap)), rest = 1 / (1 + std::exp(-gap));
    double sum = rest * static_cast<double>(entropy[i]);
    for (const double x : {p, rest})
      if (x > 0) sum -= x * std::log(x);
    all.values<float>()[i] = static_cast<float>(sum);
  }
  return all;
}

/// Weights go straight to the file.
void write_rows(const AttendOptions& o, const AttentionInput& in, const Attention& a, io::SafeTensorsWriter& file) {
  if (o.weights)
    for_weight_bands(in, a, [&](const WeightBand& band) {
      file.append("weights", TensorView(DType::F32, band.rows.data(), {band.count, in.k.shape()[1]}));
    });
  if (!o.stats) return;
  if (a.spec().statistics) {
    file.append("entropy", a.rows.entropy);
  } else {
    AttentionSpec bare = in.spec;
    bare.sinks = {}, bare.statistics = statistics();
    file.append("entropy", entropy_with_sinks(in, attend(in.q.view(), in.k.view(), in.v.view(), bare)));
  }
  file.append("max", a.max);
}

void write_gradients(const AttentionInput& in, const Attention& a, io::SafeTensorsWriter& file) {
  // The kernels' gradients are f32's: an F64 dout loses nothing that they could keep.
  const Tensor dout = a.kernel() == "reference" ? *in.dout : in.dout->to(DType::F32);
  const Gradients g = backward(a, dout, in.bias ? Wanted::InputsAndScore : Wanted::Inputs);
  file.append("dq", g.dq), file.append("dk", g.dk), file.append("dv", g.dv);
  for (const ScoreGradient& s : g.score)
    if (s.name == "bias") file.append("dbias", s.value.reshape(in.bias->shape()));
  if (in.sink) file.append("dsink", g.dsinks);
}

void report(const AttendOptions& o, const Attention& a, const std::vector<io::TensorSpec>& entries, double seconds) {
  if (o.common.json) {
    Json tensors = Json::object();
    for (const io::TensorSpec& e : entries)
      tensors[e.name] = {{"dtype", name_of(e.dtype)},
                         {"shape", std::vector<std::int64_t>(e.shape.begin(), e.shape.end())}};
    return print_json({{"output", o.output}, {"kernel", a.kernel()}, {"seconds", seconds}, {"tensors", tensors}});
  }
  say(fmt::format("wrote {} with kernel {} in {} ({} threads)", o.output, a.kernel(), seconds_text(seconds), threads()),
      2);
  Table table({{"tensor", false, false, Ink::Bold}, {"dtype"}, {"shape", false, true}});
  for (const io::TensorSpec& e : entries) table.row({e.name, std::string(name_of(e.dtype)), e.shape.str()});
  table.print();
}

void attend_file(const AttendOptions& o, const AttentionInput& in) {
  AttentionSpec spec = in.spec;
  if (!o.out_dtype.empty()) spec.output = dtype_of_flag("--out-dtype", o.out_dtype);
  if (o.stats && !in.sink) spec.statistics = statistics();  // beside a dominant sink they would have no digits left
  Explanation plan;
  in.blame_file([&] {  // all that can be wrong with IN is said before OUT is touched
    plan = explain(in.q, in.k, in.v, spec);
    if (o.gradients) check_dout(in);
  });
  if (plan.chosen == "reference" && spec.kernel.empty())
    warn(
        "F64 is computed by the kernel named reference, pair by pair on one thread; expect minutes beyond a few "
        "thousand tokens");

  const std::vector<io::TensorSpec> entries = entries_of(o, in, spec.output.value_or(in.q.dtype()));
  io::SafeTensorsWriter file(o.output, entries);
  const Stopwatch watch;
  const Attention a = attend(in.q.view(), in.k.view(), in.v.view(), spec);
  const double seconds = watch.seconds();
  file.append("out", a.out), file.append("lse", a.lse);
  if (o.weights || o.stats) write_rows(o, in, a, file);
  if (o.gradients) write_gradients(in, a, file);
  file.finish();
  report(o, a, entries, seconds);
}

void run(const AttendOptions& o) {
  o.flags.spec(1);  // a flag that makes no sense is said before the file is read
  if (!o.out_dtype.empty()) dtype_of_flag("--out-dtype", o.out_dtype);
  const AttentionInput in(o.input, o.flags);
  attend_file(o, in);
}

Job declare_attend(Flags& flags) {
  auto o = std::make_shared<AttendOptions>();
  flags
      .add_option(
          "IN", o->input,
          "safetensors with q [batch, time, heads, head_dim], k [batch, keys, kv_heads, head_dim], v [batch, keys, "
          "kv_heads, value_dim], all F64, F32, BF16 or F16; and, when there, mask BOOL (true: visible) and bias F32, "
          "each "
          "broadcast to [batch, heads, time, keys], sink F32 [heads], q_lengths and kv_lengths I32 or I64 [batch]")
      ->required()
      ->type_name("FILE");
  flags
      .add_option("-o,--output", o->output,
                  "holds out, in the dtype of q, and lse F32 [batch, heads, time]; replaced whole or not at all")
      ->required()
      ->type_name("FILE")
      ->group("Output");
  flags.add_flag("--weights", o->weights, "adds weights F32 [batch, heads, time, keys]")->group("Output");
  flags
      .add_flag(
          "--stats", o->stats,
          "adds entropy, in nats, a sink's share counted as one more key; and max, the largest score after scale, "
          "soft-cap, bias and mask, -inf for a row that sees nothing; F32 [batch, heads, time]")
      ->group("Output");
  flags
      .add_flag("--dout", o->gradients,
                "IN also holds dout, of the shape of out: adds dq, dk, dv in the dtype of q, and dbias, dsink F32 "
                "where given")
      ->group("Output");
  flags.add_option("--out-dtype", o->out_dtype, "dtype of out: f32, bf16, f16 or f64")
      ->type_name("DTYPE")
      ->group("Output");
  o->flags.declare(flags);
  o->common.declare(flags);
  return [o] { run(*o); };
}

}  // namespace

const Command kAttend{"attend", "attention on tensors from any language: safetensors in and out",
                      "IN.safetensors -o OUT.safetensors [options]",
                      "  # a file to try it on: random numbers, with nothing but Python's own library\n"
                      "  python3 -c \"\n"
                      "import json, random, struct\n"
                      "shape, n = [1, 64, 4, 32], 64 * 4 * 32\n"
                      "tensor = lambda i: {'dtype': 'F32', 'shape': shape,\n"
                      "                    'data_offsets': [4 * n * i, 4 * n * (i + 1)]}\n"
                      "header = json.dumps({'q': tensor(0), 'k': tensor(1), 'v': tensor(2)}).encode()\n"
                      "numbers = [random.gauss(0, 1) for _ in range(3 * n)]\n"
                      "with open('in.safetensors', 'wb') as file:\n"
                      "  file.write(struct.pack('<Q', len(header)) + header)\n"
                      "  file.write(struct.pack('<%df' % len(numbers), *numbers))\"\n"
                      "\n"
                      "  fovea attend in.safetensors -o out.safetensors --causal\n"
                      "  fovea attend in.safetensors -o out.safetensors --window 16:4 --weights\n"
                      "  fovea attend in.safetensors -o out.safetensors --alibi --stats --json\n",
                      declare_attend};

}  // namespace fovea::cli
