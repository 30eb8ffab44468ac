// What this addon is, and where it was loaded from.
#pragma once

#include <string>

namespace fewbit::addon {

// Compiler, architecture and configuration in one line.
std::string build_line();

// The file of this addon; empty when the system does not tell.
std::string library_file();

}  // namespace fewbit::addon
