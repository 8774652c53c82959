#include "core/allocate.hpp"

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <vector>

namespace fovea {
namespace {

constexpr std::size_t kLine = 64, kHugePage = std::size_t{2} << 20;

void* fresh(std::size_t bytes, std::size_t align) {
  void* memory = nullptr;
  if (posix_memalign(&memory, align, bytes) != 0) throw std::bad_alloc();
  return memory;
}

/// Large blocks that nobody holds, oldest first. A block from the system is zeroed page by page when it is first
/// written to, which took 9% of a backward pass whose results were let go before the next. Huge pages, because rows of
/// keys of one head lie a page or more apart where heads stand side by side: packing them waited for the table of
/// pages as much as for memory.
class KeptBlocks {
 public:
  void* take(std::size_t size) {
    {
      const std::lock_guard lock(mutex_);
      for (auto block = blocks_.begin(); block != blocks_.end(); ++block)
        if (block->size == size) {
          void* memory = block->memory;
          total_ -= size;
          blocks_.erase(block);
          return memory;
        }
    }
    void* memory = fresh(size, kHugePage);
#ifdef MADV_HUGEPAGE
    static_cast<void>(madvise(memory, size, MADV_HUGEPAGE));  // a refusal changes nothing but speed
#endif
    return memory;
  }
  void give_back(void* memory, std::size_t size) {
    if (size > kMost) return std::free(memory);
    const std::lock_guard lock(mutex_);
    blocks_.push_back({memory, size});
    total_ += size;
    while (total_ > kMost) {
      std::free(blocks_.front().memory);
      total_ -= blocks_.front().size;
      blocks_.erase(blocks_.begin());
    }
  }

 private:
#ifdef FOVEA_KEEPS_NO_MEMORY
  static constexpr std::size_t kMost = 0;
#else
  static constexpr std::size_t kMost = std::size_t{64} << 20;
#endif
  struct Block {
    void* memory;
    std::size_t size;
  };
  std::mutex mutex_;
  std::vector<Block> blocks_;
  std::size_t total_ = 0;
};

KeptBlocks& kept_blocks() {
  static auto* blocks = new KeptBlocks;  // never destroyed: tensors may live longer than any static object
  return *blocks;
}

}  // namespace

std::shared_ptr<void> allocate(std::size_t bytes) {
  if (bytes < kHugePage || bytes > SIZE_MAX - kHugePage) return {fresh(bytes, kLine), std::free};
  const std::size_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  return {kept_blocks().take(size), [size](void* memory) { kept_blocks().give_back(memory, size); }};
}

}  // namespace fovea
