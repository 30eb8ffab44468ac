// What one core of this machine can do at most, measured on the spot in a few milliseconds: the roofs that kernels are
// held against.
#pragma once

#include <cstddef>

#include "cpu/kernels.h"

namespace fewbit {

// Operations a second on registers; a multiply-add counts two.
struct Peaks {
  double int8;    // products of u8 and s8, added up in int32
  double floats;  // fused multiply-adds of float32
};

// With the instructions of the path, which has to run here. The portable path has no instructions of its own: for it this is
// what the compiler makes of plain loops over arrays in the first cache.
Peaks measure_peaks(const Path& path);

// Bytes a second that reading a buffer of so many bytes over and over gives: the speed of the smallest cache that holds it.
double measure_read_speed(size_t bytes);

Peaks peaks_portable();
// For x86-64 only; use measure_peaks.
Peaks peaks_avx2();
Peaks peaks_avxvnni();
Peaks peaks_avx512();
Peaks peaks_amx();

// The shortest of `runs` runs, in seconds. No template: the linker could give one that was compiled for other instructions to
// everybody.
double shortest_run(int runs, void (*run)());

}  // namespace fewbit
