#pragma once

#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// What else the machine does while something is measured.

namespace benchmarks {

enum class Surroundings {
  idle,         // nothing
  busy,         // a process spins on each core
  onecore,      // client and server share a core
  onecorebusy,  // with a process that spins there
  quota50,      // the client may use half a core, in periods of 100 ms: needs root
};

inline const char* name_of(Surroundings around) {
  const char* const names[] = {"", " busy", " onecore", " onecorebusy", " quota50"};
  return names[static_cast<int>(around)];
}

inline void pin(pid_t process, int first, int last) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int core = first; core <= last; ++core) CPU_SET(static_cast<unsigned>(core), &set);
  ::sched_setaffinity(process, sizeof set, &set);
}

/// A process that wants a core all the time.
class Spinner {
 public:
  explicit Spinner(int core) : process_(::fork()) {
    if (process_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0, core, core);
    for (volatile unsigned long turn = 0;; turn = turn + 1) {
    }
  }
  Spinner(const Spinner&) = delete;
  Spinner& operator=(const Spinner&) = delete;
  ~Spinner() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

 private:
  const pid_t process_;
};

/// Puts this process in a cgroup that may use this percentage of a core.
class Quota {
 public:
  explicit Quota(int percent) {
    const std::string v1 = "/sys/fs/cgroup/cpu", time = std::to_string(percent * 1000);
    const bool is_v1 = ::access((v1 + "/tasks").c_str(), W_OK) == 0;
    root_ = is_v1 ? v1 : "/sys/fs/cgroup";
    folder_ = root_ + "/larder-bench";
    ::mkdir(folder_.c_str(), 0755);
    const bool is_set =
        is_v1 ? put("cpu.cfs_period_us", "100000") && put("cpu.cfs_quota_us", time) : put("cpu.max", time + " 100000");
    if (!is_set || !put("cgroup.procs", std::to_string(::getpid()))) throw std::runtime_error("cannot set a quota");
  }
  Quota(const Quota&) = delete;
  Quota& operator=(const Quota&) = delete;
  ~Quota() {
    std::ofstream(root_ + "/cgroup.procs") << ::getpid();
    ::rmdir(folder_.c_str());
  }

 private:
  bool put(const std::string& file, const std::string& text) const {
    std::ofstream out(folder_ + '/' + file);
    out << text << std::flush;
    return out.good();
  }

  std::string root_, folder_;
};

/// Holds them as long as it lives.
class Surround {
 public:
  Surround(Surroundings around, pid_t server) : server_(server) {
    const bool is_one = around == Surroundings::onecore || around == Surroundings::onecorebusy;
    const int last = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) - 1;
    if (around == Surroundings::busy || around == Surroundings::onecorebusy) {
      for (int core = 0; core <= (is_one ? 0 : last); ++core) spinners_.push_back(std::make_unique<Spinner>(core));
    }
    if (around == Surroundings::quota50) quota_ = std::make_unique<Quota>(50);
    if (is_one) {
      pin(0, 0, 0);
      pin(server_, 0, 0);
    }
  }
  Surround(const Surround&) = delete;
  Surround& operator=(const Surround&) = delete;
  ~Surround() {
    const int last = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) - 1;
    pin(0, 0, last);
    pin(server_, 0, last);
  }

 private:
  const pid_t server_;
  std::vector<std::unique_ptr<Spinner>> spinners_;
  std::unique_ptr<Quota> quota_;
};

}  // namespace benchmarks
