// fovea bench model: the forward pass of an encoder over n tokens, recording nothing.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "bench.hpp"
#include "io/hub.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

/// Multiply-adds count as two. Per token and layer: the projections of q, k, v and output, both halves of the
/// feed-forward, and the two products of attention over all tokens.
double forward_flops(const models::Summary& s, double tokens) {
  const double width = s.width, inner = static_cast<double>(s.heads) * s.head_dim,
               kv = static_cast<double>(s.kv_heads) * s.head_dim;
  const double products = width * (inner + 2 * kv) + inner * width + 2 * width * s.feed_forward;
  return 2 * tokens * s.layers * (products + 2 * tokens * inner);
}

/// Ids spread over the vocabulary: what they mean doesn't change the work.
models::Sequence any_tokens(const models::Summary& s, int tokens) {
  models::Sequence sequence;
  for (int i = 0; i < tokens; ++i) {
    sequence.ids.push_back(static_cast<int>((std::int64_t{i} * 7919 + 104'729) % s.vocabulary));
    sequence.types.push_back(0);
  }
  return sequence;
}

}  // namespace

void bench_model(const std::string& model, int tokens, bool json) {
  if (model.empty())
    throw UsageError("bench model needs --model: a folder in Hugging Face layout, or org/name in the local hub cache");
  const auto encoder = models::load_encoder(io::resolve_model(model));
  const models::Summary& s = encoder->summary();
  if (tokens < 1 || tokens > s.positions)
    throw Error(fmt::format("--tokens {}: {} reads 1 to {} tokens", tokens, model, s.positions));
  const models::Sequence sequence = any_tokens(s, tokens);
  note("timing the forward pass, and this machine's ceiling beside it …");
  Ceiling ceiling = fma_ceiling();
  const Seconds seconds = time_runs([&] { encoder->forward({&sequence, 1}); }, {&ceiling, 1});
  const double gflops = forward_flops(s, tokens) / seconds.median * 1e-9, fraction = gflops / ceiling.reached;
  if (json)
    return print_json({{"model", model},
                       {"tokens", tokens},
                       {"seconds", {{"min", seconds.min}, {"median", seconds.median}}},
                       {"tokens_per_second", tokens / seconds.median},
                       {"gflops", gflops},
                       {"ceiling", {{"gflops", ceiling.reached}, {"what", ceiling.what}}},
                       {"fraction", fraction},
                       {"peak_rss_bytes", seconds.peak_rss}});
  say(fmt::format("model      {} · {} tokens, {} threads", model, tokens, threads()), 11);
  say(fmt::format("time       {} at best, {} median of {} runs; {:.0f} tokens a second", seconds_text(seconds.min),
                  seconds_text(seconds.median), seconds.runs, tokens / seconds.median),
      11);
  say(fmt::format("speed      {:.1f} GFLOP/s; the ceiling is {:.1f} ({})", gflops, ceiling.reached, ceiling.what), 11);
  fmt::print("           {} {:.1f}% of it\n", paint(Ink::Accent, bar(fraction, 30)), 100 * fraction);
  say(fmt::format("memory     {} at most", bytes_text(static_cast<double>(seconds.peak_rss))), 11);
}

}  // namespace fovea::cli
