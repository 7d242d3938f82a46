#pragma once

#include <hiredis/hiredis.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace larder::testing {

// Tests that want Redis fail without one; they are never skipped.
inline std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  if (!value || !*value) throw std::runtime_error(std::string(name) + " is not set: run the tests with ./tests/run.sh");
  return value;
}

inline std::string redis_socket() { return environment("LARDER_TEST_SOCKET"); }

/// The test server's URL; `options` as in "db=3&command_timeout=30s".
inline std::string redis_url(const std::string& options = {}, const std::string& user = {}) {
  environment("LARDER_TEST_URL");
  return "unix://" + user + redis_socket() + (options.empty() ? "" : "?") + options;
}

struct FreeContext {
  void operator()(redisContext* context) const noexcept { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;

inline Context connect(const std::string& socket = redis_socket()) {
  Context context(redisConnectUnix(socket.c_str()));
  if (!context || context->err) throw std::runtime_error("cannot connect to " + socket);
  return context;
}

/// What any other client of the server sees: a connection by hiredis' own calls.
class Probe {
 public:
  explicit Probe(int database = 0) { run("SELECT", std::to_string(database)); }

  template <class... Text>
  std::optional<std::string> text(const Text&... words) {
    const auto reply = run(words...);
    if (reply->type == REDIS_REPLY_NIL) return std::nullopt;
    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS)
      throw std::runtime_error("not a string");
    return std::string(reply->str, static_cast<std::size_t>(reply->len));
  }

  template <class... Text>
  long long integer(const Text&... words) {
    const auto reply = run(words...);
    if (reply->type != REDIS_REPLY_INTEGER) throw std::runtime_error("not an integer");
    return reply->integer;
  }

  template <class... Text>
  void operator()(const Text&... words) {
    run(words...);
  }

 private:
  struct FreeReply {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
  };

  template <class... Text>
  std::unique_ptr<redisReply, FreeReply> run(const Text&... words) {
    const std::vector<std::string_view> views{std::string_view(words)...};
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const auto view : views) {
      texts.push_back(view.data());
      sizes.push_back(view.size());
    }
    std::unique_ptr<redisReply, FreeReply> reply(static_cast<redisReply*>(
        redisCommandArgv(context_.get(), static_cast<int>(views.size()), texts.data(), sizes.data())));
    if (!reply) throw std::runtime_error(std::string("the probe lost its connection: ") + context_->errstr);
    if (reply->type == REDIS_REPLY_ERROR) throw std::runtime_error(std::string(views[0]) + ": " + reply->str);
    return reply;
  }

  Context context_ = connect();
};

/// A Probe of a database that a test has to itself: empty at the beginning, and emptied at the end.
struct PrivateDatabase : Probe {
  explicit PrivateDatabase(int database) : Probe(database) { (*this)("FLUSHDB"); }
  ~PrivateDatabase() { (*this)("FLUSHDB"); }
  PrivateDatabase(const PrivateDatabase&) = delete;
  PrivateDatabase& operator=(const PrivateDatabase&) = delete;
};

}  // namespace larder::testing
