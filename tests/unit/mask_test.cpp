// What each mask shows, written out; alignments; edges; complaints.
#include <limits>

#include <gtest/gtest.h>

#include <fovea/attention.hpp>

#include "support/errors.hpp"

namespace fovea {
namespace {

/// The mask drawn: one string a query, '#' what it sees.
template <Mask M>
std::vector<std::string> draw(const M& m, int queries, int keys, int batch = 0, int head = 0) {
  std::vector<std::string> rows;
  for (int q = 0; q < queries; ++q) {
    std::string row;
    for (int k = 0; k < keys; ++k) row += m(Site{batch, head, q, k, queries, keys}) ? '#' : '.';
    rows.push_back(row);
  }
  return rows;
}
using Picture = std::vector<std::string>;

TEST(Masks, CausalAlignsWithTheLastKeyUnlessTold) {
  EXPECT_EQ(draw(causal(), 3, 3), (Picture{"#..", "##.", "###"}));
  EXPECT_EQ(draw(causal(), 2, 4), (Picture{"###.", "####"}));
  EXPECT_EQ(draw(causal(), 4, 2), (Picture{"..", "..", "#.", "##"}));
  EXPECT_EQ(draw(causal(top_left), 2, 4), (Picture{"#...", "##.."}));
  EXPECT_EQ(draw(causal(top_left), 4, 2), (Picture{"#.", "##", "##", "##"}));
  EXPECT_EQ(draw(causal(on_key(1)), 2, 4), (Picture{"##..", "###."}));
  EXPECT_EQ(draw(causal(on_key(-1)), 2, 4), (Picture{"....", "#..."}));
}
TEST(Masks, WindowCountsKeysBeforeAndAfterTheQuerysOwn) {
  EXPECT_EQ(draw(window(1), 4, 4), (Picture{"#...", "##..", ".##.", "..##"}));
  EXPECT_EQ(draw(window(0), 3, 3), (Picture{"#..", ".#.", "..#"}));
  EXPECT_EQ(draw(window(1, 1), 4, 4), (Picture{"##..", "###.", ".###", "..##"}));
  EXPECT_EQ(draw(window(-1, 0), 3, 3), draw(causal(), 3, 3));
  EXPECT_EQ(draw(window(0, -1), 3, 3), (Picture{"###", ".##", "..#"}));
  EXPECT_EQ(draw(window(-1, -1), 2, 3), (Picture{"###", "###"}));
  EXPECT_EQ(draw(window(1), 2, 4), (Picture{".##.", "..##"}));
  EXPECT_EQ(draw(window(1, 0, top_left), 2, 4), (Picture{"#...", "##.."}));
}
TEST(Masks, WindowsOfAnySizeDontOverflow) {
  constexpr int kHuge = std::numeric_limits<int>::max();
  EXPECT_EQ(draw(window(kHuge), 4, 3), draw(causal(), 4, 3));
  EXPECT_EQ(draw(window(kHuge, kHuge), 5, 3), draw(everything(), 5, 3));
  EXPECT_EQ(draw(window(0, kHuge), 3, 3), draw(window(0, -1), 3, 3));
}
TEST(Masks, PrefixChunkedDocuments) {
  EXPECT_EQ(draw(prefix(2), 4, 4), (Picture{"##..", "##..", "###.", "####"}));
  EXPECT_EQ(draw(prefix(0), 3, 3), draw(causal(), 3, 3));
  EXPECT_EQ(draw(prefix(9), 2, 3), (Picture{"###", "###"}));
  EXPECT_EQ(draw(chunked(2), 5, 5), (Picture{"##...", "##...", "..##.", "..##.", "....#"}));
  EXPECT_EQ(draw(chunked(2), 4, 2), (Picture{"..", "..", "##", "##"}));
  EXPECT_EQ(draw(chunked(3) & causal(), 4, 4), (Picture{"#...", "##..", "###.", "...#"}));
  EXPECT_EQ(draw(documents({2, 3}), 5, 5), (Picture{"##...", "##...", "..#..", "...##", "...##"}));
  EXPECT_EQ(draw(documents({2, 2, 4}), 4, 4), (Picture{"##..", "##..", "..##", "..##"}));
  EXPECT_EQ(draw(documents({}), 2, 2), (Picture{"##", "##"}));
  EXPECT_EQ(draw(documents({2}), 3, 2), (Picture{"..", "##", "##"}));  // the query before key 0 is in no document
}
TEST(Masks, BlocksWrapHeadsAndHideWhatTheyDontList) {
  EXPECT_EQ(draw(blocks(2, 2, 2, {{0, 0}, {1, 1}}), 4, 5), (Picture{"##...", "##...", "..##.", "..##."}));
  EXPECT_EQ(draw(blocks(2, 1, 2, {{0, 1}, {7, 7}, {-1, 0}}), 3, 4), (Picture{"..##", "..##", "...."}));
  Blocks two = blocks(1, 1, 2, {{0, 0}});
  two.heads = 2;
  two.visible = std::make_shared<const std::vector<bool>>(std::vector<bool>{true, false, false, true});
  EXPECT_EQ(draw(two, 1, 2, 0, 0), (Picture{"#."}));
  EXPECT_EQ(draw(two, 1, 2, 0, 1), (Picture{".#"}));
  EXPECT_EQ(draw(two, 1, 2, 0, 2), (Picture{"#."}));
}
TEST(Masks, ComposeByValue) {
  EXPECT_EQ(draw(causal() & window(1), 3, 3), (Picture{"#..", "##.", ".##"}));
  EXPECT_EQ(draw(window(0) | prefix(1), 3, 3), (Picture{"#..", "##.", "###"}));
  EXPECT_EQ(draw(except(causal()), 3, 3), (Picture{".##", "..#", "..."}));
  EXPECT_EQ(draw((!causal()) | window(0), 3, 3), (Picture{"###", ".##", "..#"}));
  const auto strided = mask([](Site s) { return s.query - s.key < 2 || s.key % 3 == 0; });
  EXPECT_EQ(draw(strided & causal(), 4, 4), (Picture{"#...", "##..", "###.", "#.##"}));
  AnyMask any;
  EXPECT_EQ(draw(any, 2, 2), (Picture{"##", "##"}));
  any = any & causal();
  EXPECT_EQ(draw(any, 2, 2), (Picture{"#.", "##"}));
  static_assert(Banded<decltype(causal() & window(3) & chunked(2))>);  // one band: no element is ever asked
  static_assert(!Banded<decltype(causal() | window(3))>);
}

TEST(Masks, CoverOfTilesOfABand) {
  const Causal m = causal();
  const auto tile = [](int q0, int q1, int k0, int k1) { return Tile{0, 0, {q0, q1}, {k0, k1}, 8, 8}; };
  EXPECT_EQ(m.cover(tile(0, 4, 4, 8)), Cover::Empty);
  EXPECT_EQ(m.cover(tile(4, 8, 0, 4)), Cover::Full);
  EXPECT_EQ(m.cover(tile(4, 8, 0, 5)), Cover::Full);
  EXPECT_EQ(m.cover(tile(4, 8, 0, 6)), Cover::Partial);
  EXPECT_EQ(m.cover(tile(0, 5, 4, 8)), Cover::Partial);
  static_assert((!Cover::Empty) == Cover::Full && (!Cover::Partial) == Cover::Partial);
  static_assert((Cover::Empty & Cover::Full) == Cover::Empty && (Cover::Partial | Cover::Full) == Cover::Full);
}

TEST(Masks, BooleanTensorsBroadcast) {
  const bool keys[3] = {true, false, true};
  EXPECT_EQ(draw(visible(TensorView(DType::Bool, keys, {3})), 2, 3), (Picture{"#.#", "#.#"}));
  const bool rows[2] = {false, true};
  EXPECT_EQ(draw(visible(TensorView(DType::Bool, rows, {2, 1})), 2, 3), (Picture{"...", "###"}));
  const bool turned[6] = {true, false, false, true, true, true};  // [keys, queries] in memory
  EXPECT_EQ(draw(visible(TensorView(DType::Bool, turned, {1, 1, 2, 3}, {0, 0, 1, 2})), 2, 3), (Picture{"#.#", ".##"}));
  const bool batch[2] = {true, false};
  const Grid per_batch = visible(TensorView(DType::Bool, batch, {2, 1, 1, 1}));
  EXPECT_EQ(draw(per_batch, 1, 2, 0), (Picture{"##"}));
  EXPECT_EQ(draw(per_batch, 1, 2, 1), (Picture{".."}));
}

/// What a mask says against sizes; empty when it fits.
template <class M>
std::string complaint(const M& m, const Extents& e) {
  return AnyMask(m).complaint(e);
}
TEST(Masks, ComplainOfSizesThatDontFit) {
  const bool memory[8] = {};
  const Grid grid = visible(TensorView(DType::Bool, memory, {1, 2, 4}));
  EXPECT_EQ(complaint(grid, {3, 1, 2, 4}), "");
  EXPECT_NE(complaint(grid, {3, 1, 4, 2}).find("mask is [1, 1, 2, 4]"), std::string::npos);
  EXPECT_NE(complaint(causal() & except(grid), {1, 1, 2, 5}).find("[1, 1, 2, 5]"), std::string::npos);
  EXPECT_NE(complaint(AnyMask(causal()) | AnyMask(grid), {1, 1, 2, 5}), "");
  EXPECT_EQ(complaint(causal() & window(3), {1, 1, 2, 5}), "");
}
// Each of these would divide by zero, read out of bounds or search an unordered list.
TEST(Masks, ComplainOfNonsense) {
  const Extents e{1, 1, 8, 8};
  EXPECT_NE(complaint(chunked(0), e), "");
  EXPECT_NE(complaint(chunked(-3), e), "");
  EXPECT_NE(complaint(blocks(0, 1, 1, {}), e), "");
  EXPECT_NE(complaint(documents({5, 3}), e), "");
  EXPECT_NE(complaint(causal() & chunked(0), e), "");
  EXPECT_NE(complaint(BlockMap(causal(), 1, 1, 8, 8), {1, 2, 8, 8}), "");
  EXPECT_NE(complaint(BlockMap(causal(), 1, 1, 8, 8), {1, 1, 8, 9}), "");
  EXPECT_EQ(complaint(BlockMap(causal(), 1, 1, 8, 8), e), "");
  EXPECT_TRUE(testing::refuses([] { BlockMap(chunked(0), 1, 1, 8, 8); }, {"chunked", "0", "at least 1"}));
  EXPECT_EQ(complaint(chunked(2) & documents({3, 5}) & blocks(2, 1, 1, {}), e), "");
}

}  // namespace
}  // namespace fovea
