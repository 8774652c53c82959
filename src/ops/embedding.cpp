#include "ops/embedding.hpp"

#include <vector>

#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

/// Every piece of work owns a run of the table and goes through all ids, so each row of it is added to in their order.
template <class T>
void scatter(const std::vector<int>& ids, const Tensor& dy, Tensor sum) {
  constexpr std::int64_t kPieces = 32;
  const std::int64_t rows = sum.shape()[0], width = sum.shape()[1];
  T* to = sum.data<T>();
  const T* from = dy.data<T>();
  for_runs(rows, std::max<std::int64_t>(1, (rows + kPieces - 1) / kPieces), [&](std::int64_t first, std::int64_t last) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < first || ids[i] >= last) continue;
      const T* row = from + static_cast<std::int64_t>(i) * width;
      for (std::int64_t c = 0; c < width; ++c) to[ids[i] * width + c] += row[c];
    }
  });
}

}  // namespace

Tensor embedding(const Tensor& table, std::span<const int> ids) {
  if (table.shape().rank() != 2)
    throw Error(fmt::format("embedding: the table is {}; expected [rows, width]", table.view().str()));
  const std::int64_t rows = table.shape()[0], width = table.shape()[1];
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= rows)
      throw Error(fmt::format("embedding: id {} at position {} is not in a table of {}: expected 0 to {}", ids[i], i,
                              rows, rows - 1));
  return by_precision("embedding", table, [&]<class T>(T) {
    Tensor y = Tensor::unset(table.dtype(), {std::ssize(ids), width});
    T* to = y.data<T>();
    for_rows(std::ssize(ids), width, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i)
        std::copy_n(table.data<T>() + ids[static_cast<std::size_t>(i)] * width, width, to + i * width);
    });
    if (Tape* tape = Tape::current())
      tape->record(y, {table}, [table, kept = std::vector(ids.begin(), ids.end())](Tape& t, const Tensor& dy) {
        scatter<T>(kept, dy, t.sum(table));  // in place: few rows of a large table cost little
      });
    return y;
  });
}

}  // namespace fovea
