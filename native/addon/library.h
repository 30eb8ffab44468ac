// What this addon is, and where it was loaded from.
#pragma once

#include <string>

namespace fewbit::addon {

// Compiler, architecture and configuration in one line.
std::string build_line();

// The file of this addon; empty when the system does not tell.
std::string library_file();

// Keeps this library in memory until the process ends: Node unloads an addon with the last environment that loaded it,
// which may be a worker, and the engine's threads would lose their code.
void pin_library();

}  // namespace fewbit::addon
