#include "look/silence.hpp"

#include <algorithm>
#include <utility>

#include "ops/tape.hpp"

namespace fovea::look {
namespace {

void overwrite(Tensor& out, std::span<const Silence> heads, bool with_means) {
  const std::int64_t dim = out.shape()[3], row = out.shape()[2] * dim;
  for (const Silence& s : heads)
    for (std::int64_t t = s.rows.begin; t < s.rows.end; ++t) {
      float* to = out.data<float>() + t * row + s.head * dim;
      if (with_means && s.stand_in)
        std::copy_n(s.stand_in, dim, to);
      else
        std::fill_n(to, dim, 0.0f);
    }
}

}  // namespace

HeadMeans head_means(std::span<const models::LayerRecord* const> records) {
  HeadMeans means;
  for (const models::LayerRecord* record : records) {
    const Tensor out = record->attention.out.to(DType::F32);  // [1, tokens, heads, value_dim]
    const std::int64_t tokens = out.shape()[1], heads = out.shape()[2], dim = out.shape()[3];
    for (std::int64_t h = 0; h < heads; ++h) {
      std::vector<double> sum(static_cast<std::size_t>(dim));
      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t c = 0; c < dim; ++c)
          sum[static_cast<std::size_t>(c)] += static_cast<double>(out.data<float>()[(t * heads + h) * dim + c]);
      std::vector<float>& mean = means[{record->layer, static_cast<int>(h)}];
      for (const double s : sum) mean.push_back(static_cast<float>(s / static_cast<double>(tokens)));
    }
  }
  return means;
}

Tensor silenced(const Tensor& out, std::vector<Silence> heads) {
  if (heads.empty()) return out;
  Tensor edited = out.clone();
  overwrite(edited, heads, true);
  if (Tape* tape = Tape::current())
    tape->record(edited, {out}, [out, kept = std::move(heads)](Tape& t, const Tensor& dout) {
      Tensor through = dout.clone();
      overwrite(through, kept, false);
      t.add(out, through.reshape(out.shape()));
    });
  return edited;
}

}  // namespace fovea::look
