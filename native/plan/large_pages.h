// Large pages for memory that is about to be written.
#pragma once

#include <cstddef>

namespace fewbit {

// Asks the system to back the whole large pages of this range by large pages when they are first touched: one fault instead of
// 512, and fewer entries of the translation buffers. Nothing where the range has none, or the system does not know such advice.
void prefer_large_pages(void* data, size_t size);

}  // namespace fewbit
