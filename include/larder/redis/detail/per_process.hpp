// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "../../detail/process.hpp"
#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Something with locks or sockets in it, of which a forked child has its own: it can neither use nor free its parent's,
// because another thread may have been at work on it. Made from T::Settings. Thread-safe.
template <class T>
class PerProcess {
 public:
  explicit PerProcess(typename T::Settings settings) : settings_(std::move(settings)) {
    larder::detail::watch_forks();
    current_ = new Entry(settings_);
  }
  PerProcess(const PerProcess&) = delete;
  PerProcess& operator=(const PerProcess&) = delete;
  ~PerProcess() {
    const Entry* const entry = current_.load();
    if (entry->process == larder::detail::process_generation()) delete entry;
  }

  const typename T::Settings& settings() const noexcept { return settings_; }

  T& get() {
    Entry* const entry = current_.load(std::memory_order_acquire);
    return entry->process == larder::detail::process_generation() ? entry->value : make_anew(entry);
  }

 private:
  struct Entry {
    explicit Entry(const typename T::Settings& settings) : value(settings) {}

    const std::uint32_t process = larder::detail::process_generation();
    T value;
  };

  T& make_anew(Entry* parents) {
    auto entry = std::make_unique<Entry>(settings_);
    if (current_.compare_exchange_strong(parents, entry.get())) return entry.release()->value;
    return parents->value;
  }

  const typename T::Settings settings_;
  std::atomic<Entry*> current_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
