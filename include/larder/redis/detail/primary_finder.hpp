// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
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
#include "failure.hpp"
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
  // Closes the connections to a server that is not the primary any more.
  static void retire(Node& former) {
    PoolCall::retire_connections(former.pool, "the server is not the primary any more");
  }
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
        call_.emplace(finder.asked().pool, &command_, 1, &reply_, (Deadline::max)());
        call_->start();
      } catch (const Error& error) {
        finder_.note_failed_question(error);
        pass_.reset();
      }
    }

    // Whether the answer is still to be taken.
    bool is_open() const noexcept { return call_.has_value(); }

    // Takes the answer, if it is there or comes soon: who asks in passing has better things to do than to wait.
    void finish(Deadline latest) {
      if (!call_) return;
      try {
        const TimePoint now = Clock::now();
        const Deadline end = (std::min)(latest, now + finder_.longest_question());
        call_->finish((std::min)(end, now + finder_.wait_));
        finder_.learn_wait(now);
        finder_.take(reply_, end);
      } catch (const Error& error) {
        finder_.note_failed_question(error);
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
  Node* find_other(const Node* bad, Deadline latest) {
    auto pass = gate_.enter_unless(latest, [&] { return current() != bad; });
    pass.was_in_vain = true;
    for (std::size_t i = 0; pass && current() == bad && i < sentinels_.size(); ++i) {
      const TimePoint now = Clock::now();
      if (now >= latest) break;
      try {
        std::optional<Deadline> end;  // none while there is time enough: looking up a name is on top
        if (latest - now < 2 * longest_question()) end = latest;
        Reply reply = asked().pool.run(question(), end);
        learn_wait(now);
        const Deadline end_of_check = (std::min)(latest, Clock::now() + settings_.node.connect_timeout);
        if (take(reply, end_of_check) && current() == bad) ++next_sentinel_;  // it has not heard of another one
      } catch (const InvalidArgument& error) {
        note_failure(Failure::current(), error.what());
        throw;
      } catch (const Error& error) {
        note_failed_question(error);
      }
    }
    pass.was_in_vain = current() == bad;
    return pass.was_in_vain ? nullptr : current();
  }

  // Why there is no primary: a refusal by the one that was named, or else that no sentinel tells a primary.
  [[noreturn]] void throw_problem() {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (!failure_) throw TimeoutError(no_primary_text + std::string("the time allowed ran out"));
    failure_.raise(problem_, code_begin_, false);
  }

 private:
  static constexpr std::chrono::milliseconds retry_after{100};
  static constexpr std::chrono::milliseconds least_wait{20};
  static constexpr const char* no_primary_text = "no sentinel tells the primary; ";

  Node& asked() const noexcept { return *sentinels_[next_sentinel_ % sentinels_.size()]; }
  Command question() const { return Command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings_.name); }
  Clock::duration longest_question() const noexcept { return settings_.sentinel.command_timeout; }

  // Sentinels may be far away: who asks in passing waits twice as long as it ever took, within limits.
  void learn_wait(TimePoint asked_at) noexcept {
    wait_ = (std::min)(longest_question(), (std::max)(wait_, 2 * (Clock::now() - asked_at)));
  }

  // The answer of a sentinel; false if it leads to no primary.
  bool take(Reply& reply, Deadline end) {
    std::string problem(reply.failure());
    if (problem.empty()) problem = "knows no primary " + settings_.name;
    if (problem.find("unknown command") != std::string::npos) {
      problem = "the server is no Sentinel (the URL of a single server is redis://)";
    }
    Failure failure = Failure::loss("");
    if (const auto endpoint = read_primary(reply)) {
      Node& named = nodes_.at(*endpoint);
      try {
        if (&named != current()) named.pool.run(Command("PING"), end);  // its connections make sure of its role
        note_primary(named);
        return true;
      } catch (const ServerError& error) {
        const std::string text = error.what();
        const std::size_t before_code = text.find(": " + error.code());
        note_failure(Failure::current(), text, before_code == std::string::npos ? 0 : before_code + 2);
        return false;
      } catch (const Error& error) {
        failure = Failure::current();
        problem = "names a primary that cannot be used: " + std::string(error.what());
      }
    }
    note_failure(failure, no_primary_text + to_string(asked().endpoint) + ": " + problem);
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

  void note_primary(Node& primary) {
    failures_ = 0;
    ask_again_after(settings_.check);
    Node* const former = current_.exchange(&primary, std::memory_order_acq_rel);
    if (former == &primary) return;
    changes_.fetch_add(1, std::memory_order_release);
    if (former) retire(*former);
  }

  // The exception is being handled.
  void note_failed_question(const Error& error) {
    const Failure failure = Failure::current();
    note_failure(failure.is_timeout() ? failure : Failure::loss(""), no_primary_text + std::string(error.what()));
  }

  // Then the next sentinel is asked, soon, or later if all have been asked. Of the failures since the first was asked,
  // callers are told the one that says most.
  void note_failure(const Failure& failure, std::string problem, std::size_t code_begin = 0) {
    ++next_sentinel_;
    const bool is_first = failures_ % sentinels_.size() == 0;
    const bool round_is_over = ++failures_ % sentinels_.size() == 0;
    ask_again_after(round_is_over ? settings_.check : retry_after);
    if (round_is_over) wait_ = (std::min)(longest_question(), 2 * wait_);
    const auto weight = [](const Failure& it) { return it.is_timeout() ? 0 : it.is_loss() ? 1 : 2; };
    const std::lock_guard<std::mutex> hold(mutex_);
    if (!is_first && weight(failure) < weight(failure_)) return;
    failure_ = failure;
    problem_ = std::move(problem);
    code_begin_ = code_begin;
  }

  void ask_again_after(Clock::duration pause) noexcept {
    due_.store((Clock::now() + pause).time_since_epoch().count(), std::memory_order_relaxed);
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
  Clock::duration wait_ = (std::min)(longest_question(), Clock::duration(least_wait));

  std::mutex mutex_;  // for what throw_problem() throws, which follows
  Failure failure_;
  std::string problem_;
  std::size_t code_begin_ = 0;  // in it
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
