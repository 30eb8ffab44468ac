// The context of a device: its kernels, and what happens when it is lost. One for each device and process, shared by all
// sessions.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/driver/api.h"
#include "cuda/driver/images.h"
#include "cuda/ops/device.h"

namespace fewbit::cuda {

// The file of kernels; called once, before anything else here.
void set_kernel_file(const std::string& file);

class Context {
 public:
  // Throws std::runtime_error that says why when the device cannot be used. Lives as long as the process.
  static Context& of(int ordinal);

  // Makes a context current on this thread; the driver's context exists from the first one on.
  class Scope {
   public:
    explicit Scope(Context& context);
    ~Scope();
    Scope(const Scope&) = delete;
  };

  const Device& device() const { return device_; }
  const std::string& name() const { return name_; }
  bool has_pools() const { return has_pools_; }

  // The kernel of a launch, allowed its shared memory. In a scope.
  FunctionHandle function(const Launch& launch);
  // Loads all kernels, to see whether they load. In a scope.
  void load_kernels();

  // Counts how often the context was lost. What was made before, memory, streams and graphs, is gone.
  unsigned generation() const { return generation_; }
  // After a fatal error, outside of any scope: throws the context away, so that the next scope makes a new one.
  void reset();
  // Held by whoever frees what belongs to a generation, and by reset().
  std::recursive_mutex& mutex() { return mutex_; }

 private:
  explicit Context(int ordinal);
  void activate();
  ModuleHandle load(const Fatbin& fatbin) const;

  const int ordinal_;
  int handle_ = 0;
  std::string name_;
  Device device_{};
  bool has_pools_ = false;
  ContextHandle context_ = nullptr;
  std::vector<ModuleHandle> modules_;  // of the first fatbins; the others were not needed yet
  std::map<std::string, FunctionHandle> functions_;
  std::map<std::string, unsigned> shared_;  // what kernels were allowed so far
  unsigned generation_ = 0;
  std::recursive_mutex mutex_;
};

// What a list of devices says about one.
struct DeviceReport {
  std::string name;  // empty when the driver does not tell
  int major, minor;
  size_t memory;
  bool runs;
  std::string reason;  // why it does not run, or what it is
};

struct DriverReport {
  bool built;          // there is a file of kernels
  std::string reason;  // why there are no devices; empty when there are
  std::vector<DeviceReport> devices;
};

// Tries every device: makes its context, and loads the kernels.
DriverReport report();

}  // namespace fewbit::cuda
