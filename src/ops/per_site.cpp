// Tensors that a mask or a score reads, one number per site, broadcast over [batch, heads, queries, keys].
#include <fmt/format.h>

#include <fovea/attention.hpp>
#include <limits>

namespace fovea {
namespace {

template <class T>
PerSite<T> per_site(const char* name, const TensorView& t) {
  if (t.dtype != dtype_of<T>) throw Error(fmt::format("{} is {}; expected {}", name, t.str(), name_of(dtype_of<T>)));
  if (t.shape.rank() > 4)
    throw Error(fmt::format("{} is {}; expected at most [batch, heads, queries, keys]", name, t.str()));
  PerSite<T> site;
  site.data = static_cast<const T*>(t.data);
  const int lead = 4 - t.shape.rank();  // missing leading dimensions broadcast
  for (int i = 0; i < t.shape.rank(); ++i) {
    if (t.shape[i] < 0 || t.shape[i] > std::numeric_limits<int>::max())
      throw Error(fmt::format("{} is {}: too large", name, t.str()));
    site.shape[lead + i] = static_cast<int>(t.shape[i]);
    site.strides[lead + i] = t.shape[i] == 1 ? 0 : t.strides[i];
  }
  return site;
}

}  // namespace

Grid visible(const TensorView& grid) { return {per_site<bool>("mask", grid)}; }
Bias bias(const TensorView& values) { return {per_site<float>("bias", values)}; }

}  // namespace fovea
