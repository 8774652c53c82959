// How properties are stated: two cases, the engines that answer both, and what must hold between their rows.
#pragma once
#include <cstddef>
#include <functional>
#include <vector>

#include "support/bound.hpp"

namespace fovea::testing {

/// The reference's answer, then the kernels' under each of settings(c), each already held to the bound.
std::vector<Answer> everywhere(const Case& c);

struct RowAt {
  std::int64_t batch, time, head;
};
/// Which row of another answer belongs to row (b, t, h), and by how much the LSE of the one is greater.
using RowMap = std::function<RowAt(std::int64_t b, std::int64_t t, std::int64_t h)>;
using RowShift = std::function<double(std::int64_t b, std::int64_t t, std::int64_t h)>;
inline RowAt itself(std::int64_t b, std::int64_t t, std::int64_t h) { return {b, t, h}; }
inline double no_shift(std::int64_t, std::int64_t, std::int64_t) { return 0; }

/// Row (b, t, h) of x is row map(b, t, h) of y, and its LSE is greater by shift(b, t, h): within both tolerances.
::testing::AssertionResult same_rows(const Answer& x, const Answer& y, const RowMap& map,
                                     const RowShift& shift = no_shift);
/// Every engine agrees that the rows of x are rows of y.
void expect_same(const Case& x, const Case& y, const RowMap& map = itself, const RowShift& shift = no_shift);

/// The mask and score of `c` asked at another site: `to` says which site of the old problem a site of the new one is.
void relabel(Case& c, const std::function<Site(Site)>& to);

/// The bits of one row of out, then of its LSE.
std::vector<std::byte> bits_of_row(const Attention& a, RowAt r);
/// Row (b, t, h) of x has the bits of row map(b, t, h) of y.
::testing::AssertionResult same_bits(const Attention& x, const Attention& y, const RowMap& map = itself);

/// What FOVEA_ISA is set to for a case: each instruction set of this machine and, for one case in six and the first,
/// the emulated ones, which are slow, and whose logic few cases show. Those of a case that they would not take are left
/// out.
std::vector<std::string> settings();
std::vector<std::string> settings(const Case& c);
/// body() under each of settings().
void on_every_isa(const std::function<void()>& body);

}  // namespace fovea::testing
