// Statistics of rows beside a forward pass: where they go, and what a kernel needs to know of segments.
#pragma once
#include <vector>

#include <fovea/attention.hpp>

#include "kernels/problem.hpp"

namespace fovea {

class Gathering {
 public:
  /// Makes room in a.rows, and lets the problem's kernel know of it for as long as this lives. Error when more is asked
  /// for than kernels keep, or of other keys than there are.
  Gathering(Attention& a, Problem& p);
  Gathering(const Gathering&) = delete;
  Gathering& operator=(const Gathering&) = delete;

 private:
  RowProbes probes_;
  std::vector<float> share_;  // [segments, keys up to a multiple of 64]
};

}  // namespace fovea
