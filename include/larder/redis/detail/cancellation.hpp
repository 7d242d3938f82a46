// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>  // defines __GLIBC__

#ifdef __GLIBC__
#include <pthread.h>
#endif

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The thread cannot be cancelled: glibc would unwind it out of the system call that it waits in, through functions that
// catch everything, or that must not throw.
class NoCancellation {
 public:
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;
#ifdef __GLIBC__
  NoCancellation() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~NoCancellation() { ::pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
#else
  NoCancellation() noexcept {}
  ~NoCancellation() {}
#endif
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
