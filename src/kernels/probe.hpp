// Ceilings, measured where and when a benchmark runs: shared machines change their clocks from minute to minute.
#pragma once
#include <cstdint>
#include <span>

#include <fovea/cpu.hpp>

#include "kernels/table.hpp"

namespace fovea {

/// f32 FMA on registers, one thread, GFLOP/s over 10 to 20 ms.
double probe_fma_gflops(Isa isa);
/// Products of bf16 numbers on registers, one thread, GFLOP/s, by an instruction set that has them (Avx512Bf16, Amx).
double probe_bf16_gflops(Isa isa);
/// Whether dot products of bf16 pairs beat widening them to f32: twice the rate on Zen 4, half of it on Intel with AMX,
/// so that a disturbed clock cannot turn the answer. Probed once a process.
bool bf16_pairs_pay();
/// Whether six products of bf16 on AMX beat one of f32, by enough to pay for the parts: more than twice the rate where
/// AMX has been met (3.4 TFLOP/s of bf16, 240 GFLOP/s of f32). Probed once a process, on a machine with AMX.
bool split_products_pay();
/// Whether lines of memory come faster when they are asked for into L2 than into L1, as few queries over many keys ask
/// for them. A yes takes 0.2 to 8 ms, once a process; a no 100 rounds (8 ms on Zen 4), up to three times. That is not
/// worth it for a few short caches, so the answer is no without a probe until 64 MB were read by few queries, some 3 ms:
/// `bytes` is what the caller is about to read.
bool asking_into_l2_pays(std::int64_t bytes);
/// Reading memory over and over with the vectors of an instruction set, one thread, GB/s: 512 bytes at a time, what is
/// left over at the end of a run not at all.
double probe_read_gbps(Isa isa, std::span<const MemoryRun> runs);

}  // namespace fovea
