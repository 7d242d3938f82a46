// Random walks over all that can happen to the scheduler, one step of one thread at a time, with time that stands still
// until nobody can do anything any more.

#include <larder/redis/detail/scheduler_core.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scheduler_steps.hpp"

using namespace larder::redis::detail;
using namespace larder::testing;
using namespace std::chrono_literals;
using larder::redis::Command;
using larder::redis::Deadline;
using larder::redis::Reply;

namespace {

constexpr auto command_timeout = 100ms;
constexpr auto connect_timeout = 50ms;

// How often things happen, in a thousand steps.
struct Odds {
  unsigned breaks = 0;       // connections
  unsigned refusals = 0;     // of attempts to connect
  unsigned bad_replies = 0;  // that do not fit
  unsigned silences = 0;     // connections that no longer answer
  unsigned weather = 0;      // calm begins or ends
};

void must(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

class Walk {
 public:
  Walk(std::uint32_t seed, const Odds& odds)
      : random_(seed),
        odds_(odds),
        max_links_(1 + pick(4)),
        core_({max_links_, command_timeout, pick(2) == 0, false}),
        threads_(1 + pick(12)) {}

  // How many calls got their replies.
  std::size_t run(int steps) {
    for (int i = 0; i < steps; ++i) step(true);
    while (any_call()) step(false);
    must(core_.stats().waiting == 0, "the queue is empty when all calls have ended");
    return answered_;
  }

 private:
  struct Thread {
    std::unique_ptr<Caller> caller;
    std::vector<std::string> names;
    FakeCore::Step step{Action::leave};  // that it is at
    bool is_at_step = false;             // else it asks for the next one
    bool started = false;                // and has not come back to finish
    bool is_repeatable = true;
    std::size_t passed = 0;   // how often others, who came later, were sent first while it was in the queue
    std::size_t allowed = 0;  // how often they may be
    std::uint64_t number = 0;
    CallState before = CallState::created;
  };

  std::size_t pick(std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(random_); }
  bool chance(unsigned in_a_thousand) { return pick(1000) < in_a_thousand; }

  bool any_call() const {
    return std::any_of(threads_.begin(), threads_.end(), [](const Thread& thread) { return !!thread.caller; });
  }

  void step(bool begins_calls) {
    happen();
    std::vector<Thread*> able;
    for (Thread& thread : threads_) {
      if (thread.caller ? can_go_on(thread) : begins_calls && chance(300)) able.push_back(&thread);
    }
    if (able.empty() && !answer_something()) return let_time_pass();
    if (!able.empty() && pick(4) != 0) {
      Thread& thread = *able[pick(able.size())];
      thread.caller ? go_on(thread) : begin(thread);
    } else {
      answer_something();
    }
    check();
  }

  void begin(Thread& thread) {
    const std::string name = std::to_string(++calls_) + ":";
    thread.names.clear();
    thread.is_repeatable = pick(4) != 0;
    std::vector<Command> commands;
    const std::size_t count = pick(4) == 0 ? 1 + pick(5) : 1;
    for (std::size_t i = 0; i < count; ++i) {
      thread.names.push_back(name + std::to_string(i));
      if (pick(6) == 0) thread.names.back().append(9000, 'x');
      commands.push_back(echo(thread.names.back(), thread.is_repeatable));
    }
    thread.caller = std::make_unique<Caller>(std::move(commands), command_timeout, connect_timeout);
    thread.is_at_step = false;
    thread.started = pick(4) == 0;
    thread.passed = 0;
    thread.allowed = 4 * (core_.stats().waiting + 1);
    thread.number = calls_;
    thread.before = CallState::created;
    if (!thread.started) return;
    thread.caller->call.is_attended = false;
    if (FakeLink* link = core_.start(thread.caller->call)) {
      links_.insert(link);
      thread.step = {Action::send, link};
      thread.is_at_step = true;
    }
    wake();
  }

  Call& call_of(Thread& thread) { return thread.caller->call; }

  bool can_go_on(Thread& thread) {
    Call& call = call_of(thread);
    if (!thread.is_at_step) return true;
    switch (thread.step.action) {
      case Action::sleep:
        return call.waiter.is_notified() || call.waiter.is_done() || FakeClock::time >= thread.step.until;
      case Action::advance:
      case Action::exchange: {
        FakeConnection& connection = *thread.step.link->connection;
        const bool has_all = thread.step.action == Action::advance || connection.inbox.size() == call.count;
        return thread.step.sends || connection.has_unsent() || connection.is_broken ||
               (!connection.inbox.empty() && has_all) || FakeClock::time >= call.deadline;
      }
      default:
        return true;
    }
  }

  void go_on(Thread& thread) {
    Call& call = call_of(thread);
    if (thread.started && !thread.is_at_step) {  // it comes back to finish, or leaves
      thread.started = false;
      if (pick(8) == 0) {
        core_.abandon(call);
        wake();
        thread.caller.reset();
        return;
      }
      call.is_attended = true;
    }
    if (!thread.is_at_step) {
      thread.step = core_.next(call);
      thread.is_at_step = true;
      wake();
      if (thread.step.action == Action::exchange) {
        for (std::size_t i = 0; i < call.count; ++i) thread.step.link->connection->append(call.commands[i]);
      }
      if (thread.step.action == Action::leave) end(thread);
      return;
    }
    thread.is_at_step = false;
    const auto step = thread.step;
    switch (step.action) {
      case Action::leave:
        break;
      case Action::gather:
      case Action::spin:
        if (call.waiter.is_done()) return end(thread);
        if (step.action == Action::spin && --call.spins_left < 0) call.spins_left = 0;
        call.waiter.clear();
        break;
      case Action::sleep:
        if (call.waiter.is_done()) return end(thread);
        must(core_.woke(call), "a call that is answered is done as soon as the lock is released");
        break;
      case Action::connect:
        connect(call);
        break;
      case Action::advance:
        thread.is_at_step = !advance(thread);
        break;
      case Action::look:
        if (step.link->connection->is_broken) {
          lose(*step.link, Failure::loss("reset"));
        } else {
          step.link->connection->receive(step.link->received);
          core_.received(*step.link, call, true);
        }
        break;
      case Action::send:
        if (!step.link->connection->is_broken) {
          pick(8) == 0 ? void(step.link->connection->send_one()) : step.link->connection->send_all();
        }
        note_sent(*step.link);
        core_.sent(*step.link);
        break;
      case Action::exchange:
        thread.is_at_step = !exchange(thread);
        break;
    }
    wake();
  }

  void connect(Call& call) {
    if (chance(odds_.refusals)) {
      core_.connect_failed(call, Failure::loss("refused"), false);
    } else {
      auto link = std::make_unique<FakeLink>(std::make_unique<FakeConnection>());
      links_.insert(link.get());
      must(links_of_core() < max_links_, "no more connections than allowed");
      core_.connected(call, std::move(link));
    }
  }
  std::size_t links_of_core() const { return core_.stats().connections; }

  void note_sent(FakeLink& link) {
    link.sent_at = std::chrono::nanoseconds(FakeClock::time.time_since_epoch()).count();
  }

  // False if the thread stays where it is.
  bool advance(Thread& thread) {
    Call& call = call_of(thread);
    FakeLink& link = *thread.step.link;
    FakeConnection& connection = *link.connection;
    if (connection.is_broken) {
      if (thread.step.sends) link.sending = false;
      lose(link, Failure::loss("reset"));
      return true;
    }
    if (thread.step.sends) {
      connection.send_one();
      if (!connection.has_unsent()) {
        thread.step.sends = false;
        note_sent(link);
        link.sending = false;
      }
      if (FakeClock::time < call.deadline) return false;
    }
    const bool in_time = FakeClock::time < call.deadline;
    if (!connection.receive(link.received) && in_time) return false;
    if (thread.step.sends) link.sending = false;
    if (chance(odds_.bad_replies) && !link.received.empty()) {
      link.received.back() = Reply(Reply::Kind::array);
      ++bad_replies_;
    }
    core_.received(link, call, in_time);
    return true;
  }

  bool exchange(Thread& thread) {
    Call& call = call_of(thread);
    FakeLink& link = *thread.step.link;
    FakeConnection& connection = *link.connection;
    if (connection.is_broken) {
      link.sending = false;
      lose(link, Failure::loss("reset"));
      return true;
    }
    connection.send_all();
    if (connection.inbox.size() < call.count && FakeClock::time < call.deadline) return false;
    const bool in_time = connection.inbox.size() == call.count;
    std::vector<Reply> replies;
    if (in_time) connection.receive(replies);
    for (std::size_t i = 0; i < replies.size(); ++i) call.replies[i] = std::move(replies[i]);
    core_.exchanged(link, call, in_time);
    return true;
  }

  void lose(FakeLink& link, const Failure& failure) { core_.lost(link, failure, false); }

  void end(Thread& thread) {
    Caller& caller = *thread.caller;
    must(caller.is_done(), "a thread leaves when its call is done");
    if (caller.call.failure) {
      const bool is_late = FakeClock::time >= caller.call.deadline;
      must(!caller.call.failure.is_timeout() || is_late, "a call times out at its deadline");
      if (odds_.breaks + odds_.refusals + odds_.bad_replies == 0) {
        must(caller.call.failure.is_timeout(), "nothing else went wrong");
      }
    } else {
      for (std::size_t i = 0; i < thread.names.size(); ++i) {
        must(caller.has_reply(i) && caller.reply(i) == thread.names[i], "a reply reaches the call that asked for it");
      }
      ++answered_;
    }
    thread.caller.reset();
  }

  void wake() { core_.calls().take_wakes().wake_all(); }

  // What happens around the threads.
  void happen() {
    for (FakeLink* link : living()) {
      if (chance(odds_.breaks)) link->connection->is_broken = true;
      if (chance(odds_.silences)) silent_.insert(link->connection.get());
    }
    if (chance(odds_.weather)) {
      const auto now = std::chrono::nanoseconds(FakeClock::time.time_since_epoch()).count();
      core_.yields().gauge().took(4'000'000, 0, 1, now - 1);
      core_.yields().gauge().took(4'000'000, 0, 1, now + 3'999'999);
    }
  }

  // The links that the threads know of and that are still there.
  std::vector<FakeLink*> living() {
    std::vector<FakeLink*> found;
    core_.links().for_each([&](FakeLink& link) { found.push_back(&link); });
    return found;
  }

  bool answer_something() {
    std::vector<FakeConnection*> able;
    for (FakeLink* link : living()) {
      FakeConnection* const connection = link->connection.get();
      if (!connection->on_server.empty() && !connection->is_broken && !silent_.count(connection)) {
        able.push_back(connection);
      }
    }
    if (able.empty()) return false;
    FakeConnection& connection = *able[pick(able.size())];
    connection.answer(1 + pick(connection.on_server.size()));
    return true;
  }

  // Nobody can do anything: so each call waits for a reply, or for its time.
  void let_time_pass() {
    Deadline next = FakeClock::time + 10ms;
    for (Thread& thread : threads_) {
      if (!thread.caller) continue;
      must(FakeClock::time < call_of(thread).deadline, "a call ends by its deadline");
      next = std::min(next, call_of(thread).deadline);
      if (thread.step.action == Action::sleep) next = std::min(next, thread.step.until);
    }
    FakeClock::time = std::max(next, FakeClock::time + 1us);
  }

  void check() {
    std::vector<Thread*> queued;
    bool awake = false;
    for (Thread& thread : threads_) {
      if (!thread.caller) continue;
      Call& call = call_of(thread);
      must(call.overtaken <= FakeCore::Matching::most_overtaken,
           "the first in the queue is overtaken a few times at most");
      must(call.deadline <= call.limit, "no call gets more time than its limit");
      if (call.state != CallState::queued || !call.is_attended) continue;
      queued.push_back(&thread);
      awake = awake || can_go_on(thread) || thread.step.action == Action::send;
    }
    bool is_free = false;
    for (FakeLink* link : living()) {
      must(!link->is_exclusive || link->sending, "a large call has its connection for itself");
      const bool idle = !link->leader && !link->sending && !link->is_broken;
      is_free = is_free || idle;
      must(link->leader || !idle || !link->in_flight.first_attended(), "who waits for a reply has a leader");
      must(!link->leader || link->leader->link == link, "a leader knows what it leads");
    }
    must(queued.empty() || !is_free || awake,
         "no call sleeps while a connection is free and nobody is on the way to it");
    note_overtaking(queued);
  }

  // Calls that came later and are sent first.
  void note_overtaking(const std::vector<Thread*>& queued) {
    for (Thread& other : threads_) {
      if (!other.caller) continue;
      const CallState state = std::exchange(other.before, call_of(other).state);
      if (state != CallState::queued || call_of(other).state != CallState::assigned) continue;
      if (!call_of(other).travels_alone()) continue;
      for (Thread* thread : queued) {
        if (thread->number < other.number) {
          must(++thread->passed <= thread->allowed + 8, "overtaking is bounded");
        }
      }
    }
  }

  std::mt19937 random_;
  const Odds odds_;
  const std::size_t max_links_;
  FakeCore core_;
  std::vector<Thread> threads_;
  std::set<FakeLink*> links_;
  std::set<FakeConnection*> silent_;
  std::uint64_t calls_ = 0;
  std::size_t answered_ = 0, bad_replies_ = 0;
};

void walk(const Odds& odds, std::size_t least) {
  std::size_t answered = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    std::size_t calls = 0;
    CHECK_NOTHROW(calls = Walk(seed, odds).run(3000));
    answered += calls;
  }
  CHECK(answered > least);
}

}  // namespace

TEST_CASE("whatever order things happen in, nobody sleeps while a connection is free, and each gets its own reply") {
  walk({}, 50'000);
}

TEST_CASE("the same where calm comes and goes") {
  Odds odds;
  odds.weather = 20;
  walk(odds, 50'000);
}

TEST_CASE("the same where connections break, and attempts to connect fail") {
  Odds odds;
  odds.breaks = 5;
  odds.refusals = 100;
  odds.weather = 10;
  walk(odds, 10'000);
}

TEST_CASE("the same where servers fall silent, and replies do not fit") {
  Odds odds;
  odds.silences = 2;
  odds.bad_replies = 10;
  odds.breaks = 1;
  odds.weather = 10;
  walk(odds, 10'000);
}
