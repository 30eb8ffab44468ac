// How many threads this process may use.
#pragma once

#include <string>

namespace fewbit {

struct ThreadCount {
  int threads;
  std::string reason;  // where the number comes from, for people
};

// The affinity mask, lowered to the CPU quota of the cgroups that the process is in.
ThreadCount default_thread_count();

// Processors worth of quota, rounded up, in the cgroups named in `cgroup_file` (/proc/self/cgroup), found through
// `mount_file` (/proc/self/mountinfo); the smallest of a group and its ancestors counts. 0 without a quota.
int cgroup_quota_threads(const std::string& cgroup_file, const std::string& mount_file);

}  // namespace fewbit
