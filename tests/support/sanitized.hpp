// Whether this is a build under a sanitizer, which keeps memory of its own and is ten times slower. A test that includes this is one of
// those that a plain build has to run as well (../CMakeLists.txt gives it the label `memory`).
#pragma once

namespace fovea::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace fovea::testing
