#include "progress.hpp"

#include <cmath>
#include <malloc.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "table.hpp"

namespace fovea::cli {

std::string progress_line(const train::Progress& p) {
  const std::string held_out =
      p.held_out ? fmt::format("   held out {:.4f}, {:.1f}% right", p.held_out->loss, 100 * p.held_out->right) : "";
  return fmt::format("step {:>6} of {}   loss {:.4f}{}   {:>6.0f} tokens/s   {} left", p.step, p.steps, p.loss,
                     held_out, p.tokens_per_second, duration(p.seconds_left));
}

Json progress_json(const train::Progress& p) {
  Json json{{"step", p.step},
            {"steps", p.steps},
            {"loss", p.loss},
            {"gradient_norm", p.norm},
            {"learning_rate", p.learning_rate},
            {"tokens_per_second", std::round(p.tokens_per_second)},
            {"seconds", std::round(p.seconds * 10) / 10}};
  if (p.held_out) json["held_out"] = {{"loss", p.held_out->loss}, {"tokens_right", p.held_out->right}};
  return json;
}

void keep_memory_for_training() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void end_interrupted(std::int64_t step) {
  warn(fmt::format("interrupted and saved after step {}; the same command goes on from there", step));
  std::fflush(stdout);
  _exit(130);
}

}  // namespace fovea::cli
