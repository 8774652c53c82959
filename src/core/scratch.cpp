#include "core/scratch.hpp"

#include <cstdlib>
#include <memory>

#include "core/allocate.hpp"

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
    memory.reset(static_cast<std::byte*>(allocate(bytes)));
    size = bytes;
  }
  return memory.get();
}

}  // namespace fovea
