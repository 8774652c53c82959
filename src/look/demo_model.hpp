// The translator that is part of the program: demo/model, learnt by `fovea train demo`.
#pragma once
#include <filesystem>

namespace fovea::look {

/// Where its files open: an embedded folder in Hugging Face layout.
std::filesystem::path demo_folder();

}  // namespace fovea::look
