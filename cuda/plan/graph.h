// A stream's work as a graph, which the driver starts in one call; and events, which tell how long work took.
#pragma once

#include <utility>

#include "cuda/driver/memory.h"

namespace fewbit::cuda {

class Graph {
 public:
  // What `enqueue` puts into the stream, without doing it.
  template <class Enqueue>
  Graph(const Stream& stream, Enqueue enqueue) {
    FEWBIT_CUDA(capture_begin, stream.handle(), kCaptureThreadLocal);
    GraphHandle graph = nullptr;
    try {
      enqueue();
    } catch (...) {
      if (api().capture_end(stream.handle(), &graph) == kSuccess && graph) api().graph_destroy(graph);
      throw;
    }
    FEWBIT_CUDA(capture_end, stream.handle(), &graph);
    const Result result = api().graph_instantiate(&exec_, graph, 0);
    api().graph_destroy(graph);
    check(result, "graph_instantiate");
  }
  ~Graph() { api().graph_exec_destroy(exec_); }
  Graph(const Graph&) = delete;

  void launch(const Stream& stream) { FEWBIT_CUDA(graph_launch, exec_, stream.handle()); }

 private:
  GraphExecHandle exec_ = nullptr;
};

class Event {
 public:
  Event() { FEWBIT_CUDA(event_create, &handle_, 0); }
  ~Event() { api().event_destroy(handle_); }
  Event(const Event&) = delete;
  void record(const Stream& stream) { FEWBIT_CUDA(event_record, handle_, stream.handle()); }
  // Both have happened.
  double milliseconds_until(const Event& end) const {
    float milliseconds = 0;
    FEWBIT_CUDA(event_elapsed, &milliseconds, handle_, end.handle_);
    return milliseconds;
  }

 private:
  EventHandle handle_ = nullptr;
};

}  // namespace fewbit::cuda
