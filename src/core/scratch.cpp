#include "core/scratch.hpp"

#include "core/allocate.hpp"

namespace fovea {

std::byte* thread_scratch(std::size_t bytes) {
  thread_local std::shared_ptr<void> memory;
  thread_local std::size_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = 0;
    memory = allocate(bytes);
    size = bytes;
  }
  return static_cast<std::byte*>(memory.get());
}

}  // namespace fovea
