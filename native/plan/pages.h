// Pages for memory that is about to be written, without a fault for each.
#pragma once

#include <cstddef>

namespace fewbit {

// Asks the system to back the whole large pages of this range by large pages when they are first touched: one fault instead of
// 512, and fewer entries of the translation buffers. Nothing where the range has none, or the system does not know such advice.
void prefer_large_pages(void* data, size_t size);

// Makes all pages of this range at once, which is a fraction of the work of one fault after the other. May do nothing.
void make_pages(void* data, size_t size);

}  // namespace fewbit
