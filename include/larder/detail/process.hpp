// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// How many times this process was forked off since fork() was first watched. Shared by all who have state that belongs
// to threads or sockets of one process: a child sees a greater number than its parent.
inline std::atomic<std::uint32_t> fork_count{0};

// Makes fork() count. Called by constructors, before they first ask for process_generation().
inline void watch_forks() {
#if !defined(_WIN32)
  static const int failed =
      pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });
  if (failed != 0) throw std::bad_alloc();
#endif
}

// Differs between a process and its forked children. One load, no system call.
inline std::uint32_t process_generation() noexcept { return fork_count.load(std::memory_order_relaxed); }

}  // namespace LARDER_ABI
}  // namespace larder::detail
