// Statistics of rows beside a forward pass: where they go, and how they are made where a kernel gathers none.
#pragma once
#include <fovea/attention.hpp>

#include "kernels/problem.hpp"

namespace fovea {

class Gathering {
 public:
  /// Makes room in a.rows, and lets the problem's kernel know of it. Error when more are asked for than kernels keep.
  Gathering(Attention& a, Problem& p);
  Gathering(const Gathering&) = delete;
  Gathering& operator=(const Gathering&) = delete;
  /// After the pass: what it has left out, in a second one.
  void finish(const Attention& a, const Problem& p);

 private:
  void again(const Attention& a, const Problem& p, int batch, int head);
  RowProbes probes_;
};

}  // namespace fovea
