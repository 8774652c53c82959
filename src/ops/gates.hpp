// The element-wise halves of recurrent cells over raw memory, in both precisions. Formulas and shapes stand at
// kernels/generic/gates.hpp.
#pragma once
#include <cstdint>

namespace fovea::gates {

void gru(std::int64_t rows, std::int64_t width, const float* x, const float* s, const float* state, float* gates,
         float* out);
void gru(std::int64_t rows, std::int64_t width, const double* x, const double* s, const double* state, double* gates,
         double* out);
void gru_backward(std::int64_t rows, std::int64_t width, const float* dout, const float* gates, const float* s,
                  const float* state, float* dx, float* ds, float* dstate);
void gru_backward(std::int64_t rows, std::int64_t width, const double* dout, const double* gates, const double* s,
                  const double* state, double* dx, double* ds, double* dstate);
void lstm(std::int64_t rows, std::int64_t width, const float* x, const float* s, const float* memory, float* gates,
          float* memory_out, float* out);
void lstm(std::int64_t rows, std::int64_t width, const double* x, const double* s, const double* memory, double* gates,
          double* memory_out, double* out);
void lstm_backward(std::int64_t rows, std::int64_t width, const float* dout, const float* dmemory_out,
                   const float* gates, const float* memory, const float* memory_out, float* dgates, float* dmemory);
void lstm_backward(std::int64_t rows, std::int64_t width, const double* dout, const double* dmemory_out,
                   const double* gates, const double* memory, const double* memory_out, double* dgates,
                   double* dmemory);

}  // namespace fovea::gates
