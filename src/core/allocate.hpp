// Memory of tensors and scratch.
#pragma once
#include <cstddef>
#include <memory>

namespace fovea {

/// `bytes` of uninitialized memory, 64-byte aligned. Large blocks lie on huge pages where the system gives them to
/// those who ask, and some stay for later calls when they are let go. Throws std::bad_alloc.
std::shared_ptr<void> allocate(std::size_t bytes);

}  // namespace fovea
