// fovea explain: which kernel a problem takes, why each better one was refused, and how the work is cut.
#include <memory>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/attention.hpp>
#include <fovea/threads.hpp>

#include "attention_flags.hpp"
#include "attention_input.hpp"
#include "command.hpp"
#include "kernels/registry.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct ExplainOptions {
  Common common;
  AttentionFlags flags;
  ShapeFlags shape;
  std::string file;
};

struct Subject {
  TensorView q, k, v;
  AttentionSpec spec;
  std::int64_t visible = 0, pairs = 0;  // of [batch, heads, queries, keys]
};

const char* what_is(const std::string& kernel) {
  for (const ForwardKernel& k : forward_kernels())
    if (k.name == kernel) return k.what;
  return "";
}

Json to_json(const Subject& s, const Explanation& e) {
  Json candidates = Json::array();
  for (const auto& c : e.candidates)
    candidates.push_back({{"name", c.name}, {"accepted", c.refusal.empty()}, {"refusal", c.refusal}});
  const auto shape = [](const TensorView& t) { return std::vector<std::int64_t>(t.shape.begin(), t.shape.end()); };
  return {{"kernel", e.chosen},
          {"dtype", name_of(s.q.dtype)},
          {"q", shape(s.q)},
          {"k", shape(s.k)},
          {"v", shape(s.v)},
          {"candidates", candidates},
          {"query_rows", e.query_rows},
          {"tile_keys", e.tile_keys},
          {"items", e.items},
          {"scratch_bytes", e.scratch_bytes},
          {"threads", threads()},
          {"pairs", s.pairs},
          {"visible_pairs", s.visible}};
}

void print(const Subject& s, const Explanation& e) {
  say(fmt::format("q {} · k {} · v {} · {}", s.q.shape.str(), s.k.shape.str(), s.v.shape.str(), name_of(s.q.dtype)), 2);
  fmt::print("\n");
  Table kernels({{"kernel", false, false, Ink::Bold}, {"taken?"}, {"why", false, true}});
  for (const auto& c : e.candidates)
    kernels.row({c.name, c.refusal.empty() ? "yes" : "no", c.refusal.empty() ? what_is(c.name) : c.refusal});
  kernels.print();
  fmt::print("\n");
  if (e.items > 0) {
    const double scratch = static_cast<double>(e.scratch_bytes);
    say(fmt::format("work       {} items of up to {} query rows, over tiles of {} keys", count_text(e.items),
                    e.query_rows, e.tile_keys),
        11);
    say(fmt::format("memory     {} of scratch a thread, {} threads; no n × n matrix", bytes_text(scratch), threads()),
        11);
  } else if (e.tile_keys == 0) {
    say("work       row by row in float64, one thread: exact, and far slower than the fused kernels", 11);
  }
  const double share = s.pairs > 0 ? static_cast<double>(s.visible) / static_cast<double>(s.pairs) : 0;
  say(fmt::format("visible    {} of {} query-key pairs ({:.1f}%); tiles without any are never computed",
                  count_text(s.visible), count_text(s.pairs), 100 * share),
      11);
}

Subject from_shapes(const ExplainOptions& o) {
  // Explaining reads sizes alone; one byte stands for memory that a pointer must have to be taken seriously.
  static const std::byte nowhere{};
  const ShapeFlags::Problem p = o.shape.problem();
  Subject s{{p.dtype, &nowhere, p.q()}, {p.dtype, &nowhere, p.k()}, {p.dtype, &nowhere, p.v()}, o.flags.spec(p.heads)};
  const std::int64_t planes = std::int64_t{p.batch} * p.heads;
  s.pairs = planes * p.queries * p.keys;
  s.visible = planes * o.flags.visible_pairs(p.queries, p.keys);
  return s;
}

void run(const ExplainOptions& o) {
  const auto report = [&o](const Subject& s) {
    const Explanation e = explain(s.q, s.k, s.v, s.spec);
    o.common.json ? print_json(to_json(s, e)) : print(s, e);
  };
  if (o.file.empty()) return report(from_shapes(o));
  if (o.shape.given())
    throw UsageError("a file and a shape exclude each other: give IN.safetensors, or --shape and its like");
  const AttentionInput in(o.file, o.flags);
  in.blame_file([&] {
    Subject s{in.q, in.k, in.v, in.spec};
    explain(s.q, s.k, s.v, s.spec);  // checks the shapes that counting relies on
    std::tie(s.visible, s.pairs) = in.count_pairs();
    report(s);
  });
}

Job declare_explain(Flags& flags) {
  auto o = std::make_shared<ExplainOptions>();
  flags.add_option("IN", o->file, "a safetensors file with q, k, v, as for fovea attend; or give sizes instead")
      ->type_name("FILE");
  o->shape.declare(flags);
  o->flags.declare(flags);
  o->common.declare(flags);
  return [o] { run(*o); };
}

}  // namespace

const Command kExplain{"explain", "which kernel a problem takes, and why each better one was refused",
                       "[IN.safetensors | --shape BxHxSxD …] [options]",
                       "  fovea explain --shape 1x32x4096x128 --kv-heads 8 --dtype bf16 --causal\n"
                       "  fovea explain --shape 1x8x65536x64 --window 1024 --softcap 50\n"
                       "  FOVEA_ISA=avx2 fovea explain --q 1 --kv 32768 --json\n",
                       declare_explain};

}  // namespace fovea::cli
