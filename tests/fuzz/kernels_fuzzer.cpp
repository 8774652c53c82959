// Any bytes as an attention problem: they choose sizes, strides, dtypes, mask, score, lengths and sinks. Every kernel
// of this machine, the emulated ones too, then answers within the contract's bound of the float64 reference.
#include <cstddef>
#include <cstdint>
#include <span>

#include <fmt/format.h>

#include "fuzz/promises.hpp"
#include "support/relations.hpp"

namespace {

using namespace fovea::testing;

Case case_of(std::span<const std::uint8_t> bytes) {
  std::uint64_t seed = 0;  // of the numbers, once the choices are made
  if (bytes.size() >= sizeof seed) {
    __builtin_memcpy(&seed, bytes.data(), sizeof seed);
    bytes = bytes.subspan(sizeof seed);
  }
  Rng rng(seed, bytes);
  Choice choice;
  choice.work = 8'000;  // some thousand problems a minute, at a sanitizer's pace
  return random_case(rng, choice);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Case c = case_of({data, size});
  const Truth truth(c);
  for (const std::string& isa : settings(c)) {
    const UseIsa use(isa);
    const ::testing::AssertionResult within = within_bound(answer_of(c, c.attend(), truth), truth);
    fovea::fuzz::require(within, fmt::format("{}\n{}", within.message(), c.str()).c_str());
  }
  return 0;
}
