#include "core/scratch.hpp"

#include <cstdlib>
#include <memory>
#include <new>

namespace fovea {

std::byte* thread_scratch(std::size_t bytes) {
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<std::byte, Free> memory;
  thread_local std::size_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = 0;
    const std::size_t rounded = (bytes + 63) / 64 * 64;
    memory.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
    if (!memory) throw std::bad_alloc();
    size = rounded;
  }
  return memory.get();
}

}  // namespace fovea
