#include "cuda/driver/context.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace fewbit::cuda {
namespace {

constexpr int kLeastMajor = 8;
constexpr uint64_t kPoolKeeps = 64 << 20;

std::string& kernel_file_name() {
  static auto* name = new std::string;
  return *name;
}

// Read once and kept: the driver may compile an image later.
const KernelFile& kernel_file() {
  static const auto* file = new KernelFile(kernel_file_name());
  return *file;
}

int attribute_of(int device, int attribute) {
  int value = 0;
  FEWBIT_CUDA(device_attribute, &value, attribute, device);
  return value;
}

std::string capability(const Device& device) { return std::to_string(device.major) + "." + std::to_string(device.minor); }

// The image that FEWBIT_CUDA_ARCH names, as a fatbin: "80" machine code, "ptx" what the driver compiles. Throws when there is
// none.
std::vector<char> forced_image(const Fatbin& fatbin, const std::string& name) {
  for (const Image& image : fatbin.images)
    if (image.kind == Image::ptx ? name == "ptx" : name == std::to_string(image.architecture)) return fatbin_of(image);
  throw std::runtime_error("FEWBIT_CUDA_ARCH '" + name + "' names no image of the kernels, which are " +
                           kernel_file().architectures() + "; set it to one of their numbers or to 'ptx', or unset it");
}

}  // namespace

void set_kernel_file(const std::string& file) { kernel_file_name() = file; }

Context& Context::of(int ordinal) {
  static auto* mutex = new std::mutex;
  static auto* contexts = new std::map<int, std::unique_ptr<Context>>;
  std::lock_guard<std::mutex> lock(*mutex);
  auto& context = (*contexts)[ordinal];
  if (!context) context.reset(new Context(ordinal));
  return *context;
}

Context::Context(int ordinal) : ordinal_(ordinal) {
  int count = 0;
  FEWBIT_CUDA(device_count, &count);
  if (ordinal < 0 || ordinal >= count)
    throw std::runtime_error("there is no CUDA device " + std::to_string(ordinal) + "; there are " + std::to_string(count));
  FEWBIT_CUDA(device_get, &handle_, ordinal);
  char name[256] = "";
  FEWBIT_CUDA(device_name, name, sizeof name, handle_);
  name_ = name;
  device_.major = attribute_of(handle_, attribute::major);
  device_.minor = attribute_of(handle_, attribute::minor);
  device_.multiprocessors = attribute_of(handle_, attribute::multiprocessors);
  device_.block_shared = attribute_of(handle_, attribute::block_shared);
  has_pools_ = attribute_of(handle_, attribute::memory_pools) != 0;
  if (device_.major < kLeastMajor) {
    throw std::runtime_error(name_ + " has compute capability " + capability(device_) +
                             "; the kernels need 8.0 or newer, whose tensor cores have the shapes they use");
  }
  if (attribute_of(handle_, attribute::compute_mode) == kComputeModeProhibited)
    throw std::runtime_error(name_ + " is in compute mode 'prohibited'; nvidia-smi -c 0 allows computing");
}

// Throws when the driver has no context to give: a device in exclusive mode that another process has says so.
void Context::activate() {
  if (context_) return;
  ContextHandle context = nullptr;
  const Result result = api().context_retain(&context, handle_);
  if (result != kSuccess) throw DriverError(result, "making a context on " + name_);
  context_ = context;
  // Sessions that follow each other get the memory of those before them without asking the system.
  PoolHandle pool = nullptr;
  uint64_t kept = kPoolKeeps;
  if (has_pools_ && api().device_pool(&pool, handle_) == kSuccess) api().pool_set(pool, kPoolReleaseThreshold, &kept);
}

Context::Scope::Scope(Context& context) {
  const std::lock_guard<std::recursive_mutex> lock(context.mutex_);
  context.activate();
  FEWBIT_CUDA(context_push, context.context_);
}

Context::Scope::~Scope() {
  ContextHandle context;
  api().context_pop(&context);
}

ModuleHandle Context::load(const Fatbin& fatbin) const {
  const char* forced = std::getenv("FEWBIT_CUDA_ARCH");
  std::vector<char> only;
  if (forced && *forced) only = forced_image(fatbin, forced);
  char log[2048] = "";
  int options[] = {kJitErrorLog, kJitErrorLogBytes};
  void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
  ModuleHandle module = nullptr;
  Result result = api().module_load(&module, only.empty() ? fatbin.data : only.data(), 2, options, values);
  if (result == kNoBinaryForGpu && only.empty() && fatbin.ptx)
    result = api().module_load(&module, fatbin.ptx, 2, options, values);
  if (result == kSuccess) return module;
  std::string what = "loading kernels (" + kernel_file().architectures() + ") on " + name_ + ", compute capability " +
                     capability(device_) + (forced && *forced ? ", with FEWBIT_CUDA_ARCH=" + std::string(forced) : "");
  what += *log ? " (" + std::string(log) + ")" : ",";
  throw DriverError(result, what);
}

FunctionHandle Context::function(const Launch& launch) {
  std::lock_guard<std::recursive_mutex> lock(mutex_);
  FunctionHandle& function = functions_[launch.kernel];
  const auto& fatbins = kernel_file().fatbins();
  for (size_t i = 0; !function; ++i) {
    if (i == fatbins.size()) throw std::runtime_error(std::string("the kernels lack ") + launch.kernel);
    if (i == modules_.size()) modules_.push_back(load(fatbins[i]));
    const Result result = api().module_function(&function, modules_[i], launch.kernel);
    if (result != kSuccess) function = nullptr;
    if (result != kSuccess && result != kNotFound) throw DriverError(result, launch.kernel);
  }
  unsigned& shared = shared_[launch.kernel];
  if (launch.shared > std::max<unsigned>(shared, kMostShared)) {
    FEWBIT_CUDA(function_set, function, kFunctionMaxDynamicShared, static_cast<int>(launch.shared));
    shared = launch.shared;
  }
  return function;
}

void Context::load_kernels() {
  std::lock_guard<std::recursive_mutex> lock(mutex_);
  for (const auto& fatbins = kernel_file().fatbins(); modules_.size() < fatbins.size();)
    modules_.push_back(load(fatbins[modules_.size()]));
}

void Context::reset() {
  std::lock_guard<std::recursive_mutex> lock(mutex_);
  // What fails here was lost with the context.
  if (context_) api().context_release(handle_);
  api().context_reset(handle_);
  context_ = nullptr;
  modules_.clear();
  functions_.clear();
  shared_.clear();
  ++generation_;
}

namespace {

DeviceReport report_device(int ordinal) {
  DeviceReport report{};
  try {
    int handle = 0;
    char name[256] = "";
    FEWBIT_CUDA(device_get, &handle, ordinal);
    FEWBIT_CUDA(device_name, name, sizeof name, handle);
    report.name = name;
    report.major = attribute_of(handle, attribute::major);
    report.minor = attribute_of(handle, attribute::minor);
    FEWBIT_CUDA(device_memory, &report.memory, handle);
    Context& context = Context::of(ordinal);
    const Context::Scope scope(context);
    context.load_kernels();
    report.runs = true;
    report.reason =
        report.name + ", compute capability " + capability(context.device()) + "; kernels for " + kernel_file().architectures();
  } catch (const std::exception& error) {
    report.reason = error.what();
  }
  return report;
}

}  // namespace

DriverReport report() {
  DriverReport report{};
  try {
    kernel_file();
    report.built = true;
    int count = 0;
    FEWBIT_CUDA(device_count, &count);
    for (int i = 0; i < count; ++i) report.devices.push_back(report_device(i));
    if (count == 0) report.reason = "the NVIDIA driver finds no device";
  } catch (const std::exception& error) {
    report.reason = error.what();
  }
  return report;
}

}  // namespace fewbit::cuda
