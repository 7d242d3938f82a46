// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string_view>

#include "error.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// Is told what happens, as it happens. Derive and override what is of interest; each function does nothing by default.
///
/// The functions are called in the threads that use the cache, many at once, and some with a lock held: they must be
/// quick, must not throw, and must not call the cache.
class Observer {
 public:
  Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer() = default;

  /// A connection to a server was opened, or (`up` false) was lost or could not be opened, and why. `address` is
  /// host:port or a path.
  virtual void connection(std::string_view /*address*/, bool /*up*/, std::string_view /*reason*/) noexcept {}

  /// A command was sent once more, and why.
  virtual void repeated(std::string_view /*reason*/) noexcept {}

  /// An error of the cache was taken for a miss. `operation` is the name of the function, as in "get".
  virtual void cache_failed(std::string_view /*operation*/, const Error&) noexcept {}

  /// A loader threw. `key` has the prefix of its TypedCache or LoadingCache.
  virtual void load_failed(std::string_view /*key*/, const std::exception_ptr&) noexcept {}

  /// A value in the cache could not be decoded. `key` has the prefix of its TypedCache or LoadingCache.
  virtual void undecodable(std::string_view /*key*/) noexcept {}

  /// A FailOpenCache stopped asking its cache (`open`), or asks it again.
  virtual void circuit(bool /*open*/) noexcept {}
};

}  // namespace LARDER_ABI
}  // namespace larder
