// fovea info: this machine as the kernels see it; a model's shape, parameters, and memory at length n.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/cpu.hpp>
#include <fovea/model.hpp>
#include <fovea/threads.hpp>

#include "attention_flags.hpp"
#include "command.hpp"
#include "kernels/registry.hpp"
#include "model_flags.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct InfoOptions {
  Common common;
  ModelFlags model;
  bool about_model = false;
  int tokens = 0;
};

// ---------------------------------------------------------------------------------------------------------- the
// machine

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.find(": ") + 2, line.size()));
  return "unknown CPU";
}

struct Cache {
  std::string name;
  std::int64_t bytes;
};

/// "32K" → 32768, as sysfs writes sizes.
std::int64_t sysfs_bytes(const std::string& text) {
  char* unit = nullptr;
  const std::int64_t n = std::strtoll(text.c_str(), &unit, 10);
  return *unit == 'K' ? n << 10 : *unit == 'M' ? n << 20 : n;
}

std::vector<Cache> caches() {
  std::vector<Cache> found;
  for (int i = 0; i < 8; ++i) {
    const std::filesystem::path folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}", i);
    const std::string type = first_line(folder / "type"), level = first_line(folder / "level");
    if (type.empty() || type == "Instruction") continue;
    found.push_back({fmt::format("L{}", level), sysfs_bytes(first_line(folder / "size"))});
  }
  if (!found.empty()) return found;
  const std::pair<const char*, int> known[] = {
      {"L1", _SC_LEVEL1_DCACHE_SIZE}, {"L2", _SC_LEVEL2_CACHE_SIZE}, {"L3", _SC_LEVEL3_CACHE_SIZE}};
  for (const auto& [name, key] : known)
    if (const long bytes = sysconf(key); bytes > 0) found.push_back({name, bytes});
  return found;
}

/// Caches are told in powers of two.
std::string cache_text(std::int64_t bytes) {
  return bytes < 1 << 20 ? fmt::format("{} KiB", bytes >> 10)
                         : fmt::format("{:.4g} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::int64_t memory_bytes() { return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

/// Why a kernel is of no use here to a problem of its own kind; empty when it is.
std::string refusal_of(const ForwardKernel& k) {
  Problem p;
  if (k.rounds_weights()) p.q.dtype = p.out.dtype = DType::BF16;
  return k.refuses(p);
}

Json machine_json() {
  Json cache_list = Json::array(), kernels = Json::array(), isas = Json::array();
  for (const Cache& c : caches()) cache_list.push_back({{"name", c.name}, {"bytes", c.bytes}});
  for (const ForwardKernel& k : forward_kernels()) {
    const std::string refusal = refusal_of(k);
    kernels.push_back({{"name", k.name}, {"what", k.what}, {"usable", refusal.empty()}, {"refusal", refusal}});
  }
  for (const Isa isa : usable_isas()) isas.push_back(name_of(isa));
  const char* wanted = std::getenv("FOVEA_ISA");
  return {{"version", FOVEA_VERSION},
          {"cpu", cpu_name()},
          {"features", cpu_features()},
          {"isa", name_of(active_isa())},
          {"usable_isas", isas},
          {"FOVEA_ISA", wanted && *wanted ? Json(wanted) : Json(nullptr)},
          {"cores", std::thread::hardware_concurrency()},
          {"threads", threads()},
          {"memory_bytes", memory_bytes()},
          {"caches", cache_list},
          {"kernels", kernels}};
}

void print_machine() {
  const Isa active = active_isa();  // complains of a wrong FOVEA_ISA, before anything is printed
  const char* wanted = std::getenv("FOVEA_ISA");
  std::string cache_list, isas;
  for (const Cache& c : caches())
    cache_list += fmt::format("{}{} {}", cache_list.empty() ? "" : " · ", c.name, cache_text(c.bytes));
  for (const Isa isa : usable_isas()) isas += fmt::format("{}{}", isas.empty() ? "" : ", ", name_of(isa));
  say(fmt::format("CPU        {}", cpu_name()), 11);
  say(fmt::format("features   {}", cpu_features()), 11);
  say(fmt::format("using      {} ({} here; {})", name_of(active), isas,
                  wanted && *wanted ? fmt::format("FOVEA_ISA={}", wanted)
                                    : "FOVEA_ISA=scalar|avx2|avx512|avx512bf16|amx overrides"),
      11);
  say(fmt::format("threads    {} of {} cores", threads(), std::thread::hardware_concurrency()), 11);
  say(fmt::format("caches     {}", cache_list), 11);
  say(fmt::format("memory     {}", bytes_text(static_cast<double>(memory_bytes()))), 11);
  fmt::print("\n");
  Table kernels({{"kernel", false, false, Ink::Bold}, {"usable"}, {"what it is", false, true}});
  for (const ForwardKernel& k : forward_kernels()) {
    const std::string refusal = refusal_of(k);
    kernels.row({k.name, refusal.empty() ? "yes" : "no", refusal.empty() ? k.what : refusal});
  }
  kernels.print();
  fmt::print("\n");
  suggest({{"fovea", "explain", "--shape", "1x8x4096x64", "--causal"},
           {"fovea", "bench", "attention", "--shape", "1x8x1024x64"}});
}

// ------------------------------------------------------------------------------------------------------------- the
// model

int tokens_of(const InfoOptions& o, const models::Summary& s) {
  if (o.tokens > s.positions)
    throw Error(fmt::format("--tokens {}: {} has {} positions; ask for at most that many", o.tokens, o.model.model,
                            s.positions));
  return o.tokens > 0 ? o.tokens : s.positions;
}

Json model_json(const InfoOptions& o, const Model& model) {
  const models::Summary& s = model.summary();
  const int n = tokens_of(o, s);
  const Recording m = model.recording(n);
  return {{"model", o.model.model},
          {"family", s.family},
          {"architecture", s.architecture},
          {"layers", s.layers},
          {"decoder_layers", s.decoder_layers},
          {"heads", s.heads},
          {"kv_heads", s.kv_heads},
          {"pruned_heads", s.pruned_heads},
          {"head_dim", s.head_dim},
          {"width", s.width},
          {"feed_forward", s.feed_forward},
          {"positions", s.positions},
          {"vocabulary", s.vocabulary},
          {"parameters", s.parameters},
          {"weights_dtype", s.weights_dtype},
          {"warnings", s.warnings},
          {"memory",
           {{"tokens", n},
            {"weights_bytes", 4 * s.parameters},
            {"look_bytes", m.bytes()},
            {"matrices_bytes", m.matrices_bytes}}}};
}

void print_model(const InfoOptions& o, const Model& model) {
  const models::Summary& s = model.summary();
  const int n = tokens_of(o, s);
  const Recording m = model.recording(n);
  say(fmt::format("model      {} ({}, {})", o.model.model, s.family, s.architecture), 11);
  const std::string layers = s.decoder_layers > 0 ? fmt::format("{} encoder and {} decoder", s.layers, s.decoder_layers)
                                                  : std::to_string(s.layers);
  say(fmt::format("shape      {} layers × {} heads of {} · width {} · feed-forward {}", layers, s.heads, s.head_dim,
                  s.width, s.feed_forward),
      11);
  if (s.pruned_heads > 0)
    say(fmt::format("           {} of {} heads are pruned", s.pruned_heads, s.layers * s.heads), 11);
  if (s.kv_heads != s.heads) say(fmt::format("           {} key and value heads", s.kv_heads), 11);
  say(fmt::format("reads      {} positions · vocabulary of {}", count_text(s.positions), count_text(s.vocabulary)), 11);
  say(fmt::format("weights    {} parameters, stored as {}; {} as the kernels read them (F32)", count_text(s.parameters),
                  s.weights_dtype, bytes_text(4 * static_cast<double>(s.parameters))),
      11);
  say(fmt::format("looking    at {} tokens keeps {}; the attention matrices it can rebuild any weight of would be {}",
                  count_text(n), bytes_text(static_cast<double>(m.bytes())),
                  bytes_text(static_cast<double>(m.matrices_bytes))),
      11);
  for (const std::string& w : s.warnings) say(fmt::format("warning    {}", w), 11, Ink::Warn);
  fmt::print("\n");
  if (s.decoder_layers > 0) return suggest({{"fovea", "translate", "--model", o.model.model, "The bank was flooded."}});
  suggest({{"fovea", "look", "--model", o.model.model, "The bank by the river was flooded", "--token", "bank"}});
}

void run(const InfoOptions& o) {
  if (!o.about_model) {
    if (o.tokens > 0) throw UsageError("--tokens asks for a model's memory: give --model too");
    return o.common.json ? print_json(machine_json()) : print_machine();
  }
  const Model model = fovea::load(o.model.model);  // its warnings are among what is printed
  o.common.json ? print_json(model_json(o, model)) : print_model(o, model);
}

Job declare_info(Flags& flags) {
  auto o = std::make_shared<InfoOptions>();
  const Flag* model = o->model.declare(flags, false, "");
  flags
      .add_option(
          "--tokens",
          [o](const std::string& n) { o->tokens = static_cast<int>(number_of_flag("--tokens", n, 1, 1 << 30)); },
          "memory for looking at a text of N tokens (default: all the model's positions)")
      ->type_name("N");
  o->common.declare(flags, false);
  return [o, model] {
    o->about_model = model->given();
    run(*o);
  };
}

}  // namespace

const Command kInfo{"info", "this machine as the kernels see it; a model's shape and memory",
                    "[--model MODEL [--tokens N]] [--json]",
                    "  fovea info\n"
                    "  FOVEA_ISA=avx2 fovea info --json\n"
                    "  fovea info --model build/models/minilm --tokens 256\n",
                    declare_info};

}  // namespace fovea::cli
