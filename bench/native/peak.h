// What this core can do at most, measured by loops that touch registers only. 0 where the instruction does not run.
#pragma once

namespace fewbit {

double peak_vnni_gops();   // u8 x s8 products and additions, 1e9 a second, vpdpbusd zmm
double peak_fma_gflops();  // vfmadd zmm

}  // namespace fewbit
