// Fovea: every attention mechanism, at the speed of the hardware, and you can look inside.
#pragma once
#include <fovea/attention.hpp>
#include <fovea/cpu.hpp>
#include <fovea/look.hpp>
#include <fovea/mask.hpp>
#include <fovea/merge.hpp>
#include <fovea/model.hpp>
#include <fovea/paged.hpp>
#include <fovea/score.hpp>
#include <fovea/tensor.hpp>
#include <fovea/threads.hpp>
#include <fovea/trace.hpp>
