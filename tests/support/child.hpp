#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <system_error>

namespace larder::testing {

/// A child process that does `body`, which tells whether all was well. It is killed if it takes longer than 30 s.
class Child {
 public:
  template <class Body>
  explicit Child(Body body) : process_(::fork()) {
    if (process_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (process_ > 0) return;
    ::alarm(30);
    bool well = false;
    try {
      well = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in a child: %s\n", error.what());
    }
    ::_exit(well ? 0 : 1);
  }

  /// Waits for its end.
  bool was_well() const {
    int status = 0;
    return ::waitpid(process_, &status, 0) == process_ && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  pid_t process_;
};

}  // namespace larder::testing
