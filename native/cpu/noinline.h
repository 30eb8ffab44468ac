// For a loop that needs all registers, kept apart from the others: inlined together they spill each other's constants.
#pragma once

#ifdef _MSC_VER
#define FEWBIT_NOINLINE __declspec(noinline)
#else
#define FEWBIT_NOINLINE __attribute__((noinline))
#endif
