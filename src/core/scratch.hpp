// Scratch memory of the calling thread, kept from call to call: kernels allocate nothing.
#pragma once
#include <cstddef>

namespace fovea {

/// At least `bytes`, 64-byte aligned, uninitialized; valid until this thread's next call. Throws std::bad_alloc.
std::byte* thread_scratch(std::size_t bytes);

}  // namespace fovea
