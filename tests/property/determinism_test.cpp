// Same inputs, same bits: from run to run, for any number of threads, whatever else is in the batch, wherever the
// tensors lie in memory. Property 30 of the list.
#include <gtest/gtest.h>

#include <fovea/threads.hpp>

#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 500;

struct Threads : ::testing::Test {
  int before = threads();
  void TearDown() override { set_threads(before); }
};

Choice small() {
  Choice choice;
  choice.work = 30'000;
  return choice;
}
/// Queries [begin, end) of a tensor's batch row as a tensor of batch 1, heads [first, first + heads).
Input slice(const Input& x, std::int64_t row, std::int64_t begin, std::int64_t end, std::int64_t first,
            std::int64_t heads) {
  Input part(x.view.dtype, {1, end - begin, heads, x.view.shape[3]});
  part.fill([&](auto, auto t, auto h, auto d) { return x.get(row, t + begin, h + first, d); });
  return part;
}

TEST(Bits, AreTheSameInAThousandRuns) {
  for_cases(3, [](Rng& rng) {
    const Case c = random_case(rng, small());
    on_every_isa([&] {
      const Attention first = c.attend();
      for (int i = 0; i < scaled(1000); ++i)
        ASSERT_TRUE(same_bits(c.attend(), first)) << "run " << i << ": " << c.str();
    });
  });
}

TEST_F(Threads, OfAnyNumberGiveTheSameBits) {
  for_cases(kCases / 2, [](Rng& rng) {
    Choice choice;
    choice.batches = 6, choice.work = 200'000;  // several pieces of work each
    const Case c = random_case(rng, choice);
    on_every_isa([&] {
      set_threads(1);
      const Attention one = c.attend();
      for (const int n : {2, 3, 7, 16}) {
        set_threads(n);
        ASSERT_TRUE(same_bits(c.attend(), one)) << n << " threads: " << c.str();
      }
    });
  });
}

TEST(Bits, DontDependOnLayoutOrAlignment) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    Case other = c;
    for (Input* x : {&other.q, &other.k, &other.v}) {
      const Input layout = random_layout(rng, x->view.dtype, x->view.shape);
      if (layout.view.strides[0] == 0 || layout.view.strides[2] == 0) continue;  // would share what differs
      *x = x->copy_as(x->view.shape, layout.view.strides, rng.below(16));
    }
    on_every_isa([&] { ASSERT_TRUE(same_bits(other.attend(), c.attend())) << c.str() << "\nsecond: " << other.str(); });
  });
}

TEST(Bits, OfABatchRowAndAHeadGroupAreThoseOfTheProblemAlone) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.scores =
        false;  // wrapped in a functor that remembers where it stood, a score could be computed in other steps
    Case c = random_case(rng, choice);
    if (!c.q_ends.empty()) return;  // packed: another test
    if (c.batches() == 0) return;
    const int b = rng.below(c.batches()), kv = rng.below(c.kv_heads()), group = c.heads() / c.kv_heads();
    const int queries = c.q_lengths.empty() ? c.queries() : c.q_lengths[static_cast<std::size_t>(b)];
    const int keys = c.kv_lengths.empty() ? c.keys() : c.kv_lengths[static_cast<std::size_t>(b)];
    Case alone = c;
    alone.q = slice(c.q, b, 0, queries, kv * group, group);
    alone.k = slice(c.k, b, 0, keys, kv, 1), alone.v = slice(c.v, b, 0, keys, kv, 1);
    alone.q_lengths.clear(), alone.kv_lengths.clear();
    alone.mask = mask([old = c.mask, b, head = kv * group](Site s) { return s.batch = b, s.head += head, old(s); });
    if (!c.sinks.empty()) alone.sinks.assign(c.sinks.begin() + kv * group, c.sinks.begin() + (kv + 1) * group);
    on_every_isa([&] {
      ASSERT_TRUE(same_bits(alone.attend(), c.attend(),
                            [&](auto, auto t, auto h) {
                              return RowAt{b, t, kv * group + h};
                            }))
          << "batch row " << b << " kv_head " << kv << ": " << c.str();
    });
  });
}

// Scores whose parts are told from where query and key stand in their own sequence need no relabelling, so they take
// part.
TEST(Bits, OfAPackedSequenceAreThoseOfTheSequenceAlone) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.batches = 1, choice.masks = choice.scores = choice.lengths = false;
    Case c = random_case(rng, choice);
    while (c.q_ends.empty()) add_lengths(rng, c);
    c.q_lengths.clear(), c.kv_lengths.clear();
    const CaseProblem sizes(c);
    const NamedMask band = random_band(rng, {1, c.heads(), sizes.p.queries, sizes.p.keys});
    c.mask = band.mask, c.mask_name = band.name;
    if (rng.chance(0.5)) c.score = alibi(alibi_slopes(c.heads())), c.score_name = "alibi";
    if (rng.chance(0.3)) c.score = c.score | softcap(8.0f), c.score_name += " | softcap(8)";
    on_every_isa([&] {
      const Attention whole = c.attend();
      for (std::size_t i = 0; i < c.q_ends.size(); ++i) {
        const int q = i ? c.q_ends[i - 1] : 0, k = i ? c.kv_ends[i - 1] : 0;
        Case alone = c;
        alone.q = slice(c.q, 0, q, c.q_ends[i], 0, c.heads());
        alone.k = slice(c.k, 0, k, c.kv_ends[i], 0, c.kv_heads()),
        alone.v = slice(c.v, 0, k, c.kv_ends[i], 0, c.kv_heads());
        alone.q_ends.clear(), alone.kv_ends.clear();
        ASSERT_TRUE(same_bits(alone.attend(), whole,
                              [&](auto, auto t, auto h) {
                                return RowAt{0, q + t, h};
                              }))
            << "sequence " << i << " of " << c.str();
      }
    });
  });
}

// So many that a piece of work finds its batch row from marks between which there are several; some rows are empty, and
// the keys of some are cut into runs.
TEST(Bits, OfHundredsOfPackedSequencesAreThoseOfEachAlone) {
  for_cases(6, [](Rng& rng) {
    Choice choice = small();
    choice.batches = 1, choice.masks = choice.scores = choice.lengths = choice.layouts = false;
    Case c = random_case(rng, choice);
    c.q_ends.clear(), c.kv_ends.clear();
    const int sequences = rng.in(130, 300);
    for (int i = 0, q = 0, k = 0; i < sequences; ++i) {
      c.q_ends.push_back(q += rng.below(4)), c.kv_ends.push_back(k += rng.chance(0.01) ? 2000 : rng.below(12));
    }
    const auto longer = [&](const Input& x, int time) {
      Input to(x.view.dtype, {1, time, x.view.shape[2], x.view.shape[3]});
      to.fill([&](auto, auto, auto, auto) { return rng.normal(); });
      return to;
    };
    c.q = longer(c.q, c.q_ends.back()), c.k = longer(c.k, c.kv_ends.back()), c.v = longer(c.v, c.kv_ends.back());
    on_every_isa([&] {
      const Attention whole = c.attend();
      for (int n = 0; n < 20; ++n) {
        const auto i = static_cast<std::size_t>(n == 0 ? sequences - 1 : rng.below(sequences));
        const int q = i ? c.q_ends[i - 1] : 0, k = i ? c.kv_ends[i - 1] : 0;
        Case alone = c;
        alone.q = slice(c.q, 0, q, c.q_ends[i], 0, c.heads());
        alone.k = slice(c.k, 0, k, c.kv_ends[i], 0, c.kv_heads());
        alone.v = slice(c.v, 0, k, c.kv_ends[i], 0, c.kv_heads());
        alone.q_ends.clear(), alone.kv_ends.clear();
        ASSERT_TRUE(same_bits(alone.attend(), whole,
                              [&](auto, auto t, auto h) {
                                return RowAt{0, q + t, h};
                              }))
            << "sequence " << i << " of " << sequences;
      }
    });
  });
}

TEST(Bits, OfPackedSequencesAreThoseOfPaddedRows) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.lengths = choice.masks = false, choice.layouts = false;
    Case padded = random_case(rng, choice);
    if (padded.score_name.find("bias") != std::string::npos) return;  // its shape would be another
    std::vector<int> q, k;
    for (int b = 0; b < padded.batches(); ++b)
      q.push_back(rng.in(0, padded.queries())), k.push_back(rng.in(0, padded.keys()));
    padded.q_lengths = q, padded.kv_lengths = k;
    Case packed_case = padded;
    packed_case.q_lengths.clear(), packed_case.kv_lengths.clear();
    const auto pack = [&](const Input& x, const std::vector<int>& lengths, std::vector<int>* ends) {
      std::int64_t total = 0;
      std::vector<std::pair<std::int64_t, std::int64_t>> from;  // batch row and time of each packed row
      for (std::size_t b = 0; b < lengths.size(); ++b) {
        for (int t = 0; t < lengths[b]; ++t) from.emplace_back(b, t);
        total += lengths[b];
        if (ends) ends->push_back(static_cast<int>(total));
      }
      Input y(x.view.dtype, {1, total, x.view.shape[2], x.view.shape[3]});
      y.fill([&](auto, auto t, auto h, auto d) {
        return x.get(from[static_cast<std::size_t>(t)].first, from[static_cast<std::size_t>(t)].second, h, d);
      });
      return y;
    };
    packed_case.q = pack(padded.q, q, &packed_case.q_ends);
    packed_case.k = pack(padded.k, k, &packed_case.kv_ends), packed_case.v = pack(padded.v, k, nullptr);
    on_every_isa([&] {
      const Attention x = padded.attend(), y = packed_case.attend();
      int start = 0;
      for (std::size_t b = 0; b < q.size(); start += q[b++])
        for (int t = 0; t < padded.queries(); ++t)
          for (int h = 0; h < padded.heads(); ++h) {
            if (t >= q[b]) continue;
            ASSERT_EQ(bits_of_row(x, {static_cast<std::int64_t>(b), t, h}), bits_of_row(y, {0, start + t, h}))
                << padded.str();
          }
    });
  });
}

}  // namespace
}  // namespace fovea
