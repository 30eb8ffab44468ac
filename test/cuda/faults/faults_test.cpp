// A driver whose calls fail: sessions report it with the driver's name of the error, nothing leaks, and the next run works. Each
// case runs in a process of its own, because the simulator reads what shall fail when it is opened.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "cuda/ops/gather.h"
#include "cuda/plan/executor.h"
#include "format/packed_weight.h"

using namespace fewbit;

namespace {

constexpr int kRows = 5, kWidth = 64, kBatch = 3, kImages = 7;
constexpr int kAborted = 70;

// LayerNorm to codes, a linear layer and its residual.
Plan make_plan() {
  Plan plan{kBatch, 0, kRows * kWidth * 4, kRows * kWidth * 4, {}, {}};
  auto blob = std::make_shared<Blob>(4 * kWidth * 4 + packed_bytes(kWidth, kWidth, 8));
  auto* floats = reinterpret_cast<float*>(blob->data());
  for (int i = 0; i < kWidth; ++i) floats[i] = 1, floats[2 * kWidth + i] = 0.01f;  // gamma, beta, scale, bias
  for (size_t i = 4 * kWidth * 4; i < blob->size(); ++i) blob->data()[i] = static_cast<uint8_t>(i * 7);
  auto corrections = std::make_shared<Blob>(kWidth * 4);
  plan.blobs = {blob, corrections};
  const View input{Space::input, 0, 0, kWidth * 4, kRows * kWidth * 4, kRows, kWidth};
  const View codes{Space::arena, 0, 0, kWidth, kRows * kWidth, kRows, kWidth};
  View output = input;
  output.space = Space::output;
  plan.arena_bytes = kBatch * kRows * kWidth;
  const auto constant = [](int i) { return Constant{0, i * kWidth * 4}; };
  plan.ops.push_back(
      {"norm", LayerNormOp{input, codes, constant(0), constant(1), 1e-6f, PlanEncoder{30.0f, -128, 127, 128, {}, {}, 0}}});
  LinearCodesOp linear{};
  linear.x = codes, linear.y = output, linear.weight = constant(4), linear.weight_bits = 8;
  linear.correction = {1, 0}, linear.scale = constant(2), linear.bias = constant(3);
  linear.residual = input;
  plan.ops.push_back({"linear", linear});
  return plan;
}

struct Session {
  cuda::Executor executor{make_plan(), cuda::Context::of(0)};
  std::vector<float> input = std::vector<float>(kImages * kRows * kWidth, 0.5f), output = std::vector<float>(input.size());

  Session() {
    for (size_t i = 0; i < input.size(); ++i) input[i] = float(i * 37 % 101) / 50 - 1;
  }
  // The message of the error, or nothing.
  std::string run() {
    Team team;
    const std::atomic<bool> stop{false};
    try {
      executor.run(team, {input.data(), output.data(), kImages, 1}, stop, [](int64_t) {});
      return "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }
};

size_t free_memory() {
  size_t available = 0, total = 0;
  const cuda::Context::Scope scope(cuda::Context::of(0));
  FEWBIT_CUDA(memory_info, &available, &total);
  return available;
}

// Runs `body` in a process where the simulator's variable has that value; true when it returned true.
bool with(const char* variable, const char* value, const std::function<bool()>& body) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    setenv(variable, value, 1);
    setenv("PTXSIM_LOG", "/dev/null", 1);
    bool good = false;
    try {
      good = body();
    } catch (const std::exception&) {
    }
    _exit(good ? 0 : kAborted);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Sessions that fail in the middle of their life, and others beside them, without a leak.
bool survives(const char* error, bool* failed) {
  std::vector<float> want;
  const size_t before = free_memory();
  {
    Session session, other;
    for (int i = 0; i < 4; ++i) {
      const std::string message = session.run();
      if (!message.empty()) {
        *failed = true;
        if (message.find(error) == std::string::npos || message.find("CUDA: ") != 0) return false;
        if (!other.run().empty()) return false;
      } else if (want.empty()) {
        want = session.output;
      } else if (want != session.output) {
        return false;
      }
    }
    if (!other.run().empty() || other.output != want) return false;
  }
  return free_memory() == before;
}

bool survives_nth(const char* what, int n, const char* error, bool must_fail) {
  const std::string value = std::string(what) + ":" + std::to_string(n);
  return with("PTXSIM_FAIL", value.c_str(), [&] {
    bool failed = false;
    return survives(error, &failed) && failed == must_fail;
  });
}

}  // namespace

TEST_CASE("without failures runs are equal and nothing leaks") { CHECK(survives_nth("alloc", 0, "", false)); }

TEST_CASE("an allocation that fails rejects the run, and the next one works") {
  for (int n : {1, 2}) {
    INFO("allocation ", n);
    CHECK(survives_nth("alloc", n, "CUDA_ERROR_OUT_OF_MEMORY", true));
  }
}

TEST_CASE("a launch that fails rejects the run, and the next one works") {
  // Launches of three passes directly, of a graph's capture, of replays.
  for (int n : {1, 2, 3, 5, 6, 7, 8}) {
    INFO("launch ", n);
    CHECK(survives_nth("launch", n, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", true));
  }
}

// Reads beside all memory, which ends a context: what the driver reports from then on is this error.
void fault() {
  cuda::GatherParams p{};
  p.images = p.count = p.parts = 1, p.part_bytes = 1;
  p.x.data = reinterpret_cast<const uint8_t*>(uintptr_t(16));
  p.y.data = reinterpret_cast<uint8_t*>(uintptr_t(16));
  cuda::Context& context = cuda::Context::of(0);
  const cuda::Context::Scope scope(context);
  const cuda::Launch launch = cuda::gather_launch(p, context.device());
  void* params[] = {&p};
  cuda::api().launch(context.function(launch), 1, 1, 1, launch.block[0], 1, 1, 0, nullptr, params, nullptr);
}

TEST_CASE("a device that is lost rejects one run; all sessions work on a new context afterwards") {
  CHECK(with("PTXSIM_CC", "80", [] {
    Session first, second, third;
    if (!first.run().empty() || !second.run().empty()) return false;
    const std::vector<float> want = first.output;
    fault();
    if (first.run().find("CUDA_ERROR_ILLEGAL_ADDRESS") == std::string::npos) return false;
    for (Session* session : {&second, &first, &third})
      if (!session->run().empty() || session->output != want) return false;
    fault();
    return !third.run().empty() && second.run().empty() && second.output == want;
  }));
}

TEST_CASE("no device is an error that says so") {
  CHECK(with("PTXSIM_NODEVICE", "1", [] {
    const cuda::DriverReport report = cuda::report();
    return report.built && report.devices.empty() && report.reason.find("CUDA_ERROR_NO_DEVICE") != std::string::npos;
  }));
}

TEST_CASE("compute capability 7.5 is refused with the reason") {
  CHECK(with("PTXSIM_CC", "75", [] {
    const cuda::DriverReport report = cuda::report();
    return report.devices.size() == 1 && !report.devices[0].runs &&
           report.devices[0].reason.find("7.5; the kernels need 8.0 or newer") != std::string::npos;
  }));
}

TEST_CASE("FEWBIT_CUDA_ARCH that names no image, or one that the device does not run") {
  CHECK(with("FEWBIT_CUDA_ARCH", "banana", [] {
    return cuda::report().devices.at(0).reason.find(
               "FEWBIT_CUDA_ARCH 'banana' names no image of the kernels, which are compute_80") != std::string::npos;
  }));
  CHECK(with("FEWBIT_CUDA_ARCH", "ptx", [] { return cuda::report().devices.at(0).runs; }));
}

TEST_CASE("other devices than the first have kernels, too") {
  for (const char* capability : {"86", "89", "90"}) CHECK(with("PTXSIM_CC", capability, [] { return Session().run().empty(); }));
}

// What this program says of a driver library and its device, in a process that finds that library.
std::string report_with(const std::string& folder, const std::string& environment) {
  char self[4096] = "";
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return "";
  const std::string command = environment + " LD_LIBRARY_PATH='" + folder + "' '" + self + "' --report";
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  for (int byte; pipe && (byte = std::fgetc(pipe)) != EOF;) text += static_cast<char>(byte);
  if (pipe) pclose(pipe);
  return text;
}

void print_report() {
  const cuda::DriverReport report = cuda::report();
  std::printf("%s\n", report.reason.c_str());
  for (const cuda::DeviceReport& device : report.devices) std::printf("%s\n", device.reason.c_str());
}

TEST_SUITE_BEGIN("any driver");

TEST_CASE("drivers and devices that cannot be used are told apart") {
  const std::string fake = FEWBIT_FAKE_DRIVER;
  CHECK(report_with(fake, "FAKE_DRIVER=old").find("too old: it supports CUDA 4.2, and the kernels need CUDA 1") !=
        std::string::npos);
  CHECK(report_with(fake + "ancient", "").find("too old: it supports CUDA 99.0 and lacks cuGraphInstantiateWithFlags") !=
        std::string::npos);
  CHECK(report_with(fake, "FAKE_DRIVER=none").find("finds no device") != std::string::npos);
  CHECK(report_with(fake, "FAKE_DRIVER=busy").find("making a context on Fake 1 failed: CUDA_ERROR_DEVICE_UNAVAILABLE") !=
        std::string::npos);
  CHECK(report_with(fake, "FAKE_DRIVER=prohibited").find("compute mode 'prohibited'; nvidia-smi -c 0") != std::string::npos);
  const std::string wrong = report_with(fake, "FAKE_DRIVER=image");
  CHECK(wrong.find("loading kernels (compute_80 (PTX)") != std::string::npos);
  CHECK(wrong.find("on Fake 1, compute capability 10.0, failed: CUDA_ERROR_NO_BINARY_FOR_GPU") != std::string::npos);
}

TEST_SUITE_END();

// The others are made to fail by the simulator; a GPU has no such switch.
int main(int argc, char** argv) {
  cuda::set_kernel_file(FEWBIT_FATBIN);
  if (argc == 2 && std::strcmp(argv[1], "--report") == 0) {
    print_report();
    return 0;
  }
  try {
    cuda::KernelFile kernels(FEWBIT_FATBIN);
  } catch (const std::exception& error) {
    std::printf("tests of driver faults are skipped: %s\n", error.what());
    return 0;
  }
  doctest::Context tests(argc, argv);
  const bool simulated = with("PTXSIM_CC", "80", [] { return cuda::Context::of(0).name().find("ptxsim") == 0; });
  if (!simulated) {
    std::printf("most tests of driver faults are skipped: there is no simulator of the driver, which could be told to fail\n");
    tests.setOption("test-suite", "any driver");
  }
  return tests.run();
}
