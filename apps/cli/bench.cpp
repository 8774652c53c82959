// fovea bench: speed, beside the ceilings probed in the same run.
#include "bench.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <random>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/attention.hpp>
#include <fovea/threads.hpp>

#include "attention_flags.hpp"
#include "core/convert.hpp"
#include "core/stopwatch.hpp"
#include "kernels/probe.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

/// The sum of what every thread reaches when all run at once: shared clocks, caches and memory count.
double on_all_threads(const std::function<double(int)>& probe) {
  const auto count = static_cast<std::size_t>(threads());
  std::vector<double> reached(count);
  std::vector<std::thread> pool;
  for (std::size_t i = 1; i < count; ++i) pool.emplace_back([&, i] { reached[i] = probe(static_cast<int>(i)); });
  reached[0] = probe(0);
  for (std::thread& t : pool) t.join();
  double sum = 0;
  for (const double r : reached) sum += r;
  return sum;
}

std::int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

Seconds time_runs(const std::function<void()>& work, std::span<Ceiling> ceilings) {
  constexpr double kBetweenProbes = 0.1;  // seconds of work
  work();
  const std::int64_t peak_rss = peak_rss_bytes();
  std::vector<std::vector<double>> reached(ceilings.size());
  const auto probe = [&] {
    for (std::size_t i = 0; i < ceilings.size(); ++i) reached[i].push_back(on_all_threads(ceilings[i].probe));
  };
  probe();
  std::vector<double> each;
  double total = 0, probed = 0;
  while (each.size() < 3 || (total < 1 && each.size() < 1000)) {
    const Stopwatch watch;
    work();
    each.push_back(watch.seconds());
    total += each.back();
    if (total - probed > kBetweenProbes) probe(), probed = total;
  }
  probe();
  for (std::size_t i = 0; i < ceilings.size(); ++i) ceilings[i].reached = median(reached[i]);
  return {std::ranges::min(each), median(each), static_cast<int>(each.size()), peak_rss};
}

double median(std::vector<double> x) {
  std::ranges::sort(x);
  return (x[(x.size() - 1) / 2] + x[x.size() / 2]) / 2;
}

Tensor random_tensor(DType dtype, const Shape& shape, unsigned seed) {
  Tensor t(dtype, shape);
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0, n = t.elements(); i < n; ++i)
    store_element(dtype, t.raw(), i, static_cast<double>(normal(bits)));
  return t;
}

Isa table_isa() { return std::min(active_isa(), Isa::Avx512); }
Ceiling fma_ceiling() {
  const Isa isa = table_isa();
  return {fmt::format("f32 FMA, {}, {} threads", name_of(isa), threads()),
          [isa](int) { return probe_fma_gflops(isa); }};
}
Ceiling read_ceiling(std::vector<const Tensor*> tensors) {
  const Isa isa = table_isa();
  return {fmt::format("reads alone, {}, {} threads", name_of(isa), threads()), [isa, tensors](int thread) {
            std::vector<MemoryRun> runs;
            for (const Tensor* t : tensors) {
              const std::int64_t share = t->bytes() / threads() / 64 * 64;
              runs.push_back({static_cast<const std::byte*>(t->raw()) + thread * share, share});
            }
            return probe_read_gbps(isa, runs);
          }};
}
Ceiling bf16_ceiling(Isa isa) {
  return {fmt::format("bf16 products, {}, {} threads", name_of(isa), threads()),
          [isa](int) { return probe_bf16_gflops(isa); }};
}
Ceiling split_ceiling() {
  return {fmt::format("bf16 products, six for one of f32, amx, {} threads", threads()),
          [](int) { return probe_bf16_gflops(Isa::Amx) / 6; }};
}

namespace {

struct BenchOptions {
  Common common;
  AttentionFlags flags;
  ShapeFlags shape;
  std::string subject, isa, model;
  bool backward = false, decode = false, heads_first = false;
  std::optional<int> page_size;
  std::optional<int> tokens;
};

/// Random numbers [batch, time, heads, dim] that lie so in memory, or as [batch, heads, time, dim]. Keys and values:
/// one sequence after another, or in pages that follow each other in no order, as in a pool that many sequences took
/// pages from and gave them back to.
struct BenchTensor {
  Tensor memory;
  TensorView rows;         // [batch, time, heads, dim], or [batch · blocks, page_size, heads, dim]
  std::vector<int> table;  // [batch, blocks]; empty: no pages
  PagedView view() const { return table.empty() ? PagedView(rows) : paged(rows, table); }
};
BenchTensor random_rows(const BenchOptions& o, DType dtype, Shape shape, unsigned seed) {
  BenchTensor x;
  if (o.heads_first) std::swap(shape[1], shape[2]);
  x.memory = random_tensor(dtype, shape, seed);
  x.rows = x.memory.view();
  if (o.heads_first) std::swap(x.rows.shape[1], x.rows.shape[2]), std::swap(x.rows.strides[1], x.rows.strides[2]);
  return x;
}
BenchTensor random_cache(const BenchOptions& o, DType dtype, Shape shape, unsigned seed) {
  if (!o.page_size) return random_rows(o, dtype, shape, seed);
  const std::int64_t pages = shape[0] * ((shape[1] + *o.page_size - 1) / *o.page_size);
  shape[0] = pages, shape[1] = *o.page_size;
  BenchTensor x = random_rows(o, dtype, shape, seed);
  x.table.resize(static_cast<std::size_t>(pages));
  std::iota(x.table.begin(), x.table.end(), 0);
  std::shuffle(x.table.begin(), x.table.end(), std::mt19937(seed));
  return x;
}

struct Report {
  ShapeFlags::Problem problem;
  std::string kernel;
  Seconds seconds;
  double gflops = 0, read_gbps = 0, fraction = 0;
  bool by_reading = false;  // whether it is reading that limits
  Ceiling products, reads;
};

/// What a kernel's products run at, at most; backward, those of f32 numbers are f32.
Ceiling ceiling_of(const std::string& kernel, bool backward) {
  if (kernel == "flash_amx") return bf16_ceiling(Isa::Amx);
  if (kernel == "flash_avx512bf16") return bf16_ceiling(Isa::Avx512Bf16);
  return kernel == "flash_amx_f32" && !backward ? split_ceiling() : fma_ceiling();
}

Report measure(const BenchOptions& o) {
  Report r;
  ShapeFlags::Problem& p = r.problem = o.shape.problem();
  if (o.decode) p.queries = 1;
  const double rows = static_cast<double>(p.batch) * p.queries * p.heads,
               keys = static_cast<double>(p.batch) * p.keys * p.kv_heads,
               elements = (rows + keys) * (static_cast<double>(p.head_dim) + p.value_dim);  // q and out, k and v
  refuse_beyond_memory("q, k, v and the output",
                       elements * static_cast<double>(size_of(p.dtype)) * (o.backward ? 2 : 1));
  note("filling q, k and v …");
  const BenchTensor q = random_rows(o, p.dtype, p.q(), 1), k = random_cache(o, p.dtype, p.k(), 2),
                    v = random_cache(o, p.dtype, p.v(), 3);
  AttentionSpec spec = o.flags.spec(p.heads);
  const std::vector<int> lengths(static_cast<std::size_t>(p.batch), p.keys);  // the last page may have room for more
  if (o.page_size) spec.lengths.keys = lengths;
  r.kernel = explain(q.rows, k.view(), v.view(), spec).chosen;
  const std::int64_t cache = (p.k().elements() + p.v().elements()) * size_of(p.dtype);
  std::vector<Ceiling> ceilings{ceiling_of(r.kernel, o.backward)};
  if (o.decode) ceilings.push_back(read_ceiling({&k.memory, &v.memory}));
  note(fmt::format("timing {}, and this machine's ceilings beside it …", r.kernel));
  const Shape out{p.batch, p.queries, p.heads, p.value_dim};
  const BenchTensor dout = o.backward ? random_rows(o, p.dtype, out, 4) : BenchTensor();
  const auto work = [&] {
    const Attention a = attend(q.rows, k.view(), v.view(), spec);
    if (o.backward) backward(a, dout.rows);
  };
  r.seconds = time_runs(work, ceilings);

  // Two products of one multiply-add per visible pair and channel; what the mask hides is not work.
  const double pairs =
      static_cast<double>(p.batch) * p.heads * static_cast<double>(o.flags.visible_pairs(p.queries, p.keys));
  // Backward: S and dP once more, then dQ, dK and dV.
  const double products = o.backward ? 3 * p.head_dim + 2 * p.value_dim : 0;
  r.gflops = 2 * pairs * (p.head_dim + p.value_dim + products) / r.seconds.median * 1e-9;
  r.products = ceilings.front();
  r.fraction = r.gflops / r.products.reached;
  if (o.decode) {
    r.reads = ceilings.back();
    r.read_gbps = static_cast<double>(cache) / r.seconds.median * 1e-9;
    const double of_reads = r.read_gbps / r.reads.reached;  // either is a bound from below: the greater one limits
    r.by_reading = of_reads >= r.fraction;
    r.fraction = std::max(of_reads, r.fraction);
  }
  return r;
}

Json to_json(const BenchOptions& o, const Report& r) {
  const ShapeFlags::Problem& p = r.problem;
  Json json{{"kernel", r.kernel},
            {"shape",
             {{"batch", p.batch},
              {"heads", p.heads},
              {"kv_heads", p.kv_heads},
              {"queries", p.queries},
              {"keys", p.keys},
              {"head_dim", p.head_dim},
              {"value_dim", p.value_dim}}},
            {"dtype", name_of(p.dtype)},
            {"seconds", {{"min", r.seconds.min}, {"median", r.seconds.median}}},
            {"gflops", r.gflops},
            {"ceiling", {{"gflops", r.products.reached}, {"what", r.products.what}}},
            {"fraction", r.fraction}};
  if (o.page_size) json["shape"]["page_size"] = *o.page_size;
  if (o.heads_first) json["shape"]["heads_first"] = true;
  if (o.decode) {
    json["read_gbps"] = r.read_gbps, json["ceiling_gbps"] = r.reads.reached;
    json["limit"] = r.by_reading ? "reads" : "products";
  }
  json["peak_rss_bytes"] = r.seconds.peak_rss;
  return json;
}

void print(const BenchOptions& o, const Report& r) {
  const ShapeFlags::Problem& p = r.problem;
  say(fmt::format("attention  q {} · k {} · v {} · {}", p.q().str(), p.k().str(), p.v().str(), name_of(p.dtype)), 11);
  if (o.heads_first) say("heads      one after another in memory, [batch, heads, time, dim]", 11);
  if (o.page_size) say(fmt::format("pages      of {} keys, in no order of memory", *o.page_size), 11);
  say(fmt::format("kernel     {}, {} threads", r.kernel, threads()), 11);
  say(fmt::format("time       {} at best, {} median of {} runs", seconds_text(r.seconds.min),
                  seconds_text(r.seconds.median), r.seconds.runs),
      11);
  if (o.decode)
    say(fmt::format("reading    {:.1f} GB/s of keys and values; the ceiling is {:.1f} ({})", r.read_gbps,
                    r.reads.reached, r.reads.what),
        11);
  say(fmt::format("speed      {:.1f} GFLOP/s over visible pairs; the ceiling is {:.1f} ({})", r.gflops,
                  r.products.reached, r.products.what),
      11);
  fmt::print("           {} {:.1f}% of what limits it{}\n", paint(Ink::Accent, bar(r.fraction, 30)), 100 * r.fraction,
             !o.decode      ? ""
             : r.by_reading ? ", reading"
                            : ", its products");
  say(fmt::format("memory     {} at most", bytes_text(static_cast<double>(r.seconds.peak_rss))), 11);
}

}  // namespace

void refuse_beyond_memory(const char* what, double bytes) {
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes > memory)
    throw Error(fmt::format("{} would take {} and this machine has {}; ask for a smaller --shape", what,
                            bytes_text(bytes), bytes_text(memory)));
}

namespace {

void run(const BenchOptions& o) {
  if (!o.isa.empty()) setenv("FOVEA_ISA", o.isa.c_str(), 1);
  active_isa();  // an unknown or absent instruction set is said before any work
  const bool attention = o.flags.given() || o.decode || o.backward || o.page_size || o.heads_first;
  if (o.subject == "model") {
    if (attention || o.shape.given())
      throw UsageError("bench model takes --model and --tokens alone, not a problem's flags");
    return bench_model(o.model, o.tokens.value_or(256), o.common.json);
  }
  if (!o.model.empty() || o.tokens) throw UsageError("--model and --tokens belong to bench model");
  if (o.subject == "look") {
    if (attention) throw UsageError("bench look takes --shape alone, not the flags of attention");
    return bench_look(o.shape.problem(), o.common.json);
  }
  if (o.subject == "gemm") {
    if (attention) throw UsageError("bench gemm takes --shape and --dtype alone, not the flags of attention");
    return bench_gemm(o.shape.layer(), o.common.json);
  }
  if (o.subject != "attention")
    throw UsageError(fmt::format("{}: unknown subject; there are attention, gemm, model and look", o.subject));
  if (o.page_size && (*o.page_size < 1 || *o.page_size > (1 << 20)))
    throw UsageError(fmt::format("--page-size {}: expected a number of keys from 1 to {}", *o.page_size, 1 << 20));
  if (o.page_size && o.backward)
    throw UsageError("--backward: caches in pages have no gradients; leave out --page-size");
  const Report report = measure(o);
  o.common.json ? print_json(to_json(o, report)) : print(o, report);
}

Job declare_bench(Flags& flags) {
  auto o = std::make_shared<BenchOptions>();
  flags
      .add_option(
          "SUBJECT", o->subject,
          "attention (one problem), gemm (a linear layer), model (the forward pass of an encoder) or look (what "
          "looking costs)")
      ->required()
      ->type_name("WHAT");
  o->shape.declare(flags);
  flags
      .add_flag("--decode", o->decode,
                "one query over the keys of --shape or --kv: the fraction is of the read bandwidth or of the products, "
                "whichever takes longer")
      ->group("Problem");
  flags
      .add_option("--page-size", o->page_size,
                  "keys and values in pages of N rows, in no order of memory, found by a table as serving keeps them")
      ->type_name("N")
      ->group("Problem");
  flags
      .add_flag("--heads-first", o->heads_first,
                "q, k and v lie in memory as [batch, heads, time, dim], as PyTorch keeps them (default: [batch, time, "
                "heads, dim])")
      ->group("Problem");
  flags.add_flag("--backward", o->backward, "forward and backward together")->group("Problem");
  o->flags.declare(flags);
  flags.add_option("--model", o->model, "for bench model: a folder in Hugging Face layout")
      ->type_name("MODEL")
      ->group("Model");
  flags
      .add_option(
          "--tokens",
          [o](const std::string& n) { o->tokens = static_cast<int>(number_of_flag("--tokens", n, 1, 1 << 30)); },
          "for bench model: how many tokens (default 256)")
      ->type_name("N")
      ->group("Model");
  flags.add_option("--isa", o->isa, "scalar, avx2, avx512, avx512bf16 or amx (default: the best this machine has)")
      ->type_name("ISA");
  o->common.declare(flags);
  return [o] { run(*o); };
}

}  // namespace

const Command kBench{"bench", "speed, beside the ceilings probed in the same run",
                     "attention|gemm|model|look [options]",
                     "  fovea bench attention --shape 1x8x1024x64 --causal\n"
                     "  fovea bench attention --shape 1x8x1x64 --kv 4096 --decode --dtype bf16\n"
                     "  fovea bench attention --shape 1x8x1x64 --kv 4096 --decode --page-size 16\n"
                     "  fovea bench attention --shape 1x8x1x64 --kv 4096 --decode --heads-first\n"
                     "  fovea bench attention --shape 1x8x1024x64 --causal --backward\n"
                     "  fovea bench attention --shape 1x4x512x64 --isa scalar --json\n"
                     "  fovea bench gemm --shape 256x384x1536\n"
                     "  fovea bench gemm --shape 256x384x1536 --dtype bf16\n"
                     "  fovea bench model --model build/models/minilm --tokens 256\n"
                     "  fovea bench look --shape 1x4x2048x64\n",
                     declare_bench};

}  // namespace fovea::cli
