// Who does what, step by step: no threads, no sockets, and time that passes when a test says so.

#include <larder/redis/detail/scheduler_core.hpp>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scheduler_steps.hpp"

using namespace larder::redis::detail;
using namespace larder::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using larder::redis::Command;

namespace {

constexpr auto command_timeout = 1000ms;
constexpr auto connect_timeout = 500ms;

class Steps {
 public:
  explicit Steps(std::size_t links = 1, bool polls = false) : core({links, command_timeout, polls, false}) {}

  Caller& caller(const std::string& name) { return *callers_.at(name); }
  Call& call(const std::string& name) { return caller(name).call; }

  // A new call of one short command, whose reply is its name.
  void make(const std::string& name, bool is_repeatable = true) { make(name, {echo(name, is_repeatable)}); }
  void make_large(const std::string& name) { make(name, {echo(name), echo(std::string(10'000, 'x'))}); }
  void make(const std::string& name, std::vector<Command> commands) {
    callers_[name] = std::make_unique<Caller>(std::move(commands), command_timeout, connect_timeout);
  }

  // What the thread of a call is to do.
  std::string next(const std::string& name) {
    if (!callers_.count(name)) make(name);
    gathered = false;
    while ((step = core.next(call(name))).action == Action::gather) gathered = true;
    wake();
    if (step.link) link = step.link;
    static const char* const names[] = {"leave",   "gather", "spin", "sleep",   "connect",
                                        "advance", "look",   "send", "exchange"};
    return names[static_cast<int>(step.action)];
  }

  void connect(const std::string& name) {
    core.connected(call(name), std::make_unique<FakeLink>(std::make_unique<FakeConnection>(&gone)));
    wake();
  }
  void refuse(const std::string& name, bool was_short = false) {
    core.connect_failed(call(name), Failure::loss("refused"), was_short);
    wake();
  }

  // The leader has sent.
  void send(FakeLink& on) {
    on.connection->send_all();
    on.sent_at = std::chrono::nanoseconds(FakeClock::time.time_since_epoch()).count();
    on.sending = false;
  }
  // A thread that does not lead has sent.
  void sent(FakeLink& on) {
    on.connection->send_all();
    on.sent_at = std::chrono::nanoseconds(FakeClock::time.time_since_epoch()).count();
    core.sent(on);
    wake();
  }
  // The leader has received `replies` replies.
  void receive(const std::string& leader, FakeLink& on, std::size_t count = SIZE_MAX) {
    on.connection->answer(count);
    on.connection->receive(on.received);
    core.received(on, call(leader), true);
    wake();
  }
  void time_is_up(const std::string& leader, FakeLink& on) {
    core.received(on, call(leader), false);
    wake();
  }
  void exchanged(const std::string& name, FakeLink& on) {
    Caller& who = caller(name);
    for (std::size_t i = 0; i < who.call.count; ++i) who.call.replies[i] = larder::redis::Reply(name_kind, name);
    core.exchanged(on, who.call, true);
    wake();
  }
  void lose(FakeLink& on, const Failure& failure = Failure::loss("reset"), bool is_stale = false) {
    on.sending = false;
    core.lost(on, failure, is_stale);
    wake();
  }
  void woke(const std::string& name) {
    core.woke(call(name));
    wake();
  }
  bool is_notified(const std::string& name) { return call(name).waiter.is_notified(); }

  // A connection, opened by a call that is done.
  FakeLink& open() {
    const std::string name = "opener " + std::to_string(callers_.size());
    REQUIRE(next(name) == "connect");
    connect(name);
    REQUIRE(next(name) == "advance");
    FakeLink& made = *link;
    send(made);
    receive(name, made);
    REQUIRE(next(name) == "leave");
    return made;
  }
  // From now on nobody yields.
  void end_calm() {
    core.yields().gauge().took(400'000'000, 0, 1, now_ns() - 1);
    core.yields().gauge().took(400'000'000, 0, 1, now_ns() + 399'999'999);
  }
  static std::int64_t now_ns() { return std::chrono::nanoseconds(FakeClock::time.time_since_epoch()).count(); }

  bool gathered = false;  // the last step of next() was preceded by a yield
  int gone = 0;
  FakeCore core;
  FakeCore::Step step{};
  FakeLink* link = nullptr;

 private:
  static constexpr auto name_kind = larder::redis::Reply::Kind::string;

  void wake() { core.calls().take_wakes().wake_all(); }

  std::map<std::string, std::unique_ptr<Caller>> callers_;
};

}  // namespace

TEST_CASE("a call connects, leads, and leaves a free connection to the next") {
  Steps s;
  CHECK(s.next("a") == "connect");
  s.connect("a");
  CHECK(s.next("a") == "advance");
  CHECK(s.step.sends);
  FakeLink& link = *s.link;
  s.send(link);
  s.receive("a", link);
  CHECK(s.caller("a").reply() == "a");
  CHECK(s.next("a") == "leave");
  CHECK(s.next("b") == "advance");
  CHECK(s.link == &link);
}

TEST_CASE("calls that come while replies are under way go together, and each gets its own reply") {
  Steps s;
  FakeLink& link = s.open();
  CHECK(s.next("a") == "advance");
  s.send(link);
  for (const char* name : {"b", "c", "d"}) CHECK(s.next(name) == "sleep");
  s.receive("a", link);
  CHECK(s.next("a") == "leave");
  CHECK(s.is_notified("b"));
  CHECK_FALSE(s.is_notified("c"));
  s.woke("b");
  CHECK(s.next("b") == "advance");
  CHECK(link.in_flight.size() == 3);
  s.send(link);
  s.receive("b", link);
  for (const char* name : {"b", "c", "d"}) CHECK(s.caller(name).reply() == name);
  CHECK(s.next("b") == "leave");
  CHECK(s.core.stats().batches == 3);
}

TEST_CASE("who comes first takes those along who sleep") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  s.next("b");
  s.receive("a", link);
  s.next("a");
  CHECK(s.next("c") == "advance");
  CHECK(link.in_flight.size() == 2);
  s.send(link);
  s.receive("c", link);
  CHECK(s.caller("b").reply() == "b");
  CHECK(s.caller("c").reply() == "c");
}

TEST_CASE("a small pipeline joins a batch; a large call has a connection for itself") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  s.make("pipeline", {echo("1"), echo("2"), echo("3")});
  CHECK(s.next("pipeline") == "sleep");
  CHECK(s.next("b") == "sleep");
  s.make_large("large");
  CHECK(s.next("large") == "sleep");
  s.receive("a", link);
  CHECK(s.next("a") == "leave");
  s.woke("pipeline");
  CHECK(s.next("pipeline") == "advance");
  CHECK(link.in_flight.size() == 4);
  s.send(link);
  s.receive("pipeline", link, 2);
  CHECK_FALSE(s.caller("pipeline").is_done());
  s.receive("pipeline", link);
  CHECK(s.caller("pipeline").reply(0) == "1");
  CHECK(s.caller("pipeline").reply(2) == "3");
  CHECK(s.caller("b").reply() == "b");
  CHECK(s.next("pipeline") == "leave");
  CHECK(s.is_notified("large"));
  s.woke("large");
  CHECK(s.next("large") == "exchange");
  CHECK(s.next("c") == "sleep");
  s.exchanged("large", link);
  CHECK(s.next("large") == "send");  // c
  s.sent(link);
  CHECK(s.next("large") == "leave");
  CHECK(s.is_notified("c"));
}

TEST_CASE("who was answered together with others lets them join before it goes again") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  CHECK_FALSE(s.gathered);
  s.send(link);
  s.next("b");
  s.receive("a", link);
  s.next("a");
  CHECK(s.next("c") == "advance");
  CHECK_FALSE(s.gathered);
  s.send(link);
  s.receive("c", link);
  s.next("c");
  CHECK(s.next("d") == "advance");
  CHECK(s.gathered);
  s.send(link);
  s.end_calm();
  CHECK(s.next("e") == "sleep");
  CHECK_FALSE(s.gathered);
}

TEST_CASE("a leader leaves when its own call is done, after one more look") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  s.next("b");
  s.next("c");
  s.receive("a", link);
  s.next("a");
  s.woke("b");
  s.next("b");
  s.send(link);
  s.receive("b", link, 1);
  CHECK(s.next("b") == "look");
  SECTION("nothing has come") {
    s.receive("b", link, 0);
    CHECK(s.next("b") == "leave");
    CHECK(s.is_notified("c"));
    s.woke("c");
    CHECK(s.next("c") == "advance");
    s.receive("c", link);
    CHECK(s.caller("c").reply() == "c");
    CHECK(s.next("c") == "leave");
  }
  SECTION("the last reply has come") {
    s.receive("b", link, 1);
    CHECK(s.caller("c").reply() == "c");
    CHECK(s.next("b") == "leave");
  }
  CHECK(s.gone == 0);
}

TEST_CASE("where nobody yields, a leader sends the next batch before it leaves") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  s.next("b");
  s.next("c");
  s.end_calm();
  s.receive("a", link);
  CHECK(s.next("a") == "send");
  CHECK(link.in_flight.size() == 2);
  CHECK(s.next("d") == "sleep");  // nobody takes the connection meanwhile
  s.sent(link);
  CHECK(s.next("a") == "leave");
  CHECK(s.is_notified("b"));
  CHECK_FALSE(s.is_notified("c"));
  s.woke("b");
  CHECK(s.next("b") == "advance");
  CHECK_FALSE(s.step.sends);
  s.receive("b", link);
  CHECK(s.next("b") == "send");  // d
}

TEST_CASE("a large call passes the first in the queue a few times, and then queues behind it") {
  Steps s;
  FakeLink& link = s.open();
  s.make_large("large 0");
  CHECK(s.next("large 0") == "exchange");
  CHECK(s.next("get") == "sleep");
  s.exchanged("large 0", link);
  SECTION("its own thread, which comes back at once") {
    CHECK(s.next("large 0") == "send");  // a call that went alone hands over
    s.sent(link);
    CHECK(s.next("large 0") == "leave");
    CHECK(s.is_notified("get"));
  }
  SECTION("others, after one that did not") {
    s.make("pipe");  // the front has been notified and does not come
    s.call("get").waiter.notify();
    s.core.next(s.call("large 0"));
    s.sent(link);
    s.next("large 0");
    s.woke("get");
    CHECK(s.next("get") == "advance");
  }
}

TEST_CASE("the first in the queue is overtaken no more than four times") {
  Steps s;
  FakeLink& link = s.open();
  CHECK(s.next("a") == "advance");
  s.send(link);
  CHECK(s.next("get") == "sleep");
  s.receive("a", link);
  CHECK(s.next("a") == "leave");
  REQUIRE(s.is_notified("get"));  // but its thread does not run
  int passed = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string name = "large " + std::to_string(i);
    s.make_large(name);
    if (s.next(name) == "sleep") continue;
    ++passed;
    CHECK(s.step.action == Action::exchange);
    s.core.exchanged(link, s.call(name), true);
    link.is_wrong_node = false;
    // what hands the connection over is left out: the harshest case
    s.call(name).link = nullptr;
    link.leader = nullptr;
    s.core.sent(link);
  }
  CHECK(passed == FakeCore::Matching::most_overtaken);
  s.woke("get");
  CHECK(s.next("get") == "advance");
}

TEST_CASE("a call ends at its deadline, wherever it is") {
  Steps s;
  FakeLink& link = s.open();
  FakeClock::time += 1s;
  s.next("leader");
  s.send(link);
  CHECK(s.next("queued") == "sleep");
  CHECK(s.step.until == FakeClock::time + command_timeout);
  FakeClock::time += 1ms;
  s.make("heard");
  s.receive("leader", link, 0);
  FakeClock::time += command_timeout - 1ms;

  SECTION("the leader's time is up: the connection is given up if nobody waits, and the queue may connect") {
    s.time_is_up("leader", link);
    CHECK_THAT(s.caller("leader").failure(), ContainsSubstring("time allowed"));
    CHECK(s.call("leader").was_sent);
    CHECK(s.next("leader") == "leave");
    CHECK(s.gone == 1);
    CHECK(s.is_notified("queued"));
    s.woke("queued");
    CHECK(s.next("queued") == "connect");
    s.connect("queued");
    CHECK(s.call("queued").deadline == s.call("queued").limit);
    CHECK(s.next("queued") == "advance");
  }
  SECTION("who only waited in the queue of a silent server gets the time to connect, and no more") {
    s.woke("queued");
    CHECK(s.next("queued") == "sleep");
    CHECK(s.step.until == s.call("queued").limit);
    FakeClock::time += connect_timeout;
    s.woke("queued");
    CHECK(s.next("queued") == "leave");
    CHECK_THAT(s.caller("queued").failure(), ContainsSubstring("time allowed"));
    CHECK_FALSE(s.call("queued").was_sent);
  }
  CHECK(s.core.stats().timeouts == 1);
}

TEST_CASE("who waited in the queue of a server that answers others has no more time than it said") {
  Steps s;
  FakeLink& link = s.open();
  s.next("leader");
  s.send(link);
  CHECK(s.next("queued") == "sleep");
  FakeClock::time += 900ms;
  s.next("late");
  s.receive("leader", link);
  CHECK(s.next("leader") == "leave");
  s.make_large("large");
  CHECK(s.next("large") == "exchange");  // the notified one does not run
  FakeClock::time += 200ms;
  s.call("queued").waiter.clear();
  s.woke("queued");
  CHECK(s.next("queued") == "leave");
  CHECK_THAT(s.caller("queued").failure(), ContainsSubstring("time allowed"));
}

TEST_CASE("a caller who leaves does no harm to those behind it") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  s.next("b");
  FakeClock::time += 500ms;
  s.next("c");
  s.end_calm();
  s.receive("a", link);
  CHECK(s.next("a") == "send");
  s.sent(link);
  CHECK(s.next("a") == "leave");
  s.woke("b");
  CHECK(s.next("b") == "advance");
  FakeClock::time += 500ms;
  s.time_is_up("b", link);
  CHECK(s.next("b") == "look");
  s.receive("b", link, 0);
  CHECK(s.next("b") == "leave");
  CHECK(s.is_notified("c"));
  s.woke("c");
  CHECK(s.next("c") == "advance");
  s.receive("c", link);
  CHECK(s.caller("c").reply() == "c");
  CHECK(s.next("c") == "leave");
  CHECK(s.gone == 0);
}

TEST_CASE("back-off: between attempts calls fail at once, and sleepers wake when the next one is due") {
  Steps s(2);
  CHECK(s.next("a") == "connect");
  s.refuse("a");
  CHECK(s.next("a") == "leave");
  CHECK(s.caller("a").failure() == "refused");
  CHECK(s.next("b") == "leave");
  CHECK(s.caller("b").failure() == "refused");
  CHECK(s.core.stats().failed_fast == 1);
  CHECK(s.core.stats().connect_failures == 1);
  FakeClock::time += 51ms;
  CHECK(s.next("c") == "connect");
  CHECK(s.next("d") == "leave");  // one attempt at a time
  s.connect("c");
  CHECK(s.next("c") == "advance");
  FakeLink& link = *s.link;
  s.send(link);
  CHECK(s.next("e") == "connect");
  s.refuse("e");
  CHECK(s.next("e") == "sleep");  // there is another connection
  CHECK(s.step.until > FakeClock::time);
  CHECK(s.step.until <= FakeClock::time + 50ms);
  FakeClock::time = s.step.until;
  s.woke("e");
  CHECK(s.next("e") == "connect");
  CHECK(s.next("f") == "sleep");
  s.refuse("e");
  CHECK(s.next("e") == "sleep");
  CHECK(s.step.until > FakeClock::time);
  CHECK(s.step.until <= FakeClock::time + 100ms);
  s.receive("c", link);  // now there is a free one
  CHECK(s.next("c") == "leave");
  CHECK(s.is_notified("e"));
  s.woke("e");
  CHECK(s.next("e") == "advance");
  CHECK(link.in_flight.size() == 2);
}

TEST_CASE("an attempt that had little time says nothing about the server") {
  Steps s;
  s.next("a");
  s.core.connect_failed(s.call("a"), Failure::timeout("too late"), true);
  CHECK(s.next("a") == "leave");
  CHECK(s.caller("a").failure() == "too late");
  CHECK(s.next("b") == "connect");
  s.core.connect_failed(s.call("b"), Failure::timeout("silent"), false);
  CHECK(s.next("c") == "leave");
  CHECK(s.caller("c").failure() == "silent");
}

TEST_CASE("a connection breaks: what may be repeated is, once, and each by itself") {
  Steps s(1);
  FakeLink& link = s.open();
  s.next("lead");
  s.send(link);
  s.make("add", false);
  for (const char* name : {"a", "add", "b"}) CHECK(s.next(name) == "sleep");
  s.receive("lead", link);
  s.next("lead");
  s.woke("a");
  s.next("a");

  SECTION("before anything was sent: all are repeated, together") {
    s.lose(link);
    CHECK(s.gone == 1);
    CHECK(s.next("a") == "connect");
    s.connect("a");
    CHECK(s.next("a") == "advance");
    CHECK(s.link->in_flight.size() == 3);
  }
  SECTION("stale, before it was used: that does not count") {
    s.lose(link, Failure::loss("reset"), true);
    CHECK(s.next("a") == "connect");
    s.connect("a");
    CHECK(s.next("a") == "advance");
    s.send(*s.link);
    s.lose(*s.link);
    CHECK(s.next("a") == "connect");
    CHECK(s.caller("add").is_done());
  }
  SECTION("after it was sent") {
    s.send(link);
    s.receive("a", link, 1);
    CHECK(s.caller("a").reply() == "a");
    s.lose(link);
    CHECK(s.caller("add").failure() == "reset");
    CHECK(s.call("add").was_sent);
    CHECK_FALSE(s.caller("b").is_done());
    CHECK(s.next("a") == "leave");
  }
  SECTION("each by itself, and the second break is the last") {
    s.send(link);
    s.lose(link);
    CHECK(s.next("a") == "connect");
    s.connect("a");
    CHECK(s.next("a") == "exchange");
    FakeLink& second = *s.link;
    CHECK(s.next("c") == "sleep");
    second.connection->append(echo("a"));
    second.connection->send_all();
    s.lose(second);
    CHECK(s.next("a") == "leave");
    CHECK(s.caller("a").failure() == "reset");
    s.woke("b");
    CHECK(s.next("b") == "connect");
    s.connect("b");
    CHECK(s.next("b") == "exchange");
    s.exchanged("b", *s.link);
    CHECK(s.next("b") == "send");  // c
    CHECK(s.core.stats().repeats == 2);
  }
}

TEST_CASE("a reply that cannot be used fails the call that it answers, and does not count against the others") {
  Steps s(1);
  FakeLink& link = s.open();
  s.next("lead");
  s.send(link);
  s.make("add", false);
  for (const char* name : {"a", "culprit", "add", "b"}) CHECK(s.next(name) == "sleep");
  s.receive("lead", link);
  s.next("lead");
  s.woke("a");
  s.next("a");
  s.send(link);
  s.receive("a", link, 1);
  SECTION("it is too long, or is no reply at all") { s.lose(link, Failure::protocol("too long")); }
  SECTION("it is of another kind") {
    link.received.resize(1, larder::redis::Reply(larder::redis::Reply::Kind::array));
    s.core.received(link, s.call("a"), true);
    s.core.calls().take_wakes().wake_all();
  }
  CHECK(s.caller("a").reply() == "a");
  CHECK_THAT(s.caller("culprit").failure(), ContainsSubstring("too long") || ContainsSubstring("does not fit"));
  CHECK_THAT(s.caller("add").failure(), ContainsSubstring("reply to another command"));
  CHECK(s.call("add").was_sent);
  CHECK_FALSE(s.call("b").was_repeated);
  CHECK(s.gone == 1);
  s.woke("b");
  CHECK(s.next("b") == "connect");
  s.connect("b");
  CHECK(s.next("b") == "advance");
}

TEST_CASE("a reply that nobody asked for goes to nobody, and ends the connection") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  link.connection->on_server.push_back("stray");
  s.receive("a", link);
  CHECK(s.caller("a").reply() == "a");
  CHECK(s.gone == 1);
  CHECK(s.next("a") == "leave");
  CHECK(s.next("b") == "connect");
}

TEST_CASE("when a connection has broken, the others are looked at before they are used for another batch") {
  Steps s(2);
  FakeLink& broken = s.open();
  CHECK(s.next("a") == "advance");
  CHECK(s.next("b") == "connect");
  s.connect("b");
  CHECK(s.next("b") == "advance");
  FakeLink& other = *s.link;
  s.send(broken);
  s.send(other);
  s.end_calm();
  CHECK(s.next("c") == "sleep");
  CHECK_FALSE(other.is_doubtful);
  s.lose(broken);
  CHECK(other.is_doubtful);
  s.receive("b", other);
  CHECK(s.next("b") == "leave");  // it hands nothing over
  CHECK(s.next("a") == "advance");
  CHECK(s.link == &other);
  CHECK(other.needs_check);
  CHECK(other.connection->used() == TimePoint());  // as one that has rested
}

TEST_CASE("a server that is the wrong one gets no further batch") {
  Steps s;
  FakeLink& link = s.open();
  s.next("a");
  s.send(link);
  s.next("b");
  s.end_calm();
  link.received.emplace_back(larder::redis::Reply::Kind::failure,
                             "READONLY You can't write against a read only replica.");
  s.core.received(link, s.call("a"), true);
  CHECK(s.caller("a").is_done());
  CHECK(s.next("a") == "leave");
  CHECK(link.is_wrong_node);
  CHECK(s.is_notified("b"));
  s.woke("b");
  CHECK(s.next("b") == "advance");
  CHECK(link.needs_check);
}

TEST_CASE("connections that are retired take no further call, and go as soon as they are idle") {
  Steps s;
  FakeLink& link = s.open();

  SECTION("an idle one") {
    s.core.links().retire();
    CHECK(s.gone == 1);
    CHECK(s.next("a") == "connect");
  }
  SECTION("one that owes a reply") {
    s.next("a");
    s.send(link);
    s.end_calm();
    CHECK(s.next("b") == "sleep");
    s.core.links().retire();
    CHECK(s.gone == 0);
    s.receive("a", link);
    CHECK(s.caller("a").reply() == "a");
    CHECK(s.next("a") == "leave");
    CHECK(s.gone == 1);
    CHECK(s.is_notified("b"));
    s.woke("b");
    CHECK(s.next("b") == "connect");
  }
}

TEST_CASE("a call that was started is under way without its thread") {
  Steps s;
  FakeLink& link = s.open();
  s.make("a");
  s.call("a").is_attended = false;
  REQUIRE(s.core.start(s.call("a")) == &link);
  s.sent(link);

  SECTION("its thread comes, and leads") {
    s.call("a").is_attended = true;
    CHECK(s.next("a") == "advance");
    s.receive("a", link);
    CHECK(s.caller("a").reply() == "a");
    CHECK(s.next("a") == "leave");
  }
  SECTION("others are not held up: they receive its reply with theirs") {
    CHECK(s.next("b") == "advance");
    CHECK(link.in_flight.size() == 2);
    s.send(link);
    s.make_large("large");
    CHECK(s.next("large") == "sleep");
    s.receive("b", link);
    CHECK(s.caller("a").is_done());
    CHECK(s.caller("a").reply() == "a");
    CHECK(s.caller("b").reply() == "b");
    s.call("a").is_attended = true;
    CHECK(s.next("a") == "leave");
  }
  SECTION("a large call takes its reply first") {
    s.make_large("large");
    CHECK(s.next("large") == "advance");
    s.receive("large", link);
    CHECK(s.caller("a").is_done());
    CHECK(s.next("large") == "exchange");
  }
  SECTION("started while the connection is busy: sent with the next batch") {
    s.next("b");
    s.send(link);
    s.make("c");
    s.call("c").is_attended = false;
    CHECK_FALSE(s.core.start(s.call("c")));
    s.receive("b", link);
    CHECK(s.next("b") == "send");
    s.sent(link);
    CHECK(s.next("b") == "leave");
    s.call("c").is_attended = true;
    CHECK(s.next("c") == "advance");
    s.receive("c", link);
    CHECK(s.caller("c").reply() == "c");
  }
  SECTION("its connection turns out to be broken before it is used") {
    s.make("b");
    s.call("b").is_attended = false;
    s.core.abandon(s.call("a"));
    s.next("c");
    s.connect("c");
    s.next("c");
    FakeLink& other = *s.link;
    s.send(other);
    s.receive("c", other);
    s.next("c");
    REQUIRE(s.core.start(s.call("b")) == &other);
    s.lose(other, Failure::loss("reset"), true);
    CHECK_FALSE(s.caller("b").is_done());
    CHECK_FALSE(s.call("b").was_repeated);
    s.call("b").is_attended = true;
    CHECK(s.next("b") == "connect");
  }
  SECTION("its thread never comes") {
    s.core.abandon(s.call("a"));
    CHECK(s.gone == 1);
    CHECK(s.next("b") == "connect");
  }
  SECTION("its connection breaks: its thread repeats it") {
    s.next("b");
    s.send(link);
    s.lose(link);
    CHECK_FALSE(s.caller("a").is_done());
    CHECK(s.next("b") == "connect");
    s.call("a").is_attended = true;
    CHECK(s.next("a") == "sleep");
  }
}

TEST_CASE("on a slow network the next batch is sent behind the last, unless that is late") {
  Steps s(1);
  FakeLink& link = s.open();
  for (int i = 0; i < 500; ++i) {  // round trips of 1 ms
    const std::string name = "slow " + std::to_string(i);
    s.next(name);
    s.send(link);
    FakeClock::time += 1ms;
    s.receive(name, link);
    s.next(name);
  }
  CHECK(s.next("a") == "advance");
  s.send(link);
  CHECK(s.next("b") == "sleep");
  CHECK(s.step.until < FakeClock::time + 100us);
  FakeClock::time = s.step.until;
  s.woke("b");
  SECTION("it is not late") {
    CHECK(s.next("b") == "send");
    CHECK(s.next("c") == "sleep");
    s.sent(link);
    CHECK(s.next("b") == "sleep");
    CHECK(link.in_flight.size() == 2);
    s.receive("a", link);
    CHECK(s.caller("b").reply() == "b");
    CHECK(s.is_notified("c"));  // by who sent, so that it knows when its time comes
    CHECK(s.next("a") == "leave");
    s.woke("c");
    CHECK(s.next("c") == "advance");
  }
  SECTION("it is late") {
    FakeClock::time += 3ms;
    CHECK(s.next("b") == "sleep");
    CHECK(s.step.until > FakeClock::time + 100ms);
  }
}
