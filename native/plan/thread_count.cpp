#include "plan/thread_count.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace fewbit {
namespace {

struct Mount {
  std::string root, point;  // `root` of the hierarchy is seen at `point`
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& parts, const char* part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

// The mount of the cgroup v2 hierarchy, or of the v1 hierarchy with the cpu controller. Lines of mountinfo:
//   36 35 98:0 /root /mount/point options [tags] - type source super-options
std::vector<Mount> cgroup_mounts(const std::string& mount_file, bool v2) {
  std::vector<Mount> mounts;
  std::ifstream in(mount_file);
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 4) continue;
    if (v2 ? dash[1] == "cgroup2" : dash[1] == "cgroup" && contains(split(dash[3], ','), "cpu"))
      mounts.push_back({fields[3], fields[4]});
  }
  return mounts;
}

// ceil(quota / period) of one group, 0 without a quota.
int group_threads(const std::string& folder, bool v2) {
  std::string quota;
  double period = 0;
  if (v2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  const double microseconds = std::atof(quota.c_str());  // "max" and -1 mean none
  if (microseconds <= 0 || period <= 0) return 0;
  return static_cast<int>(std::min(std::max(std::ceil(microseconds / period), 1.0), 1e6));
}

// The least of the group `path` and its ancestors as far as they are mounted.
int path_threads(const Mount& mount, std::string path, bool v2) {
  if (mount.root != "/") path = path.compare(0, mount.root.size(), mount.root) == 0 ? path.substr(mount.root.size()) : "";
  int least = 0;
  for (;;) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    const int threads = group_threads(mount.point + path, v2);
    if (threads && (!least || threads < least)) least = threads;
    if (path.empty()) return least;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

int affinity_threads() {
#ifdef __linux__
  // More processors than cpu_set_t knows need a larger set; EINVAL says so.
  for (int processors = CPU_SETSIZE; processors <= 1 << 20; processors *= 4) {
    cpu_set_t* set = CPU_ALLOC(processors);
    if (!set) break;
    const size_t size = CPU_ALLOC_SIZE(processors);
    CPU_ZERO_S(size, set);
    const int threads = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (threads > 0) return threads;
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

int cgroup_quota_threads(const std::string& cgroup_file, const std::string& mount_file) {
  int least = 0;
  std::ifstream in(cgroup_file);
  // "hierarchy:controllers:path"; v2 has no controllers.
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !contains(split(controllers, ','), "cpu")) continue;
    for (const Mount& mount : cgroup_mounts(mount_file, v2)) {
      const int threads = path_threads(mount, line.substr(second + 1), v2);
      if (threads && (!least || threads < least)) least = threads;
    }
  }
  return least;
}

ThreadCount default_thread_count() {
  const int processors = affinity_threads();
#ifdef __linux__
  const int quota = cgroup_quota_threads("/proc/self/cgroup", "/proc/self/mountinfo");
  if (quota && quota < processors)
    return {quota, "CPU quota of the cgroup (" + std::to_string(processors) + " processors in the affinity mask)"};
  return {processors, quota ? "affinity mask (within the CPU quota of the cgroup)" : "affinity mask, no CPU quota"};
#else
  return {processors, "processors of this machine"};
#endif
}

}  // namespace fewbit
