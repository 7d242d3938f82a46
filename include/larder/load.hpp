// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "detail/fwd.hpp"
#include "error.hpp"
#include "expiry.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// How a TypedCache or a LoadingCache loads.
struct LoadOptions {
  /// How long a call waits for another thread's load of the same key; then one of those who wait loads as well.
  std::chrono::milliseconds max_wait{10'000};
  /// How long values are kept after they expired, for when loading fails. Needs a cache that can tell the time.
  std::chrono::milliseconds keep_stale{0};
  /// How long a key whose load failed is not tried again, if there is a stale value to return.
  std::chrono::milliseconds retry_after{1'000};
  /// How eagerly values are loaded before they expire: the beta of XFetch, for which 1 is usual; 0: never.
  double early_refresh = 0;
  /// Shortens each expiry by a random part up to this, so that keys stored together do not expire together; 0.1: 10 %.
  double jitter = 0;
  /// Is told of failures; may be null.
  std::shared_ptr<Observer> observer = {};
};

/// What a loader may look at and decide. A loader that wants it takes it by reference: `loader(LoadContext<Value>&)`.
template <class Value>
struct LoadContext {
  /// For a loader that is called with this expiry, and with the value that it replaces.
  LoadContext(Expiry its_expiry, const std::optional<Value>& its_previous)
      : expires(its_expiry), previous(its_previous) {}
  LoadContext(const LoadContext&) = delete;
  LoadContext& operator=(const LoadContext&) = delete;

  /// The caller's; a loader may change it for this value. It counts from the call of the loader.
  Expiry expires;
  /// False: return the value, keep nothing.
  bool store = true;
  /// A loader that throws may say how long its key is not tried again, in place of LoadOptions::retry_after.
  std::optional<std::chrono::milliseconds> retry_after = {};
  /// The value that is being replaced, if it is still there: with LoadOptions::keep_stale, or in a refresh.
  const std::optional<Value>& previous;
};

/// A loader throws it to give up for reasons of its own. Its caller gets it; of those who wait for the load one loads.
class LoadCancelled : public Error {
 public:
  /// Without a reason.
  LoadCancelled() : Error("the load was cancelled") {}
  /// With a reason, which what() returns.
  explicit LoadCancelled(const std::string& why) : Error(why) {}
};

/// Runs a task some time, on any thread; may also drop it or throw.
using Executor = std::function<void(std::function<void()>)>;

}  // namespace LARDER_ABI
}  // namespace larder
