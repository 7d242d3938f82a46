// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "clock.hpp"
#include "endpoint.hpp"
#include "nodes.hpp"
#include "pool_call.hpp"
#include "refresh_gate.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// Which server is the primary, as sentinels tell it. A server that they name is not believed before it says itself that
// it is one. Thread-safe.
class PrimaryFinder {
 public:
  struct Settings {
    std::vector<Endpoint> sentinels;
    std::string name;                 // of the primary
    Options sentinel;                 // of connections to sentinels; the address aside
    Options node;                     // of connections to the primary; the address aside
    std::chrono::milliseconds check;  // how old an answer may be
  };

  explicit PrimaryFinder(const Settings& settings)
      : settings_(settings),
        sentinel_nodes_(settings.sentinel, settings.sentinels),
        nodes_(settings.node, settings.sentinels) {
    for (const Endpoint& sentinel : settings.sentinels) sentinels_.push_back(&sentinel_nodes_.at(sentinel));
  }

  // None: not known yet.
  Node* current() const noexcept { return current_.load(std::memory_order_acquire); }
  // Another number if a connection to the primary was lost, or it is another one.
  std::uint64_t generation() {
    std::uint64_t sum = changes_.load(std::memory_order_acquire);
    for (Node* node : nodes_.all()) sum += node->pool.generation();
    return sum;
  }

  // Whether the last answer is old.
  bool is_due(TimePoint now) const noexcept {
    return now.time_since_epoch().count() >= due_.load(std::memory_order_relaxed);
  }

  // Asks one sentinel, unless somebody is at it, or was a moment ago: sent by the constructor, so that the caller can
  // do something else until finish().
  class Question {
   public:
    Question(PrimaryFinder& finder, TimePoint now) : finder_(finder), command_(finder.question()) {
      pass_.emplace(finder.gate_.enter(now));
      if (!*pass_) return;
      try {
        call_.emplace(finder.asked().pool, &command_, 1, &reply_);
        call_->start();
      } catch (const Error& error) {
        finder_.note(nullptr, error.what());
        pass_.reset();
      }
    }

    // Whether the answer is still to be taken.
    bool is_open() const noexcept { return call_.has_value(); }

    // Takes the answer.
    void finish() {
      if (!call_) return;
      try {
        call_->finish();
        finder_.take(reply_);
      } catch (const Error& error) {
        finder_.note(nullptr, error.what());
      }
      call_.reset();
      pass_.reset();
    }

   private:
    PrimaryFinder& finder_;
    std::optional<RefreshGate::Pass> pass_;
    const Command command_;
    Reply reply_;
    std::optional<PoolCall> call_;
  };

  // For a caller who cannot go on: `bad` is not the primary, or cannot be reached. Returns another one, or null.
  Node* find_other(const Node* bad, Deadline deadline) {
    const auto pass = gate_.enter_or_wait(deadline);
    for (std::size_t i = 0; pass && current() == bad && i < sentinels_.size(); ++i) {
      if (Clock::now() >= deadline) break;
      try {
        Reply reply = asked().pool.run(question());
        if (take(reply) && current() == bad) ++next_sentinel_;  // it has not heard of another one
      } catch (const InvalidArgument&) {
        throw;
      } catch (const Error& error) {
        note(nullptr, error.what());
      }
    }
    return current() == bad ? nullptr : current();
  }

  // Why there is no primary.
  std::string problem() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return problem_;
  }

 private:
  static constexpr std::chrono::milliseconds retry_after{100};

  Node& asked() const noexcept { return *sentinels_[next_sentinel_ % sentinels_.size()]; }
  Command question() const { return Command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings_.name); }

  // The answer of a sentinel; false if it leads to no primary.
  bool take(Reply& reply) {
    std::string problem(reply.failure());
    if (problem.empty()) problem = "knows no primary " + settings_.name;
    if (problem.find("unknown command") != std::string::npos) {
      problem = "the server is no Sentinel (the URL of a single server is redis://)";
    }
    if (const auto endpoint = read_primary(reply)) {
      Node& named = nodes_.at(*endpoint);
      try {
        if (&named != current()) named.pool.run(Command("PING"));  // its connections make sure that it is the primary
        note(&named, {});
        return true;
      } catch (const Error& error) {
        problem = "names a primary that is none: " + std::string(error.what());
      }
    }
    note(nullptr, to_string(asked().endpoint) + ": " + problem);
    return false;
  }

  static std::optional<Endpoint> read_primary(Reply& reply) {
    using Kind = Reply::Kind;
    if (reply.kind() != Kind::array) return std::nullopt;
    const auto parts = reply.take_array();
    if (parts.size() != 2 || parts[0].kind() != Kind::string || parts[1].kind() != Kind::string) return std::nullopt;
    const auto port = read_integer(parts[1].string(), 1, 65535);
    const auto host = parts[0].string();
    return port && !host.empty() ? make_endpoint(host, *port) : std::nullopt;
  }

  // What came of asking a sentinel: the primary, or why there is none. Then the next one is asked.
  void note(Node* primary, std::string problem) {
    const auto now = Clock::now();
    failures_ = primary ? 0 : failures_ + 1;
    const bool all_failed = failures_ % sentinels_.size() == 0;
    due_.store((now + (all_failed ? settings_.check : retry_after)).time_since_epoch().count(),
               std::memory_order_relaxed);
    if (!primary) {
      ++next_sentinel_;
      const std::lock_guard<std::mutex> hold(mutex_);
      problem_ = std::move(problem);
    } else if (current_.exchange(primary, std::memory_order_acq_rel) != primary) {
      changes_.fetch_add(1, std::memory_order_release);
    }
  }

  const Settings settings_;
  Nodes sentinel_nodes_, nodes_;
  std::vector<Node*> sentinels_;
  std::atomic<Node*> current_{nullptr};
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<TimePoint::rep> due_{0};

  RefreshGate gate_;               // for who asks, and for what follows
  std::size_t next_sentinel_ = 0;  // to be asked
  std::size_t failures_ = 0;       // since a sentinel told the primary

  std::mutex mutex_;
  std::string problem_;  // of the last attempt that failed
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
