// fewbit::emulated::attention_codes_amx: the AMX kernel over the scalar tile unit of tile_amx.h, for machines without AMX.
#define FEWBIT_EMULATE_AMX 1
#include "cpu/attention_amx.cpp"
