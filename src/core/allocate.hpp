// Memory of tensors and scratch.
#pragma once
#include <cstddef>

namespace fovea {

/// `bytes` of uninitialized memory, 64-byte aligned, to be freed by std::free(); large ones on huge pages where the
/// system gives them to those who ask. Throws std::bad_alloc.
void* allocate(std::size_t bytes);

}  // namespace fovea
