// The team, the engine's queue, the thread count and the executor; run under the thread sanitizer too.
#include <doctest/doctest.h>

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "allocations.h"
#include "plan/engine.h"
#include "plan/executor.h"
#include "plan/thread_count.h"
#include "plan/threads.h"

using namespace fewbit;

TEST_CASE("parallel_for runs every task once, on threads within bounds") {
  Team team;
  for (int round = 0; round < 200; ++round) {
    const int threads = 1 + round % 5;
    const int tasks = round % 37;
    std::vector<int> seen(tasks, 0);     // not atomic: the sanitizer sees two threads on one task
    std::vector<int> local(threads, 0);  // and two tasks at a time on one thread
    team.parallel_for(tasks, threads, [&](int task, int thread) {
      ++seen[task];
      ++local[thread];
    });
    int sum = 0;
    for (int count : local) sum += count;
    CHECK(sum == tasks);
    for (int count : seen) REQUIRE(count == 1);
    // Past the time of spinning, so that workers are asleep when the next region starts.
    if (round % 20 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

namespace {

// Until it holds, but not for ever: a test that fails should not hang.
template <class Condition>
bool wait_for(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

TEST_CASE("parallel_for: each thread begins with the same part of the range") {
  for (int threads : {2, 3, 5}) {
    Team team;
    const int tasks = 7 * threads + 1;
    std::vector<int> first(threads, -1);
    std::atomic<int> begun{0};
    // Nobody takes a second task before all have one.
    team.parallel_for(tasks, threads, [&](int task, int thread) {
      if (first[thread] >= 0) return;
      first[thread] = task;
      ++begun;
      CHECK(wait_for([&] { return begun.load() == threads; }));
    });
    for (int t = 0; t < threads; ++t) CHECK(first[t] == tasks * t / threads);
  }
}

TEST_CASE("parallel_for: who has done its own share takes tasks of others") {
  for (int threads : {2, 3}) {
    Team team;
    const int tasks = 8 * threads;
    std::vector<int> thread_of(tasks, -1);
    std::atomic<int> begun{0}, done{0};
    // All begin; then the first task takes until all others are done.
    team.parallel_for(tasks, threads, [&](int task, int thread) {
      thread_of[task] = thread;
      if (task == tasks * thread / threads) {
        ++begun;
        CHECK(wait_for([&] { return begun.load() == threads; }));
      }
      if (task == 0) CHECK(wait_for([&] { return done.load() == tasks - 1; }));
      ++done;
    });
    CHECK(thread_of[0] == 0);
    for (int task = 1; task < tasks; ++task) CHECK(thread_of[task] != 0);
  }
}

#ifdef __linux__

namespace {

// Of this thread, which is left to end with them. False where the system refuses.
bool keep_to(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (processor < 0 || processor >= CPU_SETSIZE) return false;
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

std::vector<int> allowed_processors() {
  std::vector<int> allowed;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return allowed;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) allowed.push_back(i);
  return allowed;
}

// A region in which all threads are at once; each does something first.
template <class Fn>
void all_at_once(Team& team, int threads, Fn fn) {
  std::atomic<int> begun{0};
  team.parallel_for(threads, threads, [&](int, int thread) {
    fn(thread);
    ++begun;
    CHECK(wait_for([&] { return begun.load() == threads; }));
  });
}

}  // namespace

TEST_CASE("a worker that has the caller's processor alone is not woken for short tasks, and is for long ones") {
  constexpr int kRounds = 20;
  int refused = 0, called = 0, called_for_long = 0;
  // A caller that gives its processor away again and again: a worker that was woken runs then.
  const auto by_worker = [](int thread, int* count) {
    if (thread == 1) ++*count;
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
  };
  std::thread([&] {
    const std::vector<int> processors = allowed_processors();
    if (processors.empty() || !keep_to(processors[0])) {
      ++refused;
      return;
    }
    for (int round = 0; round < kRounds; ++round) {
      Team team;
      all_at_once(team, 2, [](int) {});
      int tasks = 0, long_tasks = 0;
      team.parallel_for(2, 2, [&](int, int thread) { by_worker(thread, &tasks); });
      team.parallel_for_long(2, 2, [&](int, int thread) { by_worker(thread, &long_tasks); });
      called += tasks > 0;
      called_for_long += long_tasks > 0;
    }
  }).join();
  if (refused) {
    MESSAGE("skipped: threads cannot be kept to a processor here");
    return;
  }
  // But where something else had the processor for as long as a worker rests, or all the time that it was given away.
  CHECK(called < kRounds / 2);
  CHECK(called_for_long > kRounds / 2);
}

TEST_CASE("a worker that rests does not keep others from working") {
  std::vector<int> processors = allowed_processors();
  if (processors.size() < 2) {
    MESSAGE("skipped: there is one processor");
    return;
  }
  bool kept = true;
  std::thread([&] {
    Team team;
    kept = keep_to(processors[0]);
    all_at_once(team, 3, [&](int thread) {
      if (thread > 0) keep_to(processors[thread == 2]);
    });
    std::atomic<bool> helped{false};
    if (kept)
      team.parallel_for(3, 3, [&](int, int thread) {
        if (thread == 2) helped.store(true);
        CHECK(wait_for([&] { return helped.load(); }));
      });
  }).join();
  if (!kept) MESSAGE("skipped: threads cannot be kept to a processor here");
}

#endif

TEST_CASE("parallel_for brings an exception to the caller and goes on working") {
  Team team;
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> ran{0};
    CHECK_THROWS_AS(team.parallel_for(1000, 4,
                                      [&](int task, int) {
                                        ++ran;
                                        if (task == 3) throw std::runtime_error("task 3");
                                      }),
                    std::runtime_error);
    CHECK(ran.load() >= 1);
    std::atomic<int> sum{0};
    team.parallel_for(100, 4, [&](int task, int) { sum += task; });
    CHECK(sum.load() == 4950);
  }
}

namespace {

struct Events : Listener {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> list;

  void add(const std::string& event) {
    std::lock_guard<std::mutex> lock(mutex);
    list.push_back(event);
    changed.notify_all();
  }
  void wait(size_t count) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return list.size() >= count; });
  }
  void progress(int64_t) override {}
  void finished(Outcome outcome) override {
    add(outcome.kind == Outcome::failed ? outcome.message : std::to_string(outcome.kind));
  }
};

struct TestJob : Job {
  std::function<void(TestJob&)> body;
  explicit TestJob(std::function<void(TestJob&)> fn) : body(std::move(fn)) {}
  void execute(Context&) override { body(*this); }
};

}  // namespace

TEST_CASE("the engine runs jobs in order, cancels queued ones at once and reports failures") {
  Engine& engine = Engine::instance(Engine::cpu);
  auto events = std::make_shared<Events>();
  std::atomic<bool> started{false};
  auto endless = std::make_shared<TestJob>([&](TestJob& job) {
    started = true;
    while (!job.cancelled()) std::this_thread::yield();
  });
  auto queued = std::make_shared<TestJob>([&](TestJob&) { events->add("never"); });
  auto failing = std::make_shared<TestJob>([](TestJob&) { throw std::runtime_error("broken"); });
  auto last = std::make_shared<TestJob>([&](TestJob&) { events->add("last"); });
  engine.submit(endless, events);
  engine.submit(queued, events);
  engine.submit(failing, events);
  engine.submit(last, events);
  while (!started) std::this_thread::yield();
  engine.cancel(*queued);
  events->wait(1);
  CHECK(events->list.size() == 1);
  engine.cancel(*endless);
  events->wait(5);
  const std::string aborted = std::to_string(Outcome::aborted), done = std::to_string(Outcome::done);
  CHECK(events->list == std::vector<std::string>{aborted, aborted, "broken", "last", done});
}

namespace {

// A folder for files that look like /proc and /sys; gone at the end.
struct Files {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("fewbit-" + std::to_string(std::random_device()()));
  ~Files() { std::filesystem::remove_all(folder); }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << text;
    return path(name);
  }
};

}  // namespace

TEST_CASE("the least CPU quota of a cgroup and its ancestors counts, rounded up") {
  const Files files;
  SUBCASE("v2") {
    const std::string mounts = files.write("mounts", "31 23 0:27 / " + files.path("fs") + " rw - cgroup2 cgroup2 rw\n");
    const std::string group = files.write("group", "0::/a/b\n");
    CHECK(cgroup_quota_threads(group, mounts) == 0);
    files.write("fs/a/b/cpu.max", "max 100000\n");
    CHECK(cgroup_quota_threads(group, mounts) == 0);
    files.write("fs/a/cpu.max", "250000 100000\n");
    CHECK(cgroup_quota_threads(group, mounts) == 3);
    files.write("fs/a/b/cpu.max", "1000 100000\n");
    CHECK(cgroup_quota_threads(group, mounts) == 1);
  }
  SUBCASE("v1, in a container that sees its own group at the mount point") {
    const std::string mounts =
        files.write("mounts", "30 23 0:26 /docker/7 " + files.path("cpu") + " rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
                                  "32 23 0:28 / " + files.path("cpuset") + " rw - cgroup cgroup rw,cpuset\n");
    const std::string group = files.write("group", "4:cpuset:/\n3:cpu,cpuacct:/docker/7\n");
    files.write("cpu/cpu.cfs_quota_us", "-1\n");
    files.write("cpu/cpu.cfs_period_us", "100000\n");
    CHECK(cgroup_quota_threads(group, mounts) == 0);
    files.write("cpu/cpu.cfs_quota_us", "400000\n");
    CHECK(cgroup_quota_threads(group, mounts) == 4);
  }
  SUBCASE("files that are missing or broken") {
    CHECK(cgroup_quota_threads(files.path("none"), files.path("none")) == 0);
    CHECK(cgroup_quota_threads(files.write("group", "x\n:\n0:\n"), files.write("mounts", "- -\n\n")) == 0);
  }
  CHECK(default_thread_count().threads >= 1);
}

namespace {

constexpr int kRows = 100, kInputs = 24, kWidth = 70, kPadded = 80;

std::shared_ptr<Blob> random_floats(int count, uint32_t seed) {
  auto blob = std::make_shared<Blob>(size_t(count) * 4);
  auto* floats = reinterpret_cast<float*>(blob->data());
  for (int i = 0; i < count; ++i) {
    seed = seed * 1664525 + 1013904223;
    floats[i] = float(seed >> 8) / float(1 << 23) - 1;
  }
  return blob;
}

View view(Space space, int64_t offset, int rows, int width) {
  return {space, 0, offset, int64_t(width) * 4, int64_t(rows) * width * 4, rows, width};
}

// A row in front of each image keeps the target of the linear layer from being one matrix.
Plan small_plan(int batch) {
  Plan plan{batch, int64_t(batch) * (kRows + 1) * kWidth * 4, kRows * kInputs * 4, (kRows + 1) * kWidth * 4, {}, {}};
  plan.blobs = {random_floats(kPadded * kInputs, 1), random_floats(kPadded, 2), random_floats(kWidth, 3)};
  const View all = view(Space::arena, 0, kRows + 1, kWidth);
  View first = all, others = all;
  first.rows = 1;
  others.rows = kRows;
  others.offset = kWidth * 4;
  const View constant{Space::blob, 2, 0, kWidth * 4, 0, 1, kWidth};
  View residual = constant;  // one row for all: row stride 0
  residual.rows = kRows;
  residual.row_stride = 0;
  plan.ops.push_back({"first", CopyRowsOp{constant, first, false}});
  plan.ops.push_back(
      {"linear",
       LinearF32Op{view(Space::input, 0, kRows, kInputs), others, {0, 0}, {1, 0}, Activation::gelu, std::nullopt, residual}});
  plan.ops.push_back({"norm", LayerNormOp{all, view(Space::output, 0, kRows + 1, kWidth), {1, 0}, {2, 0}, 1e-5f, std::nullopt}});
  return plan;
}

std::vector<float> run_small(Team& team, const Kernels& kernels, int batch, int threads, int images) {
  Executor executor(small_plan(batch), kernels, 2);
  const auto input = random_floats(images * kRows * kInputs, 7);
  std::vector<float> output(size_t(images) * (kRows + 1) * kWidth);
  std::vector<int64_t> progress;
  const std::atomic<bool> stop{false};
  const RunArguments arguments{input->data(), output.data(), images, threads};
  CHECK(executor.run(team, arguments, stop, [&](int64_t done) { progress.push_back(done); }));
  // One call a pass: on one thread of as many images as there is room for.
  CHECK(progress.size() >= size_t((images + batch - 1) / batch));
  CHECK((threads > 1 || progress.size() == size_t((images + batch - 1) / batch)));
  CHECK(std::adjacent_find(progress.begin(), progress.end(), std::greater_equal<>()) == progress.end());
  CHECK(progress.back() == images);
  return output;
}

}  // namespace

TEST_CASE("a plan gives the same bits for any number of threads and any batch") {
  Team team;
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    CAPTURE(path.name);
    const std::vector<float> expected = run_small(team, *path.kernels, 1, 1, 5);
    for (int batch : {1, 2, 5, 8})
      for (int threads : {1, 2, 3, 7}) CHECK(run_small(team, *path.kernels, batch, threads, 5) == expected);
  }
}

TEST_CASE("observers see images in order on any number of threads") {
  Team team;
  const int images = 7;
  const auto input = random_floats(images * kRows * kInputs, 7);
  const auto state_after = [&](int batch, int threads) {
    Plan plan = small_plan(batch);
    const auto state = std::make_shared<Blob>(1 << 16);
    plan.blobs.push_back(state);
    plan.ops.push_back({"observer", ObserveOp{view(Space::arena, 0, kRows + 1, kWidth), {3, 0}, 5, 1}});
    Executor executor(plan, *kernels_portable(), threads);
    std::vector<float> output(size_t(images) * (kRows + 1) * kWidth);
    const std::atomic<bool> stop{false};
    CHECK(executor.run(team, {input->data(), output.data(), images, threads}, stop, [](int64_t) {}));
    return std::vector<uint8_t>(state->data(), state->data() + state->size());
  };
  const std::vector<uint8_t> expected = state_after(1, 1);
  CHECK(expected != std::vector<uint8_t>(expected.size(), 0));
  for (int batch : {1, 2})
    for (int threads : {2, 3}) CHECK(state_after(batch, threads) == expected);
}

TEST_CASE("a run adds the time of each op, and only where it is asked to") {
  Team team;
  Executor executor(small_plan(2), *kernels_portable(), 2);
  const int images = 5;
  const auto input = random_floats(images * kRows * kInputs, 7);
  std::vector<float> output(size_t(images) * (kRows + 1) * kWidth), unmeasured = output;
  const std::atomic<bool> stop{false};
  const auto nothing = [](int64_t) {};
  CHECK(executor.run(team, {input->data(), unmeasured.data(), images, 2}, stop, nothing));

  // Far above what the run takes, so that what is added can be told from what was there; their sums are exact to a quarter.
  const std::vector<double> before{1e15, 2e15, 0, -1};
  std::vector<double> after = before;
  const auto start = std::chrono::steady_clock::now();
  CHECK(executor.run(team, {input->data(), output.data(), images, 2, after.data()}, stop, nothing));
  const std::chrono::duration<double, std::nano> all = std::chrono::steady_clock::now() - start;
  CHECK(output == unmeasured);
  double sum = 0;
  for (int i = 0; i < 3; ++i) {
    CHECK(after[i] >= before[i]);
    sum += after[i] - before[i];
  }
  CHECK(sum > 0);
  CHECK(sum <= all.count() + 3);
  CHECK(after[3] == before[3]);
}

namespace {

// The coded products beside: a linear layer whose output is queries, keys and values of one attention, on the floats' arena.
Plan plan_with_codes() {
  Plan plan = small_plan(2);
  constexpr int kBits = 5, kHidden = 64;
  auto weight = std::make_shared<Blob>(packed_bytes(kHidden, kHidden, kBits));
  auto zeros = std::make_shared<Blob>(kHidden * 4);
  plan.blobs.push_back(weight);
  plan.blobs.push_back(zeros);
  plan.blobs.push_back(random_floats(kHidden, 5));
  const int64_t floats = (plan.arena_bytes + 63) / 64 * 64;
  const auto codes = [&](int64_t offset) {
    return View{Space::arena, 0, floats + offset, kHidden, int64_t(kRows) * kHidden, kRows, kHidden};
  };
  const View x = codes(0), y = codes(2 * kRows * kHidden);
  plan.arena_bytes = floats + 4 * kRows * kHidden;
  const PlanEncoder encode{1.0f, -128, 127, 128, std::nullopt, std::nullopt, 0};
  plan.ops.push_back({"coded", LinearCodesOp{x,
                                             y,
                                             {3, 0},
                                             kBits,
                                             {4, 0},
                                             {5, 0},
                                             {5, 0},
                                             Activation::none,
                                             std::nullopt,
                                             std::nullopt,
                                             encode,
                                             std::nullopt,
                                             std::nullopt,
                                             std::nullopt}});
  plan.ops.push_back({"attention", AttentionCodesOp{y,
                                                    y,
                                                    y,
                                                    x,
                                                    2,
                                                    {5, 0},
                                                    {5, 0},
                                                    {5, 0},
                                                    {1.0f, 0, 255, 0, std::nullopt, std::nullopt, 0},
                                                    encode,
                                                    std::nullopt,
                                                    std::nullopt,
                                                    false}});
  return plan;
}

}  // namespace

TEST_CASE("a run allocates nothing") {
  Team team;
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    CAPTURE(path.name);
    const int images = 5, threads = 3;
    const long at_first = allocations();
    Executor executor(plan_with_codes(), *path.kernels, threads);
    const auto input = random_floats(images * kRows * kInputs, 7);
    std::vector<float> output(size_t(images) * (kRows + 1) * kWidth);
    std::vector<double> nanoseconds(executor.plan().ops.size());
    const std::atomic<bool> stop{false};
    int64_t last = 0;
    const std::function<void(int64_t)> progress = [&](int64_t done) { last = done; };
    // The team's threads are started once.
    team.parallel_for(threads, threads, [](int, int) {});
    const long before = allocations();
    CHECK((before > at_first || before < 0));  // they are counted, or cannot be
    const bool done = executor.run(team, {input->data(), output.data(), images, threads, nanoseconds.data()}, stop, progress);
    CHECK(allocations() == before);
    CHECK(done);
    CHECK(last == images);
  }
}

TEST_CASE("a stopped run ends early") {
  Team team;
  Executor executor(small_plan(1), *kernels_portable(), 2);
  const int images = 1000;
  const auto input = random_floats(images * kRows * kInputs, 7);
  std::vector<float> output(size_t(images) * (kRows + 1) * kWidth);
  std::atomic<bool> stop{false};
  int64_t last = 0;
  CHECK_FALSE(executor.run(team, {input->data(), output.data(), images, 2}, stop, [&](int64_t done) {
    last = done;
    if (done == 3) stop = true;
  }));
  CHECK(last == 3);
}

TEST_CASE("a plan that leaves its buffers is refused") {
  Plan plan = small_plan(2);
  CHECK_NOTHROW(validate(plan));
  plan.arena_bytes -= 4;
  CHECK_THROWS_WITH_AS(validate(plan), doctest::Contains("does not fit the arena"), std::invalid_argument);
}

TEST_CASE("fine rows are those of an image, and of a table") {
  Plan plan = plan_with_codes();
  plan.blobs.push_back(std::make_shared<Blob>(kEncodeTable));
  const Constant table{int(plan.blobs.size()) - 1, 0};
  AttentionCodesOp& attention = std::get<AttentionCodesOp>(plan.ops.back().op);
  for (PlanEncoder* encode :
       {&*std::get<LinearCodesOp>(plan.ops[plan.ops.size() - 2].op).encode, &attention.encode, &attention.encode_p}) {
    const PlanEncoder before = *encode;
    encode->fine_every = kRows;
    CHECK_THROWS_WITH_AS(validate(plan), doctest::Contains("needs a table"), std::invalid_argument);
    encode->table = table;
    CHECK_NOTHROW(validate(plan));
    for (int every : {-kRows, 1, 2 * kRows}) {
      encode->fine_every = every;
      CHECK_THROWS_WITH_AS(validate(plan), doctest::Contains("fineEvery must be the rows of an image"), std::invalid_argument);
    }
    *encode = before;
  }
  // 10 x 10 patches of one channel, as wide as the codes' arena has rows.
  PatchifyOp patchify{view(Space::input, 0, 20, 20), attention.y, 1, 2, 2, attention.encode};
  patchify.x.image_stride = kRows * kInputs * 4, patchify.y.width = 4;
  patchify.encode->table = table;
  plan.ops.push_back({"patches", patchify});
  CHECK_NOTHROW(validate(plan));
  std::get<PatchifyOp>(plan.ops.back().op).encode->fine_every = kRows;
  CHECK_THROWS_WITH_AS(validate(plan), doctest::Contains("fineEvery"), std::invalid_argument);
}

TEST_CASE("what runs write must not lie in a mapped file") {
  Plan plan = small_plan(1);
  std::FILE* file = std::tmpfile();
  std::fputs(std::string(1 << 16, 'x').c_str(), file);
  std::fflush(file);
  plan.blobs.push_back(std::make_shared<Blob>(std::make_shared<const MappedFile>(fileno(file))));
  plan.ops.push_back({"observer", ObserveOp{view(Space::arena, 0, kRows, kWidth), {3, 0}, 0, 1}});
  CHECK_THROWS_WITH_AS(validate(plan), doctest::Contains("must not lie in a mapped file"), std::invalid_argument);
  plan.blobs.back() = std::make_shared<Blob>(1 << 16);
  CHECK_NOTHROW(validate(plan));
  std::fclose(file);
}
