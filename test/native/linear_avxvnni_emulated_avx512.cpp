// fewbit::emulated::linear_codes_avxvnni: the AVX-VNNI kernel with the AVX-512 encoding of vpdpbusd ymm, for machines that have
// only that one.
#define FEWBIT_AVXVNNI_NAMESPACE fewbit::emulated
#include "cpu/linear_avxvnni.cpp"
