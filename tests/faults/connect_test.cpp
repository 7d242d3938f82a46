// Connecting where the system, the name look-up or the server make it hard.

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <future>

#include "support/faults.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::RedisCache;
using larder::ServerError;
using larder::TimeoutError;

namespace {

// What the functions below do in place of the C library's.
std::atomic<milliseconds> lookup_takes{0ms};
std::atomic<std::size_t> lookups{0};
std::vector<std::string> addresses_of_name;  // of the name "many.test"
std::atomic<bool> options_fail{false};

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** found) {
  static auto* const real_one = real<decltype(getaddrinfo)>("getaddrinfo");
  ++lookups;
  std::this_thread::sleep_for(lookup_takes.load());
  if (std::string_view(name) != "many.test") return real_one(name, service, hints, found);
  *found = nullptr;
  addrinfo** end = found;
  for (const auto& address : addresses_of_name) {
    const int error = real_one(address.c_str(), service, hints, end);
    if (error != 0) return error;
    end = &(*end)->ai_next;
  }
  return 0;
}

extern "C" int setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  static auto* const real_one = real<decltype(setsockopt)>("setsockopt");
  if (options_fail && level != SOL_SOCKET) {
    errno = ENOPROTOOPT;
    return -1;
  }
  return real_one(fd, level, option, value, size);
}

namespace {

/// Listens on a port of 127.0.0.1 or another address of the host, and takes no connections: the system's queue is full.
class FullPort {
 public:
  explicit FullPort(int port = 0, const char* host = "127.0.0.1") {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, host, &name.sin_addr);
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* address = reinterpret_cast<const sockaddr*>(&name);
    if (::bind(listener_.get(), address, sizeof name) != 0 || ::listen(listener_.get(), 0) != 0) throw_errno("listen");
    socklen_t size = sizeof name;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    port_ = ntohs(name.sin_port);
    for (auto& fd : fillers_) {
      fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      ::connect(fd.get(), address, sizeof name);
    }
  }
  int port() const noexcept { return port_; }

 private:
  Fd listener_;
  Fd fillers_[4];
  int port_ = 0;
};

/// The sockets of this process.
std::vector<int> sockets() {
  std::vector<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).string().compare(0, 7, "socket:") == 0) {
      found.push_back(std::stoi(entry.path().filename().string()));
    }
  }
  return found;
}

/// What a process of its own finds.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    try {
      ::_exit(body());
    } catch (...) {
      ::_exit(100);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a unix socket whose queue is full is waited for") {
  RedisProcess redis({"--tcp-backlog", "4"});
  fill(redis, 1);
  auto options = redis.options();
  options.connect_timeout = 10s;
  options.connections = 1;
  RedisCache cache(make_pool(options));
  redis.freeze();
  std::vector<Fd> fillers;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  options.unix_socket.copy(name.sun_path, sizeof name.sun_path - 1);
  do {
    fillers.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  } while (::connect(fillers.back().get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  REQUIRE(errno == EAGAIN);
  auto value = std::async(std::launch::async, [&] { return cache.get(key(0)); });
  CHECK(value.wait_for(100ms) == std::future_status::timeout);
  redis.thaw();
  CHECK(value.get() == value_of(key(0)));

  redis.freeze();
  fillers.clear();
  do {
    fillers.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  } while (::connect(fillers.back().get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  options.connect_timeout = 100ms;
  RedisCache hasty(make_pool(options));
  failure_within<TimeoutError>(100ms, [&] { hasty.get(key(0)); });
  redis.thaw();
  ++figures().faults;
}

TEST_CASE("a slow look-up of the name takes its time, and Redis stays reachable") {
  RedisProcess redis({}, RedisProcess::on_both);
  fill(redis, 1);
  auto options = redis.tcp_address().options();
  options.connect_timeout = 200ms;
  options.command_timeout = 200ms;
  lookup_takes = 500ms;
  SECTION("with the times of the options, look-up not counted") {
    RedisCache cache(make_pool(options));
    CHECK(within(500ms + whole_budget(options), [&] { return cache.get(key(0)); }) == value_of(key(0)));
  }
  SECTION("with a deadline that it exceeds: what was found is used by the next call") {
    RedisCache cache(make_pool(options), "", 100ms);
    const auto message = failure_within<TimeoutError>(500ms, [&] { cache.get(key(0)); });
    CHECK_THAT(message, ContainsSubstring("no time was left to connect"));
    const auto before = lookups.load();
    CHECK(within(100ms, [&] { return cache.get(key(0)); }) == value_of(key(0)));
    CHECK(lookups == before);
  }
  lookup_takes = 0ms;
  ++figures().faults;
}

TEST_CASE("addresses that do not answer: each gets a fair time, and the next attempt begins where the last one ended") {
  RedisProcess redis({}, RedisProcess::on_both);
  fill(redis, 1);
  const int port = redis.tcp_address().port;
  const FullPort dead[] = {FullPort(port, "127.0.0.2"), FullPort(port, "127.0.0.3"), FullPort(port, "127.0.0.4")};
  addresses_of_name = {"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"};
  auto options = redis.tcp_address().options();
  options.host = "many.test";
  options.connect_timeout = 300ms;  // 200 ms for the first, 100 ms for the second
  options.connections = 1;
  RedisCache cache(make_pool(options));
  const auto message = failure_within<TimeoutError>(300ms, [&] { cache.get(key(0)); });
  CHECK(message == "many.test:" + std::to_string(port) + ": cannot connect within 300 ms (connect_timeout)");
  std::size_t failures = 1;
  CHECK(eventually([&] {
    try {
      return cache.get(key(0)) == value_of(key(0));
    } catch (const TimeoutError& error) {
      failures += std::string(error.what()) == message ? 0U : 1U;
      return false;
    }
  }));
  CHECK(failures == 1);
  // What has answered is tried first from then on.
  redis.kill_clients();
  const auto begin = Clock::now();
  CHECK(cache.get(key(0)) == value_of(key(0)));
  CHECK(Clock::now() - begin < 200ms);
  figures().faults += 3;
}

TEST_CASE("an address that refuses, then one that answers") {
  RedisProcess redis({}, RedisProcess::on_both);
  fill(redis, 1);
  addresses_of_name = {"127.0.0.2", "127.0.0.1"};  // the server listens on the second only
  auto options = redis.tcp_address().options();
  options.host = "many.test";
  RedisCache cache(make_pool(options));
  CHECK(within(whole_budget(options), [&] { return cache.get(key(0)); }) == value_of(key(0)));
  ++figures().faults;
}

TEST_CASE("a socket is never inherited by programs that are started, not even while it connects") {
  const FullPort full;
  larder::redis::Options options;
  options.port = full.port();
  options.connect_timeout = 300ms;
  RedisCache cache(make_pool(options));
  const auto before = sockets();
  auto call = std::async(std::launch::async, [&] { cache.get("a"); });
  CHECK(eventually([&] { return sockets().size() > before.size(); }));
  for (const int fd : sockets()) CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(call.wait_for(0s) == std::future_status::timeout);
  failure_within<TimeoutError>(300ms, [&] { call.get(); });
  CHECK(sockets() == before);
  ++figures().faults;
}

TEST_CASE("a program without standard streams: what it prints does not go to the server, and nothing leaks") {
  RedisProcess redis;
  fill(redis, 1);
  const int found = in_child([&] {
    for (const int fd : {0, 1, 2}) ::close(fd);
    {
      RedisCache cache(make_pool(redis.options()));
      if (cache.get(key(0)) != value_of(key(0))) return 1;
      for (const int fd : {0, 1, 2}) {
        if (::fcntl(fd, F_GETFD) != -1) return 2;
      }
    }
    return sockets().empty() ? 0 : 3;
  });
  CHECK(found == 0);
  ++figures().faults;
}

TEST_CASE("connections work where the system does not know the options of TCP") {
  RedisProcess redis({}, RedisProcess::on_both);
  fill(redis, 1);
  options_fail = true;
  RedisCache cache(make_pool(redis.tcp_address().options()));
  CHECK(cache.get(key(0)) == value_of(key(0)));
  options_fail = false;
  ++figures().faults;
}

TEST_CASE("a server that cannot save refuses PING, and serves") {
  const TempDir parent;
  const std::string dir = parent.path() + "/gone";
  std::filesystem::create_directory(dir);
  RedisProcess redis({"--dir", dir});
  fill(redis, 1);
  redis.ask({"CONFIG", "SET", "save", "3600 1"});
  std::filesystem::remove(dir);
  redis.ask({"BGSAVE"});
  REQUIRE(eventually([&] { return redis.ask({"PING"}).compare(0, 8, "MISCONF ") == 0; }));
  auto options = redis.options();
  options.database = GENERATE(0, 1);
  RedisCache cache(make_pool(options));
  CHECK(within(1s, [&] { return cache.get(key(0)); }) ==
        (options.database == 0 ? std::optional(value_of(key(0))) : std::nullopt));
  CHECK_THROWS_AS(cache.set("a", value_of("a")), ServerError);
  CHECK_NOTHROW(cache.get("a"));
  ++figures().faults;
}

TEST_CASE("a server that does not know PING or CLIENT, or does not allow them, serves") {
  const bool is_unknown = GENERATE(true, false);
  std::vector<std::string> renamed;
  if (is_unknown) renamed = {"--rename-command", "PING", "", "--rename-command", "CLIENT", ""};
  RedisProcess redis(renamed);
  fill(redis, 1);
  auto options = redis.options();
  options.client_name = "name";
  if (!is_unknown) {
    redis.ask({"ACL", "SETUSER", "app", "on", ">password", "~*", "+get"});
    options.username = "app";
    options.password = "password";
  }
  RedisCache cache(make_pool(options));
  CHECK(within(1s, [&] { return cache.get(key(0)); }) == value_of(key(0)));
  ++figures().faults;
}

TEST_CASE("a script that keeps the server from selecting a database is nothing to wait for afterwards") {
  RedisProcess redis({"--busy-reply-threshold", "10"});
  auto options = redis.options();
  options.database = 1;
  RedisCache cache(make_pool(options));
  const Context script = connect(redis.address());
  redisAppendCommand(script.get(), "EVAL %s 0", "while true do end");
  int done = 0;
  while (done == 0) redisBufferWrite(script.get(), &done);
  REQUIRE(eventually([&] { return redis.ask({"PING"}).compare(0, 5, "BUSY ") == 0; }));
  for (int i = 0; i < 3; ++i) {
    try {
      within(whole_budget(options), [&] { cache.get("a"); });
      FAIL("no error");
    } catch (const ServerError& error) {
      CHECK(error.code() == "BUSY");
    }
  }
  redis.ask({"SCRIPT", "KILL"});
  REQUIRE(eventually([&] { return redis.ask({"PING"}) == "PONG"; }));
  CHECK(within(100ms, [&] { return cache.get("a"); }) == std::nullopt);
  ++figures().faults;
}

TEST_CASE("a server that repeats the password does not bring it into the message") {
  const std::string refusal =
      GENERATE("-DENIED no, not with hunter2\r\n", "-ERR hunter2?\r\n", "-WRONGPASS hunter2\r\n");
  ScriptedServer server({Script().send(refusal).close()}, ScriptedServer::on_tcp);
  auto options = server.options();
  options.password = "hunter2";
  const auto message =
      failure_within<ServerError>(whole_budget(options), [&] { RedisCache(make_pool(options)).get("a"); });
  CHECK(message.find("AUTH: ") != std::string::npos);
  CHECK(message.find("hunter2") == std::string::npos);
  ++figures().faults;
}

TEST_CASE("what a server says before it closes is the error, whatever the handshake has") {
  const auto* refusal =
      GENERATE("-ERR max number of clients reached\r\n", "-DENIED Redis is running in protected mode\r\n");
  const auto listen = GENERATE(ScriptedServer::on_unix_socket, ScriptedServer::on_tcp);
  const auto what = GENERATE(0, 1, 2, 3);
  ScriptedServer server({Script().send(refusal).close()}, listen);
  auto options = server.options();
  if (what == 1) options.database = 1;
  if (what == 2) options.client_name = "name";
  if (what == 3) options.password = "hunter2";
  RedisCache cache(make_pool(options));
  CAPTURE(refusal, what, listen);
  try {
    within(whole_budget(options), [&] { cache.get("a"); });
    FAIL("no error");
  } catch (const ServerError& error) {
    CHECK(error.what() == server.address().text() + ": " + std::string(refusal).substr(1, std::strlen(refusal) - 3));
    CHECK(error.code() == std::string(refusal).substr(1, std::string(refusal).find(' ') - 1));
  }
  CHECK(server.accepted() == 1);
  ++figures().faults;
}

TEST_CASE("messages say where, what, how long, and what to look at") {
  const auto message_of = [](const larder::redis::Options& options) -> std::string {
    try {
      within(whole_budget(options), [&] { RedisCache(make_pool(options)).get("key-of-mine"); });
    } catch (const larder::Error& error) {
      CHECK_THAT(error.what(), !ContainsSubstring("key-of-mine"));
      return error.what();
    }
    return "no error";
  };
  const auto answered = [&](std::vector<Script> scripts) {
    ScriptedServer server(std::move(scripts), ScriptedServer::on_tcp);
    auto options = server.options();
    options.connect_timeout = 300ms;
    options.command_timeout = 200ms;
    std::string message = message_of(options);
    const std::string address = server.address().text() + ": ";
    CHECK(message.compare(0, address.size(), address) == 0);
    return message.substr((std::min)(address.size(), message.size()));
  };
  CHECK(answered({Script().expect({"PING"}).ignore()}) ==
        "no answer to a new connection within 300 ms (connect_timeout)");
  CHECK(answered({Script().greet().ignore()}) == "GET: no answer within 200 ms (command_timeout)");
  CHECK_THAT(answered({Script().greet().expect({"GET", "key-of-mine"}).close(), Script().greet().ignore().close()}),
             ContainsSubstring("GET: "));
  CHECK(answered({Script().expect({"PING"}).close(), Script().expect({"PING"}).close()}) ==
        "the connection was closed by the server; does this port speak TLS (rediss://)?");
  CHECK_THAT(answered({Script().expect({"PING"}).send("\x15\x03\x01\x02\x02\x46").ignore()}),
             ContainsSubstring("; does this port speak TLS (rediss://)?"));
  CHECK_THAT(answered({Script().expect({"PING"}).send("HTTP/1.1 400 Bad Request\r\n\r\n").ignore()}),
             ContainsSubstring("; is this an HTTP server?"));

  larder::redis::Options nowhere;
  nowhere.port = 1;
  CHECK(message_of(nowhere) == "127.0.0.1:1: cannot connect: Connection refused");
  nowhere.host = "::1";
  CHECK_THAT(message_of(nowhere), ContainsSubstring("[::1]:1: cannot connect: "));
  nowhere.host = "no-such-host.invalid";
  CHECK_THAT(message_of(nowhere), ContainsSubstring("no-such-host.invalid:1: cannot resolve the name: "));
  nowhere.unix_socket = "/nonexistent/redis.sock";
  CHECK(message_of(nowhere) == "/nonexistent/redis.sock: cannot connect: No such file or directory");
  figures().faults += 10;
}

TEST_CASE("refusals of a password are told apart") {
  RedisProcess redis;
  const auto refusal = [&](const char* user, const char* password) {
    auto options = redis.options();
    options.username = user;
    options.password = password;
    try {
      within(whole_budget(options), [&] { RedisCache(make_pool(options)).get("a"); });
    } catch (const ServerError& error) {
      const std::string address = redis.address().path + ": ";
      CHECK(std::string(error.what()).compare(0, address.size(), address) == 0);
      return std::string(error.what()).substr(address.size());
    }
    return std::string("no error");
  };
  CHECK(refusal("", "hunter2") == "ERR AUTH: a password was given, and the server has none set");
  redis.ask({"CONFIG", "SET", "requirepass", "right"});
  redis.use_password("right");
  CHECK(refusal("", "hunter2") == "WRONGPASS AUTH: the password is wrong");
  CHECK(refusal("nobody", "hunter2") == "WRONGPASS AUTH: the user is unknown or disabled, or the password is wrong");
  CHECK(refusal("", "") == "NOAUTH Authentication required.");
  CHECK(refusal("", "right") == "no error");
  CHECK(refusal("default", "right") == "no error");
  ++figures().faults;
}

TEST_CASE("READONLY and MASTERDOWN leave a borrowed context usable") {
  RedisProcess redis;
  fill(redis, 1);
  redis.ask({"REPLICAOF", "127.0.0.1", "1"});
  const Context context = connect(redis.address());
  RedisCache cache(context.get());
  const auto code_of = [&](auto call) {
    try {
      call();
    } catch (const ServerError& error) {
      return error.code();
    } catch (const larder::Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(cache.get(key(0)) == value_of(key(0)));
  CHECK(code_of([&] { cache.set("a", value_of("a")); }) == "READONLY");
  CHECK(code_of([&] { cache.set_many({{"a", value_of("a")}, {"b", value_of("b", 100'000)}}); }) == "READONLY");
  CHECK(cache.get(key(0)) == value_of(key(0)));
  redis.ask({"CONFIG", "SET", "replica-serve-stale-data", "no"});
  CHECK(code_of([&] { cache.get(key(0)); }) == "MASTERDOWN");
  redis.ask({"CONFIG", "SET", "replica-serve-stale-data", "yes"});
  CHECK(cache.get(key(0)) == value_of(key(0)));
  CHECK(context->err == 0);
  ++figures().faults;
}

TEST_CASE("a borrowed context may have any receive timeout") {
  RedisProcess redis;
  fill(redis, 1);
  const Context context = connect(redis.address());
  for (const timeval& timeout : {timeval{0, 0}, timeval{10'000'000'000, 0}, timeval{0, 999'999}}) {
    REQUIRE(redisSetTimeout(context.get(), timeout) == REDIS_OK);
    RedisCache cache(context.get());
    CHECK(within(1s, [&] { return cache.get(key(0)); }) == value_of(key(0)));
  }
}
