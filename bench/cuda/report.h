// What the benches of the kernels share: which launches are wanted, and a line of JSON for each.
#pragma once

#include <string>

#include "cuda/driver/context.h"
#include "device.h"

namespace fewbit::cuda {

// A model, an op, bits: "<model> <op> <bits>" contains what was asked for.
struct Subject {
  std::string model, op;
  int bits;
};
bool wanted(const Subject& subject);

// Launches and prints what it was. products: multiply-adds; bytes: of all operands, once.
void report(const Subject& subject, double products, double bytes, const void* params, const Launch& launch);

template <class Params>
void report(const Subject& subject, double products, double bytes, const Params& params, const Launch& launch) {
  report(subject, products, bytes, static_cast<const void*>(&params), launch);
}

// Everything that is no matrix product and no attention.
void elementwise();

}  // namespace fewbit::cuda
